"""The landing assets: one multi-asset per Airbyte connection, and the API's external assets.

This module calls the steps of a sync in order: the API, the workspace, the counts and the checks.
Each step is implemented in another module.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from retail_pipeline.airbyte_engine.fast_reader import STOCK
from retail_pipeline.airbyte_engine.files import AirbyteFolder, ConnectionFile, StreamSettings
from retail_pipeline.airbyte_engine.source import READERS
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import PipelineError, UnavailableError
from retail_pipeline.generation import PipelineState, note_landed
from retail_pipeline.ingestion.api import OpenApi, open_api
from retail_pipeline.ingestion.checks import (
    check_money,
    check_rows,
    check_schema,
    check_specs,
    check_volume,
)
from retail_pipeline.ingestion.landing import (
    Landed,
    Volume,
    count_landed,
    count_rejected,
    count_volume,
    find_drift,
    sum_transactions,
)
from retail_pipeline.ingestion.specs import (
    api_key,
    api_specs,
    connection_specs,
    landing_columns,
    landing_key,
    landing_lineage,
    load_folder,
)
from retail_pipeline.ingestion.totals import MONEY_STREAM, ApiUnavailableError
from retail_pipeline.ingestion.workspace import SyncError, SyncResult, open_workspace
from retail_pipeline.postgres import Database, Role
from retail_pipeline.privacy.suppression import (
    FILE_LINES,
    read_suppression,
    suppresses_line,
    sweep,
)
from retail_pipeline.settings import AirbyteMode, FileSource, Settings

POOL = "airbyte"
RETRIES, RETRY_SECONDS = 1, 3.0
"""Retries of a sync: the connector repeats requests itself, and one more try covers an API restart.

The step requests the retry if it may help. A retry policy would also retry terminated runs.
"""

_STORE_LOSS = (
    "insert into quality.file_losses (treatment, reason, lines, net_amount, unknown_amounts, "
    "first_line) values (%(treatment)s, %(reason)s, %(lines)s, %(net_amount)s, "
    "%(unknown_amounts)s, %(first_line)s)"
)

# Dagster's tags of a run that continues another one; Dagster exports no constants for them.
_CONTINUES = {"dagster/is_resume_retry", "dagster/is_asset_resume_retry"}


@dataclass(frozen=True)
class _Synced:
    """A finished sync of a connection, with the inputs of its streams' metadata and checks."""

    instance: dg.DagsterInstance
    database: Database
    api: OpenApi
    result: SyncResult
    since: datetime
    seconds: float


def build_ingestion() -> dg.Definitions:
    """Return the API's external assets and the landing assets, built from files alone.

    Raises:
        PipelineError: A file under `airbyte/` is missing or wrong.
    """
    folder = load_folder()
    landing = [build_landing_asset(folder, each) for each in folder.connections.values()]
    return dg.Definitions(assets=[*api_specs(folder), *landing])


def build_landing_asset(folder: AirbyteFolder, connection: ConnectionFile) -> dg.AssetsDefinition:
    """Return the asset that syncs one connection."""
    totals = folder.sources[connection.source].totals

    @dg.multi_asset(
        name=f"sync_{connection.name}",
        description=f"Syncs the Airbyte connection {connection.name}.",
        specs=connection_specs(folder, connection),
        check_specs=[
            check
            for each in connection.streams
            for check in check_specs(each.name, totals.get(each.name))
        ],
        pool=POOL,
    )
    def sync(
        context: dg.AssetExecutionContext,
        database: dg.ResourceParam[Database],
        settings: dg.ResourceParam[Settings],
        run_window: RunWindow,
    ) -> Iterator[dg.MaterializeResult]:
        with _failures():
            yield from _sync(context, settings, database, run_window, folder, connection)

    return sync


