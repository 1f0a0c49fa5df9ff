"""dbt as assets: one build of the whole project, streamed into Dagster event by event.

Models and seeds are assets, data tests are asset checks; a failing one of severity error stops what
is downstream. SQL belongs to `dbt_project/`.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psycopg
from dagster import (
    AssetExecutionContext,
    AssetKey,
    Definitions,
    Failure,
    Output,
    ResourceParam,
    TableColumn,
    TableColumnConstraints,
    TableSchema,
)
from dagster_dbt import DbtCliInvocation, DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.compat import DBT_PYTHON_VERSION
from packaging.version import Version

from retail_pipeline.dagster_support.retrying import (
    retry,
    says_lost_connection,
)
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import FAILED_ASSETS
from retail_pipeline.postgres import (
    Database,
    Role,
)
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse import BUILD_STEP
from retail_pipeline.warehouse.column_lineage import (
    KeptLineage,
    Table,
    sources_of,
)
from retail_pipeline.warehouse.outcome import (
    failed_nodes,
    failure_message,
)
from retail_pipeline.warehouse.project import (
    PARTIAL_PARSE,
    PROJECT_FOLDER,
    database_name,
    dbt_environment,
    dbt_program,
    exported,
    keep,
    project_digest,
    read_manifest,
    recall,
)
from retail_pipeline.warehouse.selection import without_engine
from retail_pipeline.warehouse.translator import WarehouseTranslator
from retail_pipeline.warehouse.warm import (
    WARM_DBT,
    relay_command,
)

POOL = "warehouse"
"""One build at a time: two would rewrite the same tables."""


_COSTLY: Final = 1e6
"""In PostgreSQL's units: some seconds, beside a build that needs the cores."""


class PromptDbt(DbtCliResource):
    """dagster-dbt's resource, without what it does for two seconds each before dbt starts.

    It would ask `dbt --version`, which also asks a package index for updates, and make dbt's
    adapter in this process, which nothing here asks for anything.
    """

    @cached_property
    def _cli_version(self) -> Version:
        assert DBT_PYTHON_VERSION is not None
        return DBT_PYTHON_VERSION

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:  # noqa: ARG002
        return None


def build_warehouse_assets(settings: Settings) -> Definitions:
    """Return one multi-asset that builds every dbt model and runs every test.

    Raises:
        PipelineError: The dbt project does not parse.
    """
    manifest = read_manifest(database_name(settings))
    with without_engine():
        all_models = dbt_assets(
            name=BUILD_STEP,
            manifest=manifest,
            project=DbtProject(PROJECT_FOLDER),
            dagster_dbt_translator=WarehouseTranslator(),
            pool=POOL,
        )

    @all_models
    def dbt_build(
        context: AssetExecutionContext,
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> Iterator[Any]:
        as_of = run_window.landed_as_of(database)
        artifacts = settings.home / "dbt" / context.run_id
        yield from _build(context, database, as_of, artifacts)

    return Definitions(assets=[dbt_build])


def _build(
    context: AssetExecutionContext,
    database: Database,
    as_of: date,
    artifacts: Path,
) -> Iterator[Any]:
    lineage = KeptLineage(artifacts.parent / "column_lineage.json", project_digest())
    program, flags = relay_command(dbt_program())
    resource = PromptDbt(
        project_dir=str(PROJECT_FOLDER),
        profiles_dir=str(PROJECT_FOLDER),
        dbt_executable=program,
        global_config_flags=flags,
    )
    transformer = database.as_role(Role.TRANSFORMER)
    parsed = artifacts.parent / PARTIAL_PARSE
    recall(parsed, artifacts)
    with exported(dbt_environment(database.url, as_of) | WARM_DBT.environment()):
        invocation = resource.cli(
            # Unit tests prove the SQL, not the data: they run in the test suite.
            ["build", "--exclude-resource-type", "unit_test"],
            context=context,
            target_path=artifacts,
            raise_on_error=False,
        )
    manifest = invocation.manifest
    with transformer.connect(autocommit=True) as connection:
        for event in invocation.stream():
            if not isinstance(event, Output):
                yield event
                continue
            unique_id = str(event.metadata["unique_id"].value)
            if not lineage.knows(unique_id):
                lineage.learn(unique_id, _sources(manifest, unique_id, artifacts, connection))
            described = lineage.add_to(_described(event, connection, manifest), unique_id)
            yield described.with_metadata({**described.metadata, "as_of": as_of.isoformat()})
    lineage.keep()
    keep(parsed, artifacts)
    _raise_failure(invocation, artifacts)
    shutil.rmtree(artifacts, ignore_errors=True)


def _described(
    event: Output[Any], connection: psycopg.Connection, manifest: Mapping[str, Any]
) -> Output[Any]:
    """Add what the database says of the new table or view: rows, columns, descriptions."""
    node = manifest["nodes"][event.metadata["unique_id"].value]
    table = (node["schema"], node["alias"])
    rows = _count(connection, table, is_view=node["config"]["materialized"] == "view")
    seconds = event.metadata.get("Execution Duration")
    return event.with_metadata(
        {
            **event.metadata,
            **({"dagster/row_count": rows} if rows is not None else {}),
            "dagster/column_schema": _columns(connection, table),
            **({"seconds": seconds} if seconds else {}),
        }
    )


def _count(connection: psycopg.Connection, table: Table, *, is_view: bool) -> int | None:
    """Return how many rows there are; None of a view that would have to be computed for long."""
    count = psycopg.sql.SQL("select count(*) from {}").format(psycopg.sql.Identifier(*table))
    if is_view:
        plan = connection.execute(psycopg.sql.SQL("explain (format json) ") + count).fetchone()
        if plan is None or plan[0][0]["Plan"]["Total Cost"] > _COSTLY:
            return None
    row = connection.execute(count).fetchone()
    return row[0] if row else 0


def _sources(
    manifest: Mapping[str, Any], unique_id: str, artifacts: Path, connection: psycopg.Connection
) -> dict[str, set[tuple[AssetKey, str]]]:
    """Return the columns of assets that each column of a model is made from; none of a seed."""
    node = manifest["nodes"][unique_id]
    compiled = artifacts / "compiled" / node["package_name"] / node["original_file_path"]
    if node["resource_type"] != "model":
        return {}
    keys: dict[Table, AssetKey] = {}
    for parent_id in node["depends_on"]["nodes"]:
        parent = manifest["nodes"].get(parent_id) or manifest["sources"][parent_id]
        table = (parent["schema"], parent.get("alias") or parent["identifier"])
        keys[table] = WarehouseTranslator().get_asset_key(parent)
    inputs = {
        table: [column.name for column in _columns(connection, table).columns] for table in keys
    }
    return {
        column: {(keys[table], name) for table, name in found}
        for column, found in sources_of(compiled.read_text(), inputs).items()
    }


def _columns(connection: psycopg.Connection, table: Table) -> TableSchema:
    columns = connection.execute(
        "select attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum), "
        "attnotnull from pg_attribute where attrelid = %s::regclass and attnum > 0 "
        "and not attisdropped order by attnum",
        [psycopg.sql.Identifier(*table).as_string(connection)],
    )
    return TableSchema(
        [
            TableColumn(
                name, kind, description, constraints=TableColumnConstraints(nullable=not required)
            )
            for name, kind, description, required in columns
        ]
    )


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
    raise Failure(
        description=message or str(error),
        metadata={"artifacts": str(artifacts), FAILED_ASSETS: failed},
        # The same data fails the same way: a retry would only cost time.
        allow_retries=False,
    )
