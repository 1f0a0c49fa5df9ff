"""The jobs: named selections of assets and their checks. When they run is decided elsewhere.

A job that holds a partitioned asset asks for partitions when it is launched, and a fresh instance
has none: `clv/backtest` has a job of its own; in the others `clv/backtest_summary` does its work.
"""

from typing import TYPE_CHECKING

from dagster import AssetKey, AssetSelection, define_asset_job

if TYPE_CHECKING:  # Dagster does not export the type of what it returns
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

INGESTION = "ingestion"
REFRESH = "refresh"
CLV = "clv"
BACKTEST = "backtest"
PIPELINE = "pipeline"

PARTITIONED = AssetKey(["clv", "backtest"])


def build_jobs() -> "list[UnresolvedAssetJobDefinition]":
    """Return the five jobs; a group's selection includes the checks of its assets."""
    cutoffs = AssetSelection.assets(PARTITIONED)
    return [
        define_asset_job(
            INGESTION,
            selection=AssetSelection.groups("transactional"),
            description="Sync the retail API into PostgreSQL and check what was landed.",
        ),
        define_asset_job(
            REFRESH,
            selection=AssetSelection.groups(
                "transactional", "staging", "intermediate", "warehouse"
            ),
            description="Sync the retail API and rebuild the warehouse on it; the sensor goes on.",
        ),
        define_asset_job(
            CLV,
            selection=AssetSelection.groups("clv", "figures") - cutoffs,
            description="Train, test and choose the model on the features that are there; predict, "
            "segment, draw.",
        ),
        define_asset_job(
            BACKTEST,
            selection=cutoffs,
            description="Test the models again at chosen past cut-offs, for any horizon.",
        ),
        define_asset_job(
            PIPELINE,
            selection=AssetSelection.all() - cutoffs,
            description="Everything: from the retail API to predictions and figures.",
        ),
    ]