def first_run_id(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return the id of a run, or of the run that it continues.

    A run that continues a full refresh must not empty the tables a second time.
    """
    while run.parent_run_id is not None and _CONTINUES & run.tags.keys():
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is None:
            return run.parent_run_id
        run = parent
    return run.run_id


def _sync(
    context: dg.AssetExecutionContext,
    settings: Settings,
    database: Database,
    window: RunWindow,
    folder: AirbyteFolder,
    connection: ConnectionFile,
) -> Iterator[dg.MaterializeResult]:
    began, since = time.monotonic(), datetime.now(UTC)
    if settings.airbyte.mode is AirbyteMode.EMBEDDED:
        READERS.start()  # the reader process imports the CDK while the API is opened
    loader = database.as_role(Role.LOADER)
    run_id = first_run_id(context.instance, context.run)
    warn = context.log.warning
    with open_api(settings, database, window, folder, connection, run_id=run_id, warn=warn) as api:
        for stream in connection.streams:
            context.log_event(_observation(stream.name, api))
        with open_workspace(
            settings, loader, folder, api_url=api.url, api_end=api.end, state=api.state
        ) as workspace:
            result = workspace.sync(connection.name)
        if result.reader.startswith(STOCK):
            warn(f"{connection.name} was read by the {result.reader}")
        if settings.airbyte.mode is AirbyteMode.SERVER:
            sweep(settings, loader, folder, connection)
        for stream in connection.streams:
            of_file = {}
            if stream.name == MONEY_STREAM and isinstance(settings.source, FileSource):
                of_file = _reject_file_lines(settings, loader, folder, settings.source, api.state)
            note_landed(loader, stream=stream.name, state=api.state, run_id=run_id)
            seconds = time.monotonic() - began
            synced = _Synced(context.instance, loader, api, result, since, seconds)
            schema = folder.schema(connection, stream.name)
            yield _materialized(synced, stream, schema, of_file)


@contextmanager
def _failures() -> Iterator[None]:
    """Convert pipeline errors to Dagster failures; request a retry for temporary ones."""
    try:
        try:
            yield
        except PipelineError as error:
            raise _failure(error) from error
    except dg.Failure as failure:
        if not failure.allow_retries:
            raise
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_SECONDS) from failure


def _failure(error: PipelineError) -> dg.Failure:
    if isinstance(error, SyncError):
        may_pass, metadata = not error.permanent, _job_metadata(error)
    else:
        may_pass, metadata = isinstance(error, ApiUnavailableError | UnavailableError), {}
    return dg.Failure(description=str(error), metadata=metadata, allow_retries=may_pass)


def _job_metadata(job: SyncResult | SyncError) -> dict[str, Any]:
    if job.job_id is None:
        return {}
    log = {} if job.log is None else {"log": dg.MetadataValue.path(str(job.log))}
    return {"job_id": job.job_id, **log}


def _observation(stream: str, api: OpenApi) -> dg.AssetObservation:
    metadata: dict[str, Any] = {"source": api.state.source_id, "as_of": str(api.state.as_of)}
    if totals := api.totals.get(stream):
        metadata["dagster/row_count"] = totals.records
        if totals.money is not None:
            metadata["lines"] = int(totals.money.lines)
            metadata["net_amount"] = float(totals.money.net_amount)
    return dg.AssetObservation(asset_key=api_key(stream), metadata=metadata)


def _reject_file_lines(
    settings: Settings,
    database: Database,
    folder: AirbyteFolder,
    source: FileSource,
    state: PipelineState,
) -> dict[str, Any]:
    """Store a file's invalid lines as rejected records, and their number and money by reason.

    Returns:
        Metadata: the number of rejected lines, the number of optional values that became null by
        column, and the losses by reason.
    """
    from retail_pipeline.airbyte_engine.destination import reject
    from retail_pipeline.retail_api import open_dataset

    dataset = open_dataset(source, state.as_of, settings.time_zone)
    bad = dataset.rejected
    suppression = read_suppression(settings, database, folder)
    records = [
        (record, reason)
        for record, reason in zip(bad["record"], bad["reason"], strict=True)
        if suppression is None or not suppresses_line(suppression, record)
    ]
    with database.connect() as connection:
        reject(connection, FILE_LINES, records)
        connection.execute("delete from quality.file_losses")
        for loss in dataset.losses:
            connection.execute(_STORE_LOSS, loss.as_json())
    return {
        "rejected_file_lines": count_rejected(database, FILE_LINES),
        "nulled_values": dg.MetadataValue.json(dataset.nulled),
        "losses": dg.MetadataValue.json([loss.as_json() for loss in dataset.losses]),
    }


def _materialized(
    synced: _Synced, stream: StreamSettings, schema: dict[str, Any], of_file: dict[str, Any]
) -> dg.MaterializeResult:
    """Return the result of a stream's landing table, with its metadata and checks."""
    database, api, result = synced.database, synced.api, synced.result
    landed = count_landed(database, stream.name, stream.key)
    rejected = count_rejected(database, stream.name)
    checks = _warning_checks(synced, stream, schema, landed)
    totals = api.totals.get(stream.name)
    if totals is not None:
        checks.append(check_rows(stream.name, landed, totals, still=api.is_still))
    metadata: dict[str, Any] = {
        "dagster/row_count": landed.rows,
        "rows_synced": result.rows_synced,
        "rejected_records": rejected,
        "suppressed_records": landed.suppressed,
        **_job_metadata(result),
        "duration": result.duration,
        "read_by": result.reader,
        "seconds": round(synced.seconds, 2),
        "source": api.state.source_id,
        "as_of": str(api.state.as_of),
        "generation": api.state.generation,
        "dagster/column_schema": landing_columns(schema),
        "dagster/column_lineage": landing_lineage(stream.name, schema),
        **of_file,
    }
    if totals is not None and totals.money is not None:
        money = sum_transactions(database)
        metadata["lines"] = int(money.lines)
        checks.append(
            check_money(
                money,
                totals.money,
                tolerance=totals.tolerance,
                rejected=rejected,
                suppressed=landed.suppressed,
                still=api.is_still,
            )
        )
    return dg.MaterializeResult(
        asset_key=landing_key(stream.name), metadata=metadata, check_results=checks
    )


def _warning_checks(
    synced: _Synced, stream: StreamSettings, schema: dict[str, Any], landed: Landed
) -> list[dg.AssetCheckResult]:
    """Return the warning checks, which compare volume and columns with earlier data."""
    if stream.cursor:
        volume: Volume | None = count_volume(
            synced.database, stream.name, stream.cursor, synced.api.end
        )
    else:
        volume = _replaced_volume(synced.instance, stream, landed.rows)
    drift = find_drift(
        synced.database,
        stream.name,
        list(schema["properties"]),
        since=synced.since,
        undeclared=synced.result.undeclared.get(stream.name, ()),
    )
    return [check_volume(stream.name, volume), check_schema(stream.name, drift)]


def _replaced_volume(
    instance: dg.DagsterInstance, stream: StreamSettings, rows: int
) -> Volume | None:
    """Return the rows of a table without a cursor, now and after the previous sync."""
    event = instance.get_latest_materialization_event(landing_key(stream.name))
    materialization = event.asset_materialization if event else None
    count = materialization.metadata.get("dagster/row_count") if materialization else None
    return Volume(rows, float(str(count.value))) if count is not None else None
