"""dbt as assets: one build of the whole project, streamed into Dagster event by event.

Models and seeds are assets, data tests are asset checks; a failing one of severity error stops what
is downstream. SQL belongs to `dbt_project/`.
"""

import shutil
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from dagster import (
    AssetExecutionContext,
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

from retail_pipeline.deferred import psycopg
from retail_pipeline.postgres import Database, Role
from retail_pipeline.retrying import retry, says_lost_connection
from retail_pipeline.run_window import RunWindow
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse.column_lineage import KeptLineage
from retail_pipeline.warehouse.outcome import failure_message
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

POOL = "warehouse"
"""One build at a time: two would rewrite the same tables."""


class PromptDbt(DbtCliResource):
    """dagster-dbt's resource, without what it does for two seconds each before dbt starts.

    It would ask `dbt --version`, which also asks a package index for updates, and make dbt's
    adapter in this process, which only column lineage needs.
    """

    @cached_property
    def _cli_version(self) -> Version:
        assert DBT_PYTHON_VERSION is not None
        return DBT_PYTHON_VERSION

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:  # noqa: ARG002
        return None

    def make_adapter(self, invocation: DbtCliInvocation) -> None:
        """Give an invocation its adapter, while dbt itself is starting."""
        invocation.adapter = super()._initialize_dbt_core_adapter([])


def build_warehouse_assets(settings: Settings) -> Definitions:
    """Return one multi-asset that builds every dbt model and runs every test.

    Raises:
        PipelineError: The dbt project does not parse.
    """
    manifest = read_manifest(database_name(settings))
    with without_engine():
        all_models = dbt_assets(
            name="dbt_build",
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
        as_of = run_window.landed_as_of(settings, database)
        artifacts = settings.home / "dbt" / context.run_id
        nodes = manifest["nodes"].items()
        models = {name for name, node in nodes if node["resource_type"] == "model"}
        yield from _build(context, database, as_of, artifacts, models)

    return Definitions(assets=[dbt_build])


def _build(
    context: AssetExecutionContext,
    database: Database,
    as_of: date,
    artifacts: Path,
    models: set[str],
) -> Iterator[Any]:
    lineage = KeptLineage(artifacts.parent / "column_lineage.json", project_digest())
    is_known = lineage.knows(models)
    resource = PromptDbt(
        project_dir=str(PROJECT_FOLDER),
        profiles_dir=str(PROJECT_FOLDER),
        dbt_executable=dbt_program(),
    )
    transformer = database.as_role(Role.TRANSFORMER)
    requested = _rebuild_requested(transformer)
    parsed = artifacts.parent / PARTIAL_PARSE
    recall(parsed, artifacts)
    with exported(dbt_environment(database.url, as_of)):
        invocation = resource.cli(
            # Unit tests prove the SQL, not the data: they run in the test suite.
            [
                *("build", "--exclude-resource-type", "unit_test"),
                *(["--full-refresh"] if requested else []),
            ],
            context=context,
            target_path=artifacts,
            raise_on_error=False,
        )
        if not is_known:
            resource.make_adapter(invocation)
    events = invocation.stream()
    if not is_known:
        events = events.fetch_column_metadata()
    with transformer.connect(autocommit=True) as connection:
        for event in events:
            if isinstance(event, Output):
                described = lineage.add_to(_described(event, connection, invocation))
                event = described.with_metadata({**described.metadata, "as_of": as_of.isoformat()})  # noqa: PLW2901
            yield event
    lineage.keep()
    keep(parsed, artifacts)
    _raise_failure(invocation, artifacts)
    if requested and not context.is_subset:
        transformer.execute(
            "delete from quality.rebuild_requests where requested_at = %s", [requested]
        )
    shutil.rmtree(artifacts, ignore_errors=True)


def _rebuild_requested(database: Database) -> datetime | None:
    """Return when a build from nothing was asked for: rows left that an increment does not miss."""
    with database.connect() as connection:
        row = connection.execute(
            "select requested_at from quality.rebuild_requests where layer = 'warehouse'"
        ).fetchone()
    return row[0] if row else None


def _described(
    event: Output[Any], connection: "psycopg.Connection", invocation: DbtCliInvocation
) -> Output[Any]:
    """Add what the database says of the new table or view: rows, columns, descriptions."""
    node = invocation.manifest["nodes"][event.metadata["unique_id"].value]
    table = psycopg.sql.Identifier(node["schema"], node["alias"])
    rows = connection.execute(psycopg.sql.SQL("select count(*) from {}").format(table)).fetchone()
    seconds = event.metadata.get("Execution Duration")
    return event.with_metadata(
        {
            **event.metadata,
            "dagster/row_count": rows[0] if rows else 0,
            "dagster/column_schema": _columns(connection, table.as_string(connection)),
            **({"seconds": seconds} if seconds else {}),
        }
    )


def _columns(connection: "psycopg.Connection", table: str) -> TableSchema:
    columns = connection.execute(
        "select attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum), "
        "attnotnull from pg_attribute where attrelid = %s::regclass and attnum > 0 "
        "and not attisdropped order by attnum",
        [table],
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
    except FileNotFoundError:
        message = None
    if says_lost_connection(message or str(error)):
        raise retry() from error
    raise Failure(
        description=message or str(error),
        metadata={"artifacts": str(artifacts)},
        # The same data fails the same way: a retry would only cost time.
        allow_retries=False,
    )
