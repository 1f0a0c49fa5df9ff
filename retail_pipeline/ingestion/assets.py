"""The factory of landing assets: one multi-asset per Airbyte connection.

An asset enters its run into the pipeline's state, serves or finds the API, syncs, reconciles and
reports. Each of these steps is a function of another module; only their order is here.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    AssetObservation,
    AssetsDefinition,
    DagsterInstance,
    DagsterRun,
    Definitions,
    Failure,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    RetryRequested,
    multi_asset,
)
from dagster._core.storage.tags import ASSET_RESUME_RETRY_TAG, RESUME_RETRY_TAG

from retail_pipeline.airbyte_engine.files import (
    AirbyteFolder,
    ConnectionFile,
    StreamSettings,
)
from retail_pipeline.airbyte_engine.host import HOST
from retail_pipeline.airbyte_engine.read_request import STOCK
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import (
    PipelineError,
    UnavailableError,
)
from retail_pipeline.generation import (
    PipelineState,
    begin,
    clock_of,
    note_landed,
)
from retail_pipeline.ingestion.checks import (
    check_money,
    check_rows,
    check_schema,
    check_specs,
    check_volume,
)
from retail_pipeline.ingestion.landing import (
    Volume,
    count_landed,
    count_rejected,
    count_volume,
    find_drift,
    read_by,
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
from retail_pipeline.ingestion.totals import (
    MONEY_STREAM,
    ApiTotals,
    ApiUnavailableError,
    declared_totals,
    fetch_totals,
)
from retail_pipeline.ingestion.workspace import (
    SyncError,
    SyncResult,
    known_connection_ids,
    open_workspace,
    source_values,
    sync_log,
)
from retail_pipeline.postgres import (
    Database,
    Role,
)
from retail_pipeline.privacy.suppression import (
    FILE_LINES,
    read_suppression,
    suppresses_line,
    sweep,
)
from retail_pipeline.settings import (
    AirbyteMode,
    ApiSource,
    FileSource,
    Settings,
)

_GOES_ON = {RESUME_RETRY_TAG, ASSET_RESUME_RETRY_TAG}
"""Tags of a run that executes what of another is left."""

POOL = "airbyte"
RETRIES, RETRY_SECONDS = 1, 3.0
"""The connector has repeated every request before; one more try bears a restart of the API.

