"""The check of the training set."""

import dagster as dg

from retail_pipeline.dagster_support.check_results import failed, one_row, passed, warned
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.postgres import Database


@dg.asset_check(asset=["clv", "training_set"], blocking=True)
def outcomes_are_complete(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """No training row's outcome reaches beyond the run's date; none is missing or negative."""
    as_of, horizon_days = run_window.landed(database)
    found = one_row(
        database,
        "select count(*) as rows, count(distinct as_of_date) as cutoffs, "
        "count(*) filter (where as_of_date + horizon_days > %(as_of)s) as incomplete, "
        "count(*) filter (where future_value < 0 or future_orders < 0) as negative "
        "from clv.training_set where horizon_days = %(horizon)s",
        {"as_of": as_of, "horizon": horizon_days},
    )
    if found["incomplete"] or found["negative"]:
        return failed(found, "some outcomes are incomplete or negative")
    if not found["rows"]:
        return warned(found, f"no past cut-off has a complete outcome of {horizon_days} days yet")
    return passed(found)
