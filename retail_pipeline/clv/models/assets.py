"""The fitted models as a Dagster asset."""

from datetime import UTC, datetime
from typing import Any

from retail_pipeline.clv.steps import Step, clv_asset
from retail_pipeline.dagster_support.asset_results import markdown
from retail_pipeline.generation import read_state


@clv_asset(
    "clv/training_set",
    "warehouse/customer_features",
    table="model_versions",
    kinds=("python", "scikitlearn", "postgres"),
)
def candidates(step: Step) -> tuple[int, dict[str, Any]]:
    """A model fitted at the run's as-of date, stored as JSON parameters with status challenger."""
    from retail_pipeline.clv.data import dataset, digests, tables
    from retail_pipeline.clv.models import registry
    from retail_pipeline.clv.models.candidates import fit_candidates

    database, as_of, horizon_days = step.database, step.as_of, step.horizon_days
    sample = tables.training_sample(database, as_of)
    today = dataset.population(tables.features(database, [as_of], sample), as_of)
    labeled = dataset.prepare_features(
        database.read("clv.training_set", where="horizon_days = %s", params=[horizon_days])
    )
    training = registry.Training(
        as_of,
        horizon_days,
        read_state(database).data_version,
        datetime.now(UTC),
        digests.code_version(),
        is_extrapolated=labeled.empty,
        one_customer_in=sample.one_customer_in,
    )
    registry.save_candidates(database, fit_candidates(labeled, today, horizon_days), training)
    table = registry.training_report(database, as_of, horizon_days)
    return int(table["version"].notna().sum()), {
        "models": markdown(table.round(3)),
        "fit_seconds": round(float(table["fit seconds"].sum()), 3),
        "artifact_kib": round(float(table["KiB"].sum()), 1),
        "customers": len(today),
        "one_customer_in": sample.one_customer_in,
        "code_version": training.code_version,
    }
