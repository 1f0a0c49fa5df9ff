"""dbt as assets: one build of the whole project, streamed into Dagster event by event.

Models and seeds are assets, data tests are asset checks; a failing one of severity error stops
everything downstream of it.
"""

import shutil
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from dagster_dbt import DbtCliInvocation, DbtCliResource, DbtProject, dbt_assets

from retail_pipeline.dagster_support.retrying import retry
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import FAILED_ASSETS
from retail_pipeline.postgres import (
    Database,
    Role,
)
from retail_pipeline.postgres.lost import says_lost_connection
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse.metadata import (
    Sources,
    columns_of,
    count_and_version,
    count_of_view,
    lineage_metadata,
    sources_of,
)
from retail_pipeline.warehouse.project import (
    PARTIAL_PARSE,
    PREPARED,
    PROJECT_FOLDER,
    database_name,
    dbt_environment,
    dbt_program,
    exported,
    keep,
    read_manifest,
    recall,
)
from retail_pipeline.warehouse.results import (
    failed_nodes,
    failure_message,
)
from retail_pipeline.warehouse.translator import WarehouseTranslator

POOL = "warehouse"
"""One build at a time: two would rewrite the same tables."""


def build_warehouse(settings: Settings) -> dg.Definitions:
    """Return one multi-asset that builds every dbt model and runs every data test.

    It contacts no server; the first call after a change of the dbt project parses it (seconds).

    Raises:
        PipelineError: The dbt project does not parse.
    """

    @dbt_assets(
        manifest=read_manifest(database_name(settings)),
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
        as_of = run_window.landed_as_of(database)
        yield from _build(context, database, as_of, settings.home / "dbt" / context.run_id)

    return dg.Definitions(assets=[dbt_build])


def _build(
    context: dg.AssetExecutionContext, database: Database, as_of: date, artifacts: Path
) -> Iterator[Any]:
    resource = DbtCliResource(
        project_dir=str(PROJECT_FOLDER),
        profiles_dir=str(PROJECT_FOLDER),
        dbt_executable=dbt_program(),
    )
    parsed = artifacts.parent / PARTIAL_PARSE
    recall(parsed, artifacts)
    with exported(dbt_environment(database.url, as_of)):
        invocation = resource.cli(
            # Unit tests prove the SQL, not the data: they run in the test suite.
            ["build", "--exclude-resource-type", "unit_test"],
            context=context,
            target_path=artifacts,
            raise_on_error=False,
        )
    with database.as_role(Role.TRANSFORMER).connect(autocommit=True) as connection:
        for event in invocation.stream():
            if isinstance(event, dg.Output):
                yield _described(event, invocation.manifest, artifacts, connection, as_of)
            else:
                yield event
    keep(parsed, artifacts)
    _raise_failure(invocation, artifacts)
    shutil.rmtree(artifacts, ignore_errors=True)


def _described(
    event: dg.Output[Any],
    manifest: Mapping[str, Any],
    artifacts: Path,
    connection: psycopg.Connection,
    as_of: date,
) -> dg.Output[Any]:
    """Return the event of a built table with its rows, columns, lineage and data version."""
    unique_id = str(event.metadata["unique_id"].value)
    node = manifest["nodes"][unique_id]
    table = (node["schema"], node["alias"])
    if node["config"]["materialized"] == "view":
        rows, version = count_of_view(connection, table), None
    else:
        rows, version = count_and_version(connection, table)
    sources = _sources(manifest, unique_id, artifacts, connection)
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
            "as_of": as_of.isoformat(),
        },
    )


def _sources(
    manifest: Mapping[str, Any], unique_id: str, artifacts: Path, connection: psycopg.Connection
) -> Sources:
    """Return the columns of assets that each column of a model is made from; none of a seed."""
    node = manifest["nodes"][unique_id]
    compiled = artifacts / "compiled" / node["package_name"] / node["original_file_path"]
    if node["resource_type"] != "model":
        return {}
    keys: dict[tuple[str, str], dg.AssetKey] = {}
    for parent_id in node["depends_on"]["nodes"]:
        parent = manifest["nodes"].get(parent_id) or manifest["sources"][parent_id]
        table = (parent["schema"], parent.get("alias") or parent["identifier"])
        keys[table] = WarehouseTranslator().get_asset_key(parent)
    inputs = {
        table: [column.name for column in columns_of(connection, table).columns] for table in keys
    }
    return {
        column: {(keys[table], name) for table, name in found}
        for column, found in sources_of(compiled.read_text(), inputs).items()
    }


def _raise_failure(invocation: DbtCliInvocation, artifacts: Path) -> None:
    error = invocation.get_error()
    if error is None:
        return
    try:
        message = failure_message(artifacts)
        failed = {
            WarehouseTranslator().get_asset_key(node).to_user_string(): reason
            for node, reason in failed_nodes(artifacts)
        }
    except FileNotFoundError:
        message, failed = None, {}
    if says_lost_connection(message or str(error)):
        raise retry() from error
    raise dg.Failure(
        description=message or str(error),
        metadata={"artifacts": str(artifacts), FAILED_ASSETS: failed},
        # The same data fails the same way: a retry would only cost time.
        allow_retries=False,
    )