It is asked for where it may help. A retry policy would also try again after a run was terminated.
"""


@dataclass(frozen=True)
class Clocked:
    """The API while a sync is at work.

    Attributes:
        url: Its address.
        end: The instant at which its records end.
        is_still: Nothing changes while it is read; so with the bundled API.
        state: What the records belong to.
        totals: Its own numbers.
    """

    url: str
    end: str
    is_still: bool
    state: PipelineState
    totals: ApiTotals


def build_ingestion(settings: Settings) -> Definitions:
    """Return the API's external assets and the landing assets; reads files, contacts nothing.

    Raises:
        PipelineError: A file under `airbyte/` is missing or wrong.
    """
    folder = load_folder()
    ids = known_connection_ids(settings, folder)
    landing = [
        build_landing_asset(folder, connection, ids.get(connection.name))
        for connection in folder.connections.values()
    ]
    return Definitions(assets=[*api_specs(folder), *landing])


def build_landing_asset(
    folder: AirbyteFolder, connection: ConnectionFile, connection_id: str | None = None
) -> AssetsDefinition:
    """Return the asset that syncs one connection.

    Args:
        folder: The connection files.
        connection: The connection.
        connection_id: Its id in the workspace, shown in the UI; None where only a server knows it.
    """
    shown = connection_id or "looked up by name when it syncs"
    specs = [
        spec.merge_attributes(metadata={"dagster-airbyte/connection_id": shown})
        for spec in connection_specs(folder, connection)
    ]

    @multi_asset(
        name=f"sync_{connection.name}",
        description=f"Syncs the Airbyte connection {connection.name}.",
        specs=specs,
        check_specs=[
            check
            for each in connection.streams
            for check in check_specs(each.name, declared_totals(folder, each.name))
        ],
        pool=POOL,
    )
    def sync(
        context: AssetExecutionContext,
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> Iterator[MaterializeResult]:
        began, since = time.monotonic(), datetime.now(UTC)
        if settings.airbyte.mode is AirbyteMode.EMBEDDED:
            HOST.warm_up()  # it imports the CDK while the API is opened
        loader = database.as_role(Role.LOADER)
        # The state empties all layers at a rebuild, which only their owner may.
        with _failing_well(settings), _api(context, settings, database, run_window, folder) as api:
            for stream in connection.streams:
                context.log_event(_observation(stream.name, api))
            with open_workspace(
                settings,
                loader,
                folder,
                api_url=api.url,
                api_end=api.end,
                state=api.state,
            ) as workspace:
                result = workspace.sync(connection.name)
            reader = _read_by(loader, settings, result)
            if reader.startswith(STOCK):
                context.log.warning(f"{connection.name} was read by the {reader}")
            if settings.airbyte.mode is AirbyteMode.SERVER:
                sweep(settings, loader, folder, connection)
            if any(stream.name == MONEY_STREAM for stream in connection.streams):
                _keep_file_lines_aside(settings, loader, folder, api.state.as_of)
            for stream in connection.streams:
                schema = folder.schema(connection, stream.name)
                seconds = time.monotonic() - began
                note_landed(
                    loader,
                    stream=stream.name,
                    state=api.state,
                    run_id=first_run_id(context.instance, context.run),
                )
                materialized = _materialized(
                    loader, settings, stream, schema, api, result, reader, seconds
                )
                checks = _watched(context, loader, stream, schema, api, result, since)
                yield materialized._replace(
                    check_results=[*(materialized.check_results or []), *checks]
                )

    return sync


@contextmanager
def _failing_well(settings: Settings) -> Iterator[None]:
    """Turn our errors into failures with the reason; only those that may pass are tried again."""
    try:
        with _telling_why(settings):
            yield
    except Failure as failure:
        if not failure.allow_retries:
            raise
        raise RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_SECONDS) from failure


@contextmanager
def _telling_why(settings: Settings) -> Iterator[None]:
    try:
        yield
    except SyncError as error:
        raise Failure(
            description=str(error),
            metadata={} if error.job_id is None else _job_metadata(settings, error.job_id),
            allow_retries=not error.permanent,
        ) from error
    except PipelineError as error:
        passing = isinstance(error, ApiUnavailableError | UnavailableError)
        raise Failure(description=str(error), allow_retries=passing) from error


@contextmanager
def _api(
    context: AssetExecutionContext,
    settings: Settings,
    database: Database,
    window: RunWindow,
    folder: AirbyteFolder,
) -> Iterator[Clocked]:
    """Enter the run into the state and hold the retail API open at the run's clock."""
    from retail_pipeline.retail_api import (
        default_as_of,
        serving,
        source_id,
    )

    source = settings.source
    if settings.airbyte.mode is AirbyteMode.SERVER and not isinstance(source, ApiSource):
        raise PipelineError(
            "AIRBYTE_MODE=server reads a retail API at an address: set RETAIL_SOURCE to https://…, "
            "or use AIRBYTE_MODE=embedded for the simulator and for files"
        )
    run_id = first_run_id(context.instance, context.run)
    as_of = clock_of(database, run_id) or window.asked_as_of(settings) or default_as_of(source)
    # Served first: a source that cannot be used must not empty the layers.
    with serving(source, as_of, settings.api_key) as url:
        end = _end(settings, as_of)
        totals = fetch_totals(folder, source_values(settings, url, end))
        transition = begin(
            database,
            source_id=source_id(source),
            as_of=as_of,
            run_id=run_id,
            full_refresh=window.full_refresh,
            streams=[each.name for one in folder.connections.values() for each in one.streams],
        )
        if transition.message:
            context.log.warning(transition.message)
        if transition.rebuilt and settings.airbyte.mode is AirbyteMode.SERVER:
            raise PipelineError(
                f"{transition.message}; the Airbyte server still holds the connections' old state: "
                "reset them there, then run again"
            )
        yield Clocked(url, end, not isinstance(source, ApiSource), transition.state, totals)


def first_run_id(instance: DagsterInstance, run: DagsterRun) -> str:
    """Return the run, or the one that it goes on from: a full refresh empties once for both.

    A run that executes all of another once more is one of its own.
    """
    while run.parent_run_id is not None and _GOES_ON & run.tags.keys():
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is None:
            return run.parent_run_id
        run = parent
    return run.run_id


def _end(settings: Settings, as_of: date) -> str:
    """Return where the records end: at a bundled API's clock, at an address now."""
    if isinstance(settings.source, ApiSource):
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{as_of}T00:00:00Z"


def _read_by(database: Database, settings: Settings, result: SyncResult) -> str:
    if settings.airbyte.mode is AirbyteMode.SERVER:
        return "the Airbyte server"
    return read_by(database, result.job_id) or "unknown"


