"""The dbt step with the engine Spark: built in the lake, published in PostgreSQL.

PostgreSQL keeps the versions of records, so it builds the snapshots and the views that they read.
Spark's driver lands the tables, and builds and tests all models, whichever of them the run selects,
as a build replaces the last one. Then the marts are copied to PostgreSQL, where all others read
them. A build that fails, or a driver that is lost, changes no table.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

import dagster as dg
import psycopg
from dagster_dbt import DbtCliInvocation

from retail_pipeline.dagster_support.spark_driver import spark_environment, spark_program
from retail_pipeline.errors import PipelineError
from retail_pipeline.files import private_folder
from retail_pipeline.lake import Build, Lake
from retail_pipeline.postgres import Database, Role
from retail_pipeline.settings import Settings, TablesSource
from retail_pipeline.warehouse.builds import InPostgres, made_from, raise_failure, started
from retail_pipeline.warehouse.project import dbt_environment, recall
from retail_pipeline.warehouse.publishing import publish, to_create
from retail_pipeline.warehouse.run import create_empty

_IN_POSTGRES: Final = (
    *("--select", "path:models/staging", "resource_type:snapshot", "resource_type:seed"),
)


def build_on_spark(
    context: dg.AssetExecutionContext, database: Database, settings: Settings, as_of: date
) -> Iterator[Any]:
    """Yield the events of a build on Spark.

    Raises:
        PipelineError: Spark is not installed, or the source has no landing tables.
        dagster.Failure: A model, a test or the driver failed.
    """
    if isinstance(settings.source, TablesSource):
        raise PipelineError(
            "RETAIL_ENGINE=spark builds from the landing tables of a sync, and RETAIL_SOURCE names "
            "the tables of another Airbyte: use RETAIL_ENGINE=postgres for them"
        )
    python = str(spark_program(settings, "python"))
    transformer = database.as_role(Role.TRANSFORMER)
    folder, lake = private_folder(settings.home / "dbt"), Lake(settings.lake_address)
    environment = dbt_environment(database.url, as_of, settings)
    wanted, shared = _Wanted(context), made_from(database, as_of)

    target = recall(folder / "target")
    staged = started(context, environment, target, selection=_IN_POSTGRES)
    with transformer.connect(autocommit=True) as connection:
        tables = InPostgres(connection, shared)
        for event in filter(wanted.has, staged.stream()):
            yield tables.described(event, staged)
    raise_failure(staged)

    invocation = started(
        context,
        {**environment, **spark_environment(settings, transformer)},
        recall(folder / "spark"),
        command=[python, "-m", "retail_pipeline.spark.dbt_driver", lake.address],
    )
    outputs = []
    try:
        for event in filter(wanted.has, _events(invocation)):
            if isinstance(event, dg.Output):
                outputs.append(event)
            else:
                yield event
    finally:
        if invocation.process.poll() is None:  # the step was ended: nobody would read the driver
            invocation.process.terminate()
            invocation.process.wait()
    raise_failure(invocation)

    build = lake.build
    marts = build.marts()
    if missing := to_create(transformer, build, marts):
        create_empty(environment, folder / "target", missing)
    publish(transformer, build, marts)
    with transformer.connect(autocommit=True) as connection:
        built = _InLake(connection, shared, build, invocation.manifest)
        for event in outputs:
            yield built.described(event, invocation)


def _events(invocation: DbtCliInvocation) -> Iterator[Any]:
    """Yield Dagster's events of a build, without tests that only the lake's tables need."""
    for message in invocation.stream_raw_events():
        node = message.raw_event["data"].get("node_info", {}).get("unique_id")
        if node is None or node in invocation.manifest["nodes"]:
            yield from message.to_default_asset_events(
                manifest=invocation.manifest,
                dagster_dbt_translator=invocation.dagster_dbt_translator,
                context=invocation.context,
                target_path=invocation.target_path,
                project=invocation.project,
            )


class _Wanted:
    """The events of the run's selection, each once: both databases test the staging models."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._outputs = context.op_execution_context.selected_output_names
        self._checks = context.selected_asset_check_keys
        self._seen: set[Any] = set()

    def has(self, event: Any) -> bool:
        """Return whether an event is selected and was not seen before."""
        key: Any
        if isinstance(event, dg.Output):
            key, is_selected = event.output_name, event.output_name in self._outputs
        elif isinstance(event, dg.AssetCheckResult | dg.AssetCheckEvaluation):
            assert event.asset_key and event.check_name
            key = dg.AssetCheckKey(event.asset_key, event.check_name)
            is_selected = key in self._checks
        else:
            return True
        is_new = key not in self._seen
        self._seen.add(key)
        return is_selected and is_new


class _InLake(InPostgres):
    """The built tables in the lake; marts, published in PostgreSQL, are described from there."""

    dialect = "spark"

    def __init__(
        self,
        connection: psycopg.Connection,
        made_from: Mapping[str, Any],
        build: Build,
        manifest: Mapping[str, Any],
    ) -> None:
        super().__init__(connection, made_from)
        self._build = build
        self._nodes = {f"{n['schema']}.{n['name']}": n for n in manifest["nodes"].values()}

    def count(self, table: str, *, is_view: bool) -> tuple[int | None, dg.DataVersion | None]:
        """Return the number of rows; a digest only of marts."""
        if self._is_only_here(table):
            return self._build.read(table).count_rows(), None
        return super().count(table, is_view=is_view)

    def columns(self, table: str) -> dg.TableSchema:
        """Return the columns, with the descriptions of the model."""
        if not self._is_only_here(table):
            return super().columns(table)
        described = self._nodes[table]["columns"]
        return dg.TableSchema(
            [
                dg.TableColumn(
                    field.name,
                    str(field.type),
                    described.get(field.name, {}).get("description") or None,
                )
                for field in self._build.read(table).schema
            ]
        )

    def _is_only_here(self, table: str) -> bool:
        return table.startswith("intermediate.") and self._build.has(table)
