"""The schedules and sensors that are on by default, by environment.

`docs/operations.md` shows the same table, and a test compares the two. The schedules and sensors
are defined in the other modules of this package.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from retail_pipeline.settings import Environment, Scheduler, Settings


class Starter(StrEnum):
    """The names of the schedules and sensors."""

    DAILY_INGESTION = "daily_ingestion"
    WEEKLY_UPKEEP = "weekly_upkeep"
    WAREHOUSE_AFTER_LANDING = "warehouse_after_landing"
    CLV_AFTER_NEW_FEATURES = "clv_after_new_features"
    REALISED_AFTER_HORIZON = "realised_after_horizon"
    FIGURES_AFTER_PREDICTIONS = "figures_after_predictions"
    ALERTS = "alerts"


ON_BY_DEFAULT: Mapping[Environment, frozenset[Starter]] = MappingProxyType(
    {
        # A laptop starts nothing by itself; each starter can be switched on in the UI.
        Environment.LOCAL: frozenset(),
        # Staging shares the source's rate limits with production, so its syncs are started by hand.
        Environment.STAGING: frozenset(Starter) - {Starter.DAILY_INGESTION},
        Environment.PRODUCTION: frozenset(Starter),
    }
)
"""The starters that are on by default; every environment must have an entry."""


def status(starter: Starter, settings: Settings) -> Literal["RUNNING", "STOPPED"]:
    """Return the name of a starter's default status in Dagster.

    If Airflow is the scheduler, only alerts are on, because they start no run.

    Raises:
        KeyError: The environment has no entry in `ON_BY_DEFAULT`.
    """
    on = ON_BY_DEFAULT[settings.environment]
    if settings.scheduler is Scheduler.AIRFLOW:
        on &= {Starter.ALERTS}
    return "RUNNING" if starter in on else "STOPPED"
