"""The training set as a Dagster asset."""

import time

import dagster as dg

from retail_pipeline.dagster_support.asset_results import table_result
from retail_pipeline.dagster_support.retrying import retried
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.postgres import Database, Role


@dg.asset(
    key_prefix="clv",
    deps=[["warehouse", "customer_features"], ["warehouse", "customer_day_entries"]],
    group_name="clv",
    owners=["team:data-science"],
    kinds={"python", "postgres"},
)
@retried
def training_set(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A customer at a past cut-off, with its features and the outcome that followed."""
    from retail_pipeline.clv.data import dataset, tables

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    cutoffs = dataset.training_cutoffs(tables.as_of_dates(database), as_of, horizon_days)
    sample = tables.training_sample(database, as_of)
    frame = dataset.training_set(
        tables.features(database, [*cutoffs, as_of], sample),
        tables.entries(database, as_of, sample),
        as_of,
        horizon_days,
    )
    rows = tables.publish_training_set(database, frame, horizon_days)
    return table_result(
        database,
        "clv.training_set",
        rows,
        started,
        cutoffs=dataset.listed(cutoffs),
        one_customer_in=sample.one_customer_in,
    )
