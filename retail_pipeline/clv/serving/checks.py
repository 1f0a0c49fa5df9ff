"""Checks of the served predictions.

Missing customers and impossible values are errors and stop the downstream assets. A doubtful total
is a warning. A check without rows does not pass.
"""

import dagster as dg

from retail_pipeline.clv.steps import Step, clv_check
from retail_pipeline.dagster_support.check_results import failed, passed, warned

LOWEST_TOTAL = 0.5
HIGHEST_TOTAL = 2.0
LARGEST_ERROR_A_YEAR_AGO = 1.2
"""Predicted over actual total a year before, or its inverse; above it the check warns."""

MOST_SILENT = 0.9
TIERS = ("high", "medium", "low")


@clv_check("predictions", blocking=True)
def everyone_is_scored(step: Step) -> dg.AssetCheckResult:
    """The customers with a prediction are exactly those with a purchase before the date."""
    found = step.row(
        "with wanted as (select customer_id from warehouse.customer_features "
        "where as_of_date = %(as_of)s), scored as (select customer_id from clv.predictions "
        "where as_of_date = %(as_of)s and horizon_days = %(horizon)s) "
        "select (select count(*) from wanted) as customers, "
        "(select count(*) from scored) as predictions, "
        "(select count(*) from (table wanted except table scored) as m) as missing, "
        "(select count(*) from (table scored except table wanted) as e) as unexpected"
    )
    if not found["customers"] or found["missing"] or found["unexpected"]:
        return failed(found, "the predictions and the population are not the same customers")
    return passed(found)


@clv_check("predictions", blocking=True)
def predictions_are_possible(step: Step) -> dg.AssetCheckResult:
    """Values, intervals, probabilities, orders and deciles are possible numbers."""
    found = step.row(
        "select count(*) as predictions, "
        "count(*) filter (where predicted_value in ('NaN', 'Infinity') or predicted_value < 0) "
        "as impossible_values, "
        "count(*) filter (where not (lower_80 >= 0 and upper_80 >= lower_80 "
        "and upper_80 < 'Infinity')) as impossible_intervals, "
        "count(*) filter (where not (probability_active between 0 and 1)) "
        "as impossible_probabilities, "
        "count(*) filter (where not (expected_orders >= 0 and expected_orders < 'Infinity')) "
        "as impossible_orders, "
        "count(*) filter (where clv_decile not between 1 and 10) as impossible_deciles, "
        "count(*) filter (where not (discounted_value between 0 and predicted_value) "
        "or predicted_margin in ('NaN', 'Infinity', '-Infinity')) as impossible_amounts "
        "from clv.predictions where as_of_date = %(as_of)s and horizon_days = %(horizon)s"
    )
    wrong = sum(count for name, count in found.items() if name != "predictions")
    if not found["predictions"] or wrong:
        return failed(found, "some predictions are impossible, or there are none")
    return passed(found)


@clv_check("predictions", blocking=True)
def the_champion_served(step: Step) -> dg.AssetCheckResult:
    """All predictions are those of the version in the latest decision."""
    found = step.row(
        "with decision as (select model_version, model_name from clv.model_decisions "
        "where as_of_date <= %(as_of)s and horizon_days = %(horizon)s "
        "order by as_of_date desc, decided_at desc limit 1) "
        "select (select model_version from decision) as model_version, "
        "(select status from clv.model_versions join decision using (model_version)) as status, "
        "(select count(*) from clv.backtest_metrics where horizon_days = %(horizon)s "
        "and model_name = (select model_name from decision)) as cutoffs_tested, "
        "count(*) filter (where model_version is distinct from "
        "(select model_version from decision)) as served_by_others "
        "from clv.predictions where as_of_date = %(as_of)s and horizon_days = %(horizon)s"
    )
    if found["model_version"] is None or found["served_by_others"]:
        return failed(found, "some predictions are not of the version in the latest decision")
    return passed(found)


