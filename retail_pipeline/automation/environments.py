"""What runs unasked in which environment: the one table of it, and the names in it.

`docs/operations.md` shows the same table, and a test holds the two together. What each schedule and
sensor does is in the modules beside this one.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from retail_pipeline.settings import Environment


class Starter(StrEnum):
    """The schedules and sensors."""

    DAILY_INGESTION = "daily_ingestion"
    WEEKLY_UPKEEP = "weekly_upkeep"
    WAREHOUSE_AFTER_LANDING = "warehouse_after_landing"
    CLV_AFTER_NEW_FEATURES = "clv_after_new_features"
    REALISED_AFTER_HORIZON = "realised_after_horizon"
    FIGURES_AFTER_PREDICTIONS = "figures_after_predictions"
    ALERTS = "alerts"


RUNS_UNASKED: Mapping[Environment, frozenset[Starter]] = MappingProxyType(
    {
        # A laptop must not start work by itself; each can be switched on in the UI.
        Environment.LOCAL: frozenset(),
        # Staging shares the source's rate limits with production: it syncs when someone asks.
        Environment.STAGING: frozenset(Starter) - {Starter.DAILY_INGESTION},
        Environment.PRODUCTION: frozenset(Starter),
    }
)
"""The environment that somebody adds has to decide: a missing one is an error."""


def status(starter: Starter, environment: Environment) -> Literal["RUNNING", "STOPPED"]:
    """Return the name of Dagster's status: whether it runs without being switched on.

    Raises:
        KeyError: An environment was added and nobody decided what runs in it.
    """
    return "RUNNING" if starter in RUNS_UNASKED[environment] else "STOPPED"
