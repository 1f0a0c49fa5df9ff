"""The dbt project as Dagster assets: one `dbt build`, streamed into Dagster event by event.

Models, seeds and snapshots are assets; data tests are asset checks. A failing check of severity
error stops everything downstream of it.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
from dagster_dbt import DbtProject, dbt_assets

from retail_pipeline.business_day import today
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.files import private_folder
from retail_pipeline.generation import begin
from retail_pipeline.postgres import Database, Role
from retail_pipeline.settings import Engine, Settings, TablesSource, parse_as_of
from retail_pipeline.warehouse import checks
from retail_pipeline.warehouse.builds import InPostgres, made_from, raise_failure, started
from retail_pipeline.warehouse.on_spark import build_on_spark
from retail_pipeline.warehouse.project import (
    PREPARED,
    PROJECT_FOLDER,
    dbt_environment,
    read_manifest,
    recall,
)
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
        if settings.engine is Engine.SPARK:
            yield from build_on_spark(context, database, settings, as_of)
        else:
            yield from _build(context, database, settings, as_of)

    return dg.Definitions(
        assets=[dbt_build], asset_checks=dg.load_asset_checks_from_modules([checks])
    )


def _build(
    context: dg.AssetExecutionContext, database: Database, settings: Settings, as_of: date
) -> Iterator[Any]:
    artifacts = recall(private_folder(settings.home / "dbt") / "target")
    invocation = started(context, dbt_environment(database.url, as_of, settings), artifacts)
    with database.as_role(Role.TRANSFORMER).connect(autocommit=True) as connection:
        tables = InPostgres(connection, made_from(database, as_of))
        for event in invocation.stream():
            yield tables.described(event, invocation)
    raise_failure(invocation)


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
