"""Checks of drift and of past predictions. They warn and stop nothing."""

import dagster as dg

from retail_pipeline.clv.steps import Step, clv_check
from retail_pipeline.dagster_support.check_results import NOTHING_YET, passed, warned

LOWEST_RATIO = 0.67
HIGHEST_RATIO = 1.5
"""Highest actual over predicted total without a warning. The limits allow for a season."""

LOWEST_COVERAGE = 0.65
MOST_CHANGED = 0.25
"""Share of the features that may differ from the training data; some change as a shop grows."""

_COMPARED = (
    "(select *, stability_index >= greatest(%(bar)s, chance_95) as is_changed from clv.drift "
    "where as_of_date = %(as_of)s and horizon_days = %(horizon)s) as compared"
)


@clv_check("drift")
def predictions_are_stable(step: Step) -> dg.AssetCheckResult:
    """Predicted values are distributed as those served before (stability index below .25).

    The index against the backtest's latest cut-off causes no warning. That cut-off lies one horizon
    back, in another season and a younger shop, so the index is high without any fault.
    """
    from retail_pipeline.clv.monitoring.stability import CHANGED

    found = step.row(
        "select max(stability_index) filter (where reference = 'training') as training, "
        "max(stability_index) filter (where reference = 'previous') as previous, "
        "bool_or(is_changed) filter (where reference = 'previous') as is_changed "
        f"from {_COMPARED} where quantity = 'predicted_value'",
        bar=CHANGED,
    )
    if found["previous"] is None:
        return passed(found, NOTHING_YET)
    if found["is_changed"]:
        return warned(
            found,
            "predicted values are distributed otherwise than those served before (stability index "
            f"{found['previous']:.2f}, limit {CHANGED}): look in the figure drift which features "
            "moved, and check that the latest sales are complete",
        )
    return passed(found)


@clv_check("drift")
def features_are_stable(step: Step) -> dg.AssetCheckResult:
    """No feature has drifted since the month start before, and few from the training data.

    Features that change with the calendar or the age of the shop are left out.
    """
    from retail_pipeline.clv.data.features import CALENDAR
    from retail_pipeline.clv.monitoring.stability import CHANGED

    found = step.row(
        "select count(*) as compared, "
        "count(*) filter (where reference = 'training') as features_training, "
        "count(*) filter (where reference = 'training' and is_changed) as changed_training, "
        "count(*) filter (where reference = 'previous' and is_changed) as changed_previous, "
        "string_agg(distinct quantity, ', ') filter (where is_changed and reference = 'previous') "
        "as since_previous, "
        "string_agg(distinct quantity, ', ') filter (where is_changed and reference = 'training') "
        f"as since_training from {_COMPARED} "
        "where not is_prediction and quantity <> all(%(calendar)s)",
        bar=CHANGED,
        calendar=sorted(CALENDAR),
    )
    if not found["compared"]:
        return passed(found, NOTHING_YET)
    allowed = MOST_CHANGED * found["features_training"]
    if found["changed_previous"]:
        return warned(
            found,
            f"features changed since the month start before ({found['since_previous']}): check "
            "that the latest sales are complete and in the same currency and unit",
        )
    if found["changed_training"] > allowed:
        return warned(
            found,
            f"{found['changed_training']} of {found['features_training']} features differ from "
            "those that the models were fitted to: plan with ranges until past cut-offs include "
            "the change; the figure drift names the features",
        )
    return passed(found)


@clv_check("realised_predictions")
def what_was_predicted_came(step: Step) -> dg.AssetCheckResult:
    """The latest past predictions agree with outcomes in total, and their intervals hold them.

    These are the latest served predictions whose horizon has passed; without any, those of the
    backtest's latest cut-off.
    """
    found = step.row(
        "select origin, as_of_date::text as predicted_from, sum(customers) as customers, "
        "sum(predicted_value) as predicted_value, sum(realised_value) as realised_value, "
        "sum(realised_value) / nullif(sum(predicted_value), 0) as ratio, "
        "sum(inside_80) / sum(customers)::double precision as share_inside_80 "
        "from clv.realised_predictions where horizon_days = %(horizon)s "
        "group by origin, as_of_date order by origin = 'served' desc, as_of_date desc limit 1"
    )
    if not found:
        return passed(found, NOTHING_YET)
    if found["ratio"] is None:
        return warned(
            found,
            f"all predictions of {found['predicted_from']} are 0, so they cannot be compared: "
            "check that the amounts of sales before that date are positive",
        )
    if not LOWEST_RATIO <= found["ratio"] <= HIGHEST_RATIO:
        return warned(
            found,
            f"from {found['predicted_from']} on {found['predicted_value']:,.0f} was predicted, and "
            f"{found['realised_value']:,.0f} was spent ({found['ratio']:.2f} of it): plan with the "
            "range of the total, and check that the sales since then are complete",
        )
    if found["share_inside_80"] < LOWEST_COVERAGE:
        return warned(
            found,
            f"the 80 % intervals held {found['share_inside_80']:.0%} of the outcomes after "
            f"{found['predicted_from']}: rely on totals and ranks, not on intervals of customers",
        )
    return passed(found)