def _job_metadata(settings: Settings, job_id: int) -> dict[str, Any]:
    log = sync_log(settings, job_id)
    return {"job_id": job_id} | ({} if log is None else {"log": MetadataValue.path(str(log))})


def _observation(stream: str, api: Clocked) -> AssetObservation:
    metadata: dict[str, Any] = {
        "source": api.state.source_id,
        "as_of": str(api.state.as_of),
    }
    if stream in api.totals.records:
        metadata["dagster/row_count"] = api.totals.records[stream]
    if stream == MONEY_STREAM and api.totals.money is not None:
        metadata["lines"] = api.totals.money.lines
        metadata["net_amount"] = float(api.totals.money.net_amount)
    return AssetObservation(asset_key=api_key(stream), metadata=metadata)


def _keep_file_lines_aside(
    settings: Settings, database: Database, folder: AirbyteFolder, as_of: date
) -> None:
    """Put the bad lines of a transactions file where all rejected records are."""
    if not isinstance(settings.source, FileSource):
        return
    from retail_pipeline.airbyte_engine.destination import reject
    from retail_pipeline.retail_api import open_dataset

    bad = open_dataset(settings.source, as_of).rejected
    suppression = read_suppression(settings, database, folder)
    records = [
        (record, reason)
        for record, reason in zip(bad["record"], bad["reason"], strict=True)
        if suppression is None or not suppresses_line(suppression, record)
    ]
    with database.connect() as connection:
        reject(connection, FILE_LINES, records)


def _nulled_values(source: FileSource, as_of: date) -> MetadataValue:
    """Unreadable optional values of a transactions file by column; their lines are served."""
    from retail_pipeline.retail_api import open_dataset

    return MetadataValue.json(open_dataset(source, as_of).nulled)


def _watched(
    context: AssetExecutionContext,
    database: Database,
    stream: StreamSettings,
    schema: dict[str, Any],
    api: Clocked,
    result: SyncResult,
    since: datetime,
) -> list[AssetCheckResult]:
    """Compare volume and columns with the recent past; both only warn."""
    if stream.cursor:
        volume: Volume | None = count_volume(database, stream.name, stream.cursor, api.end)
    else:
        volume = _replaced(context, stream, count_landed(database, stream.name, stream.key).rows)
    columns = list(schema["properties"])
    drift = find_drift(database, stream.name, columns, since=since, job_id=result.job_id)
    return [check_volume(stream.name, volume), check_schema(stream.name, drift)]


def _replaced(context: AssetExecutionContext, stream: StreamSettings, rows: int) -> Volume | None:
    """Compare a table that each sync replaces with what the sync before it left."""
    event = context.instance.get_latest_materialization_event(landing_key(stream.name))
    materialization = event.asset_materialization if event else None
    count = materialization.metadata.get("dagster/row_count") if materialization else None
    return Volume(rows, float(str(count.value))) if count is not None else None


def _materialized(
    database: Database,
    settings: Settings,
    stream: StreamSettings,
    schema: dict[str, Any],
    api: Clocked,
    result: SyncResult,
    reader: str,
    seconds: float,
) -> MaterializeResult:
    landed = count_landed(database, stream.name, stream.key)
    rejected = count_rejected(database, stream.name)
    checks = []
    if stream.name in api.totals.records:
        checks.append(check_rows(stream.name, landed, api.totals, still=api.is_still))
    metadata: dict[str, Any] = {
        "dagster/row_count": landed.rows,
        "rows_synced": result.rows_synced,
        "rejected_records": rejected,
        "suppressed_records": landed.suppressed,
        **_job_metadata(settings, result.job_id),
        "duration": result.duration,
        "read_by": reader,
        "seconds": round(seconds, 2),
        "source": api.state.source_id,
        "as_of": str(api.state.as_of),
        "generation": api.state.generation,
        "dagster/column_schema": landing_columns(schema),
        "dagster/column_lineage": landing_lineage(stream.name, schema),
    }
    if stream.name == MONEY_STREAM and api.totals.money is not None:
        money = sum_transactions(database)
        checks.append(
            check_money(
                money,
                api.totals.money,
                tolerance=api.totals.tolerances[stream.name],
                rejected=rejected,
                suppressed=landed.suppressed,
                still=api.is_still,
            )
        )
        metadata["lines"] = money.lines
    if stream.name == MONEY_STREAM and isinstance(settings.source, FileSource):
        metadata["rejected_file_lines"] = count_rejected(database, FILE_LINES)
        metadata["nulled_values"] = _nulled_values(settings.source, api.state.as_of)
    return MaterializeResult(
        asset_key=landing_key(stream.name), metadata=metadata, check_results=checks
    )
