"""The training set as a Dagster asset."""

from typing import Any

from retail_pipeline.clv.steps import Step, clv_asset


@clv_asset("warehouse/customer_features", "warehouse/customer_day_entries")
def training_set(step: Step) -> tuple[int, dict[str, Any]]:
    """A customer at a past cut-off, with the features then and the outcome afterwards."""
    from retail_pipeline.clv.data import dataset, tables

    database, as_of, horizon_days = step.database, step.as_of, step.horizon_days
    cutoffs = dataset.training_cutoffs(tables.as_of_dates(database), as_of, horizon_days)
    sample = tables.training_sample(database, as_of)
    frame = dataset.training_set(
        tables.features(database, [*cutoffs, as_of], sample),
        tables.entries(database, as_of, sample),
        as_of,
        horizon_days,
    )
    rows = tables.publish_training_set(database, frame, horizon_days)
    return rows, {
        "cutoffs": dataset.listed(cutoffs),
        "one_customer_in": sample.one_customer_in,
    }
