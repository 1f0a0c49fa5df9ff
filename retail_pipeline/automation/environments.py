"""What runs unasked in which environment: the one table of it, and the names in it.

`docs/operations.md` shows the same table, and a test holds the two together. What each schedule and
sensor does is in the modules beside this one.
"""

from collections.abc import Mapping
from types import MappingProxyType

import dagster as dg

from retail_pipeline.settings import Environment

DAILY_INGESTION = "daily_ingestion"
WEEKLY_UPKEEP = "weekly_upkeep"
WAREHOUSE_AFTER_LANDING = "warehouse_after_landing"
CLV_AFTER_NEW_FEATURES = "clv_after_new_features"
REALISED_AFTER_HORIZON = "realised_after_horizon"
FIGURES_AFTER_PREDICTIONS = "figures_after_predictions"
ALERTS = "alerts"

EVERYTHING = frozenset(
    {
        DAILY_INGESTION,
        WEEKLY_UPKEEP,
        WAREHOUSE_AFTER_LANDING,
        CLV_AFTER_NEW_FEATURES,
        REALISED_AFTER_HORIZON,
        FIGURES_AFTER_PREDICTIONS,
        ALERTS,
    }
)

RUNS_UNASKED: Mapping[Environment, frozenset[str]] = MappingProxyType(
    {
        # A laptop must not start work by itself; each can be switched on in the UI.
        Environment.LOCAL: frozenset(),
        # Staging shares the source's rate limits with production: it syncs when someone asks.
        Environment.STAGING: EVERYTHING - {DAILY_INGESTION},
        Environment.PRODUCTION: EVERYTHING,
    }
)
"""The environment that somebody adds has to decide: a missing one is an error."""


def schedule_status(name: str, environment: Environment) -> dg.DefaultScheduleStatus:
    """Return whether a schedule runs without being switched on.

    Raises:
        KeyError: An environment was added and nobody decided what runs in it.
    """
    runs = name in RUNS_UNASKED[environment]
    return dg.DefaultScheduleStatus.RUNNING if runs else dg.DefaultScheduleStatus.STOPPED


def sensor_status(name: str, environment: Environment) -> dg.DefaultSensorStatus:
    """Return whether a sensor runs without being switched on.

    Raises:
        KeyError: An environment was added and nobody decided what runs in it.
    """
    runs = name in RUNS_UNASKED[environment]
    return dg.DefaultSensorStatus.RUNNING if runs else dg.DefaultSensorStatus.STOPPED
