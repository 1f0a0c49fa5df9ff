"""The jobs: named selections of assets and their checks. When they run is decided elsewhere.

A job that holds a partitioned asset asks for partitions when it is launched, and a fresh instance
has none: `clv/backtest` has a job of its own; in the others `clv/backtest_summary` does its work.
"""

from typing import Any

import dagster as dg

from retail_pipeline.automation.maintenance import build_upkeep_job

INGESTION = "ingestion"
REFRESH = "refresh"
CLV = "clv"
SCORE = "score"
REALISED = "realised"
BACKTEST = "backtest"
PIPELINE = "pipeline"
UPKEEP = "upkeep"

PARTITIONED = dg.AssetKey(["clv", "backtest"])
PREDICTIONS = dg.AssetKey(["clv", "predictions"])
REALISED_PREDICTIONS = dg.AssetKey(["clv", "realised_predictions"])

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


def build_jobs() -> list[Any]:
    """Return the jobs; a group's selection includes the checks of its assets."""
    cutoffs = dg.AssetSelection.assets(PARTITIONED)
    clv = dg.AssetSelection.groups("clv")
    return [
        _job(
            INGESTION,
            dg.AssetSelection.groups("transactional"),
            "Sync the retail API into PostgreSQL and check what was landed.",
        ),
        _job(
            REFRESH,
            dg.AssetSelection.groups("transactional", "staging", "intermediate", "warehouse"),
            "Sync the retail API and rebuild the warehouse on it.",
        ),
        _job(
            CLV,
            dg.AssetSelection.groups("clv", "figures", "report") - cutoffs,
            "Train, test and choose the model on the features that are there; predict, segment, "
            "draw, report.",
        ),
        _job(
            SCORE,
            dg.AssetSelection.assets(PREDICTIONS).downstream() & clv,
            "Refresh predictions and segments with the model that serves.",
        ),
        _job(
            REALISED,
            dg.AssetSelection.assets(REALISED_PREDICTIONS),
            "Compare served predictions whose horizon has passed with what came.",
        ),
        _job(
            BACKTEST,
            cutoffs,
            "Test the models again at chosen past cut-offs, for any horizon.",
        ),
        _job(
            PIPELINE,
            dg.AssetSelection.all() - cutoffs,
            "Everything: from the retail API to predictions, figures and the report.",
        ),
        build_upkeep_job(UPKEEP, _limits(UPKEEP)),
    ]


def _job(name: str, selection: dg.AssetSelection, description: str) -> Any:
    # Dagster exports no type of what this returns.
    return dg.define_asset_job(name, selection, description=description, tags=_limits(name))


def _limits(name: str) -> dict[str, str]:
    # The tag of Dagster's run monitoring, which ends a run that takes longer.
    return {"dagster/max_runtime": str(LONGEST_HOURS[name] * 3600)}