@clv_check("predictions")
def total_is_near_the_recent_past(step: Step) -> dg.AssetCheckResult:
    """The predicted total is between half and twice the net amount of as many days before."""
    found = step.row(
        "with entries as (select date_day, net_amount from warehouse.customer_day_entries "
        "where date_day < %(as_of)s and known_date < %(as_of)s) select "
        "(select sum(predicted_value) from clv.predictions where as_of_date = %(as_of)s "
        "and horizon_days = %(horizon)s) as predicted_total, "
        "(select sum(net_amount) from entries where date_day >= %(as_of)s - %(horizon)s) "
        "as recent_total, "
        "(select least(%(horizon)s, %(as_of)s - min(date_day)) from entries) as recent_days"
    )
    predicted, recent = found["predicted_total"], found["recent_total"]
    if predicted is None or recent is None or recent <= 0:
        return warned(
            found,
            f"the last {step.horizon_days} days have no net amount: check that the latest sales "
            "are complete",
        )
    found["ratio"] = predicted / (recent * step.horizon_days / found["recent_days"])
    if not LOWEST_TOTAL <= found["ratio"] <= HIGHEST_TOTAL:
        return warned(
            found,
            f"the predicted total is {found['ratio']:.2f} times the net amount of as many days "
            f"before ({LOWEST_TOTAL} to {HIGHEST_TOTAL} is usual): check that the latest sales are "
            "complete and counted once",
        )
    return passed(found)


@clv_check("predictions")
def intervals_say_something(step: Step) -> dg.AssetCheckResult:
    """At most 90 % of intervals reach from 0 to more than twice the prediction."""
    found = step.row(
        "select count(*) as predictions, avg((lower_80 = 0 and upper_80 > 2 * predicted_value)"
        "::integer) as silent_share, avg((lower_80 > 0)::integer) as share_above_zero "
        "from clv.predictions where as_of_date = %(as_of)s and horizon_days = %(horizon)s"
    )
    if not found["predictions"]:
        return failed(found, "there are no predictions")
    if found["silent_share"] > MOST_SILENT:
        return warned(
            found,
            f"{found['silent_share']:.0%} of intervals reach from 0 to more than twice the "
            "prediction: rely on totals and ranks, not on single customers",
        )
    return passed(found)


@clv_check("totals")
def last_year_was_predicted_well(step: Step) -> dg.AssetCheckResult:
    """The model's total at the cut-off a year before was within a fifth of the actual total.

    If a seasonal model serves that was not tested then, the row shows the test of the model without
    season. The season corrects its error, so the check passes.
    """
    found = step.row(
        "select predicted_value, lower_80, upper_80, predicted_year_ago, actual_year_ago, "
        "actual_before, model_year_ago, starts_with(model_version, model_year_ago) as is_its_own "
        "from clv.totals where as_of_date = %(as_of)s and horizon_days = %(horizon)s "
        "and grouping = 'all'"
    )
    if not found:
        return failed(found, "there are no totals")
    if found["actual_year_ago"] is None:
        return warned(
            found,
            "no cut-off a year before was tested, so the season of the total is unknown; "
            "plan with its interval",
        )
    ratio = found["predicted_year_ago"] / found["actual_year_ago"]
    found["ratio_year_ago"] = ratio
    if found["is_its_own"] and max(ratio, 1 / ratio) > LARGEST_ERROR_A_YEAR_AGO:
        return warned(
            found,
            f"a year before, the model predicted {found['predicted_year_ago']:,.0f}, "
            f"and the actual total was {found['actual_year_ago']:,.0f}: plan with the interval "
            f"({found['lower_80']:,.0f} to {found['upper_80']:,.0f}), not with the total",
        )
    return passed(found)


@clv_check("segments")
def segments_bring_what_they_say(step: Step) -> dg.AssetCheckResult:
    """At past cut-offs, the actual value per customer fell from the high to the low tier."""
    table = step.database.read("clv.segments", where=step.at)
    if table.empty:
        return failed({}, f"there are no segments as of {step.as_of} for {step.horizon_days} days")
    found: dict[str, float] = {}
    means = []
    for tier in TIERS:
        own = table[table["segment"].str.startswith(f"{tier} ")]
        customers, mean_value = own["past_customers"], own["past_mean_value"]
        found[f"{tier}_share_predicted"] = float(own["share_of_value"].sum())
        found[f"{tier}_share_past"] = float(own["past_share_of_value"].sum())
        if customers.sum():
            means.append(float((mean_value * customers).sum() / customers.sum()))
            found[f"{tier}_past_mean"] = means[-1]
    if "high_past_mean" not in found:
        return warned(
            found,
            "no past cut-off has actual values of the segments: their order is untested until a "
            "cut-off has a complete outcome",
        )
    if means != sorted(means, reverse=True):
        return warned(
            found,
            "at past cut-offs a tier of higher predicted value spent less per customer than a "
            "lower one: do not divide a budget by segment",
        )
    return passed(found)
