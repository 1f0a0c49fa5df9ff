"""The one composition root: every room's assets, checks and automation, wired to their resources.

No asset is defined here and no environment variable is read here.
"""

from typing import Any

import dagster as dg

from retail_pipeline.automation import build_automation, with_conditions
from retail_pipeline.clv.definitions import build_clv
from retail_pipeline.dagster_support.catalog import catalogued
from retail_pipeline.dagster_support.run_window import run_window
from retail_pipeline.figures.assets import build_figures
from retail_pipeline.ingestion import build_ingestion
from retail_pipeline.postgres import open_database
from retail_pipeline.report.assets import build_report, inventory
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse.assets import build_warehouse


def build_definitions(settings: Settings | None = None, **overrides: Any) -> dg.Definitions:
    """Return the whole pipeline as Dagster definitions; contacts nothing.

    Args:
        settings: The environment; read and validated from the process's own by default.
        overrides: Resources by key that replace the ones built from the settings.

    Raises:
        UsageError: The environment holds a wrong setting.
    """
    settings = settings or Settings.from_environment()
    resources = {
        "settings": settings,
        "database": open_database(settings),
        "run_window": run_window(settings),
        **overrides,
    }
    rooms = [
        build_ingestion(),
        build_warehouse(),
        build_clv(),
        build_figures(),
    ]
    stages = [*rooms, build_report(inventory(rooms))]
    return dg.Definitions.merge(
        with_conditions(dg.Definitions.merge(*map(catalogued, stages))),
        build_automation(settings),
        # In one process: on a laptop a step's process would cost more than its work.
        dg.Definitions(resources=resources, executor=dg.in_process_executor),
    )
