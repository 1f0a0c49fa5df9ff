"""The jobs: named selections of assets and their checks. When they run is decided elsewhere.

A job that holds a partitioned asset asks for partitions when it is launched, and a fresh instance
has none: `clv/backtest` has a job of its own; in the others `clv/backtest_summary` does its work.
"""

from typing import TYPE_CHECKING, Union

from dagster import AssetKey, AssetSelection, JobDefinition, define_asset_job
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG

from retail_pipeline.automation.upkeep import build_upkeep_job

if TYPE_CHECKING:  # Dagster does not export the type of what it returns
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

Job = Union["UnresolvedAssetJobDefinition", JobDefinition]

INGESTION = "ingestion"
REFRESH = "refresh"
CLV = "clv"
SCORE = "score"
REALISED = "realised"
BACKTEST = "backtest"
PIPELINE = "pipeline"
UPKEEP = "upkeep"

PARTITIONED = AssetKey(["clv", "backtest"])
PREDICTIONS = AssetKey(["clv", "predictions"])
REALISED_PREDICTIONS = AssetKey(["clv", "realised_predictions"])

_HOUR = 3600
LONGEST_HOURS = {
    INGESTION: 4,
    REFRESH: 6,
    CLV: 4,
    SCORE: 2,
    REALISED: 1,
    BACKTEST: 6,
    PIPELINE: 10,
    UPKEEP: 1,
}
"""A run that takes longer is stuck: run monitoring ends it and its alert says so. First loads of
years of history stay below; a night's increment takes minutes."""


def build_jobs() -> list[Job]:
    """Return the jobs; a group's selection includes the checks of its assets."""
    cutoffs = AssetSelection.assets(PARTITIONED)
    clv = AssetSelection.groups("clv")
    return [
        _job(
            INGESTION,
            AssetSelection.groups("transactional"),
            "Sync the retail API into PostgreSQL and check what was landed.",
        ),
        _job(
            REFRESH,
            AssetSelection.groups("transactional", "staging", "intermediate", "warehouse"),
            "Sync the retail API and rebuild the warehouse on it.",
        ),
        _job(
            CLV,
            AssetSelection.groups("clv", "figures", "report") - cutoffs,
            "Train, test and choose the model on the features that are there; predict, segment, "
            "draw, report.",
        ),
        _job(
            SCORE,
            AssetSelection.assets(PREDICTIONS).downstream() & clv,
            "Refresh predictions and segments with the model that serves.",
        ),
        _job(
            REALISED,
            AssetSelection.assets(REALISED_PREDICTIONS),
            "Compare served predictions whose horizon has passed with what came.",
        ),
        _job(
            BACKTEST,
            cutoffs,
            "Test the models again at chosen past cut-offs, for any horizon.",
        ),
        _job(
            PIPELINE,
            AssetSelection.all() - cutoffs,
            "Everything: from the retail API to predictions, figures and the report.",
        ),
        build_upkeep_job(UPKEEP, _limits(UPKEEP)),
    ]


def _job(name: str, selection: AssetSelection, description: str) -> Job:
    return define_asset_job(name, selection, description=description, tags=_limits(name))


def _limits(name: str) -> dict[str, str]:
    return {MAX_RUNTIME_SECONDS_TAG: str(LONGEST_HOURS[name] * _HOUR)}
