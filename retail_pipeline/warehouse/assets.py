"""The dbt project as Dagster assets: one `dbt build`, streamed into Dagster event by event.

Models, seeds and snapshots are assets; data tests are asset checks. A failing check of severity
error stops everything downstream of it.
"""

import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from dagster_dbt import DbtCliInvocation, DbtProject, dbt_assets
from dagster_dbt.asset_utils import get_updated_cli_invocation_params_for_context
from packaging.version import Version

from retail_pipeline.business_day import today
from retail_pipeline.dagster_support.asset_results import columns_of
from retail_pipeline.dagster_support.retrying import retry
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import FAILED_ASSETS
from retail_pipeline.files import private_folder
from retail_pipeline.generation import begin, read_state
from retail_pipeline.postgres import Database, Role
from retail_pipeline.postgres.lost import says_lost_connection
from retail_pipeline.settings import Settings, TablesSource, parse_as_of
from retail_pipeline.warehouse import checks
from retail_pipeline.warehouse.metadata import (
    Sources,
    count_and_version,
    count_of_view,
    lineage_metadata,
    sources_of,
)
from retail_pipeline.warehouse.project import (
    PREPARED,
    PROJECT_FOLDER,
    dbt_environment,
    dbt_program,
    read_manifest,
    recall,
)
from retail_pipeline.warehouse.results import read_failures
from retail_pipeline.warehouse.translator import WarehouseTranslator

POOL = "warehouse"
"""Pool that allows one build at a time, as all builds write the same tables."""


def build_warehouse() -> dg.Definitions:
    """Return one multi-asset that builds every dbt model and runs every data test.

    No server is contacted. The first call after a change of the dbt project parses it, which takes
    some seconds.

    Raises:
        PipelineError: dbt cannot parse the project.
    """

    @dbt_assets(
        manifest=read_manifest(),
        project=DbtProject(PROJECT_FOLDER, target_path=PREPARED),
        dagster_dbt_translator=WarehouseTranslator(),
        pool=POOL,
    )
    def dbt_build(
        context: dg.AssetExecutionContext,
        database: dg.ResourceParam[Database],
        settings: dg.ResourceParam[Settings],
        run_window: RunWindow,
    ) -> Iterator[Any]:
        _enter_tables(context.run_id, database, settings, run_window)
        as_of = run_window.landed_as_of(database)
        made_from = {"as_of": as_of.isoformat(), "generation": read_state(database).generation}
        artifacts = recall(private_folder(settings.home / "dbt") / "target")
        invocation = _started(context, dbt_environment(database.url, as_of, settings), artifacts)
        with database.as_role(Role.TRANSFORMER).connect(autocommit=True) as connection:
            for event in invocation.stream():
                if isinstance(event, dg.Output):
                    yield _described(event, invocation, connection, made_from)
                else:
                    yield event
        _raise_failure(invocation)

    return dg.Definitions(
        assets=[dbt_build], asset_checks=dg.load_asset_checks_from_modules([checks])
    )


def _enter_tables(run_id: str, database: Database, settings: Settings, window: RunWindow) -> None:
    """Enter the run into the pipeline's state if another Airbyte fills the tables."""
    source = settings.source
    if not isinstance(source, TablesSource):
        return
    source_id = f"tables:{source.schema}"
    window.check_source(source_id)
    zone = settings.time_zone
    given = parse_as_of(window.as_of, "as_of", zone) if window.as_of else settings.as_of
    begin(
        database,
        source_id=source_id,
        as_of=given or today(zone),
        run_id=run_id,
        full_refresh=window.full_refresh,
    )
    # Streams that an earlier source synced; later stages would wait for them.
    database.execute("delete from quality.landed_streams")


def _started(
    context: dg.AssetExecutionContext, environment: Mapping[str, str], artifacts: Path
) -> DbtCliInvocation:
    """Return a started `dbt build` of the run's selection.

    `DbtCliResource.cli` is not used, because it would first run `dbt --version` and import dbt's
    adapter into this process, which takes about three seconds per run.
    """
    chosen = get_updated_cli_invocation_params_for_context(context, {}, WarehouseTranslator())
    assert chosen.dbt_project is not None
    project = Path(chosen.dbt_project.project_dir)
    indirect = {"DBT_INDIRECT_SELECTION": chosen.indirect_selection or ""}
    return DbtCliInvocation.run(
        # Unit tests test the SQL, not the data; they run in the test suite.
        args=[
            *(dbt_program(), "build", "--exclude-resource-type", "unit_test"),
            *chosen.selection_args,
        ],
        env={
            **os.environ,
            **environment,
            "DBT_LOG_FORMAT": "json",
            "DBT_LOG_PATH": str(artifacts),
            "DBT_PROFILES_DIR": str(project),
            "DBT_TARGET_PATH": str(artifacts),
            "PYTHONUNBUFFERED": "1",
            **(indirect if chosen.indirect_selection else {}),
        },
        manifest=chosen.manifest,
        dagster_dbt_translator=chosen.dagster_dbt_translator,
        project_dir=project,
        target_path=artifacts,
        raise_on_error=False,
        context=context,
        adapter=None,
        cli_version=Version(importlib.metadata.version("dbt-core")),
        dbt_project=chosen.dbt_project,
    )


def _described(
    event: dg.Output[Any],
    invocation: DbtCliInvocation,
    connection: psycopg.Connection,
    made_from: Mapping[str, Any],
) -> dg.Output[Any]:
    """Return the event of a built table with row count, columns, lineage and data version added."""
    unique_id = str(event.metadata["unique_id"].value)
    node = invocation.manifest["nodes"][unique_id]
    table = ".".join(WarehouseTranslator().get_asset_key(node).path)
    if node["config"]["materialized"] == "view":
        rows, version = count_of_view(connection, table), None
    else:
        rows, version = count_and_version(connection, table)
    sources = _sources(invocation, node, connection)
    seconds = event.metadata.get("Execution Duration")
    return dg.Output(
        value=event.value,
        output_name=event.output_name,
        data_version=version,
        metadata={
            **event.metadata,
            **({"dagster/row_count": rows} if rows is not None else {}),
            "dagster/column_schema": columns_of(connection, table),
            **(lineage_metadata(sources) if sources else {}),
            **({"seconds": seconds} if seconds else {}),
            **made_from,
        },
    )


def _sources(
    invocation: DbtCliInvocation, node: Mapping[str, Any], connection: psycopg.Connection
) -> Sources:
    """Return the source columns of each column of a model; empty for seeds and snapshots."""
    if node["resource_type"] != "model":
        return {}
    nodes = {**invocation.manifest["sources"], **invocation.manifest["nodes"]}
    inputs = {}
    for parent in node["depends_on"]["nodes"]:
        key = WarehouseTranslator().get_asset_key(nodes[parent])
        inputs[key] = [c.name for c in columns_of(connection, ".".join(key.path)).columns]
    compiled = invocation.target_path / "compiled" / node["package_name"]
    return sources_of((compiled / node["original_file_path"]).read_text(), inputs)


def _raise_failure(invocation: DbtCliInvocation) -> None:
    error = invocation.get_error()
    if error is None:
        return
    failures = read_failures(invocation.target_path)
    message = failures.message if failures else str(error)
    if says_lost_connection(message):
        raise retry() from error
    tables = failures.tables if failures else {}
    raise dg.Failure(
        description=message,
        metadata={
            "artifacts": str(invocation.target_path),
            FAILED_ASSETS: {"/".join(table): reason for table, reason in tables.items()},
        },
        # A retry would fail again, as the data are the same.
        allow_retries=False,
    )
