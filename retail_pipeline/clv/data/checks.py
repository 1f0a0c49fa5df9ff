"""The checks of the training set."""

import dagster as dg

from retail_pipeline.clv.steps import Step, clv_check
from retail_pipeline.dagster_support.check_results import failed, passed, warned


@clv_check("training_set", blocking=True)
def outcomes_are_complete(step: Step) -> dg.AssetCheckResult:
    """Every training row's outcome ends by the run's as-of date and is not negative."""
    found = step.row(
        "select count(*) as rows, count(distinct as_of_date) as cutoffs, "
        "count(*) filter (where as_of_date + horizon_days > %(as_of)s) as incomplete, "
        "count(*) filter (where future_value < 0 or future_orders < 0) as negative "
        "from clv.training_set where horizon_days = %(horizon)s"
    )
    if found["incomplete"] or found["negative"]:
        return failed(found, "some outcomes are incomplete or negative")
    if not found["rows"]:
        return warned(
            found,
            f"no past cut-off has a complete outcome of {step.horizon_days} days yet, so no model "
            "is tested: choose a shorter horizon, or load earlier sales",
        )
    return passed(found)


@clv_check("training_set")
def history_carries_the_horizon(step: Step) -> dg.AssetCheckResult:
    """Enough customers bought again, and the history is at least twice the horizon."""
    from retail_pipeline.clv.data.thin_data import History

    found = step.row(
        "select count(*) as customers, count(*) filter (where purchase_days > 1) "
        "as repeat_customers, coalesce(max(age_days), 0) as history_days "
        "from warehouse.customer_features where as_of_date = %(as_of)s"
    )
    doubts = list(History(**found).warnings(step.horizon_days))
    return warned(found, "; ".join(doubts)) if doubts else passed(found)
