"""The jobs: named selections of assets and their checks. Schedules and sensors start them.

A job with a partitioned asset can be launched only for partitions, and a new instance has none.
Therefore `clv/backtest` has a separate job; in other jobs `clv/backtest_summary` does its work.
"""

from typing import Any

import dagster as dg

from retail_pipeline.automation.maintenance import build_upkeep_job

INGESTION = "ingestion"
REFRESH = "refresh"
CLV = "clv"
SCORE = "score"
REALISED = "realised"
DRAW = "draw"
DASHBOARDS = "dashboards"
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
    DRAW: 1,
    DASHBOARDS: 1,
    BACKTEST: 6,
    PIPELINE: 10,
    UPKEEP: 1,
}
"""Maximum hours of a run by job, after which run monitoring ends it. A first load of years of
history takes less; a nightly run takes minutes."""


def build_jobs() -> list[Any]:
    """Return the jobs; a group's selection includes the checks of its assets."""
    cutoffs = dg.AssetSelection.assets(PARTITIONED)
    clv = dg.AssetSelection.groups("clv")
    dashboards = dg.AssetSelection.groups("bi")
    return [
        _job(
            INGESTION,
            dg.AssetSelection.groups("transactional"),
            "Sync the retail API into PostgreSQL and check the landed records.",
        ),
        _job(
            REFRESH,
            dg.AssetSelection.groups("transactional", "staging", "intermediate", "warehouse"),
            "Sync the retail API and rebuild the warehouse.",
        ),
        _job(
            CLV,
            dg.AssetSelection.groups("clv", "figures", "report") - cutoffs,
            "Train, test and choose the model on the current features; predict, segment, draw "
            "figures and write the report.",
        ),
        _job(
            SCORE,
            dg.AssetSelection.assets(PREDICTIONS).downstream() & clv,
            "Refresh predictions and segments with the champion model.",
        ),
        _job(
            REALISED,
            dg.AssetSelection.assets(REALISED_PREDICTIONS),
            "Compare served predictions whose horizon has passed with the actual values.",
        ),
        _job(
            DRAW,
            dg.AssetSelection.groups("figures", "report"),
            "Draw the figures and write the report, from the stored tables.",
        ),
        _job(
            DASHBOARDS,
            dashboards,
            "Bring Superset, where it is installed, to the state of the files; ask every chart.",
        ),
        _job(
            BACKTEST,
            cutoffs,
            "Test the models again at chosen past cut-offs, for any horizon.",
        ),
        _job(
            PIPELINE,
            dg.AssetSelection.all() - cutoffs - dashboards,
            "Everything: from the retail API to predictions, figures and the report.",
        ),
        build_upkeep_job(UPKEEP, _limits(UPKEEP)),
    ]


def _job(name: str, selection: dg.AssetSelection, description: str) -> Any:
    # Dagster does not export the type of the returned job.
    return dg.define_asset_job(name, selection, description=description, tags=_limits(name))


def _limits(name: str) -> dict[str, str]:
    # Dagster's run monitoring ends runs that exceed the value of this tag.
    return {"dagster/max_runtime": str(LONGEST_HOURS[name] * 3600)}
