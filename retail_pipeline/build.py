"""The composition root: the assets, checks and automation of all packages with their resources.

This module defines no assets and reads no environment variables.
"""

from typing import Any

import dagster as dg

from retail_pipeline.automation import build_automation, with_conditions
from retail_pipeline.bi.assets import build_dashboards
from retail_pipeline.clv.definitions import build_clv
from retail_pipeline.dagster_support.catalog import cataloged
from retail_pipeline.dagster_support.run_window import run_window
from retail_pipeline.figures.assets import build_figures
from retail_pipeline.ingestion import build_ingestion
from retail_pipeline.postgres import open_database
from retail_pipeline.report.assets import build_report, inventory
from retail_pipeline.settings import Settings, TablesSource
from retail_pipeline.warehouse.assets import build_warehouse


def build_definitions(settings: Settings | None = None, **overrides: Any) -> dg.Definitions:
    """Return the Dagster definitions of the whole pipeline, without contacting any service.

    Args:
        settings: The settings; by default those of the process's environment.
        overrides: Resources by key that replace those built from the settings.

    Raises:
        UsageError: A setting in the environment is wrong.
    """
    settings = settings or Settings.from_environment()
    resources = {
        "settings": settings,
        "database": open_database(settings),
        "run_window": run_window(settings),
        **overrides,
    }
    parts = [
        # Tables that another Airbyte fills are read by dbt; nothing is synced.
        *([] if isinstance(settings.source, TablesSource) else [build_ingestion()]),
        build_warehouse(),
        build_clv(),
        build_figures(),
    ]
    stages = [*parts, build_report(inventory(parts)), build_dashboards()]
    return dg.Definitions.merge(
        with_conditions(dg.Definitions.merge(*map(cataloged, stages))),
        build_automation(settings),
        # In one process, because on a laptop starting a step's process takes longer than its work.
        dg.Definitions(resources=resources, executor=dg.in_process_executor),
    )
