"""The checks of what is served.

A broken contract (a customer missing, an impossible value) is an error and stops what is
downstream; a doubtful level is a warning. Without rows to check, no check passes.
"""

import dagster as dg

from retail_pipeline.dagster_support.check_results import failed, one_row, passed, warned
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.postgres import Database

LOWEST_TOTAL = 0.5
HIGHEST_TOTAL = 2.0


@dg.asset_check(asset=["clv", "predictions"], blocking=True)
def everyone_is_scored(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """Each customer with a purchase before the date has a prediction, and nobody else."""
    as_of, horizon_days = run_window.landed(database)
    found = one_row(
        database,
        "with wanted as (select customer_id from warehouse.customer_features "
        "where as_of_date = %(as_of)s), scored as (select customer_id from clv.predictions "
        "where as_of_date = %(as_of)s and horizon_days = %(horizon)s) "
        "select (select count(*) from wanted) as customers, "
        "(select count(*) from scored) as predictions, "
        "(select count(*) from (table wanted except table scored) as m) as missing, "
        "(select count(*) from (table scored except table wanted) as e) as unexpected",
        {"as_of": as_of, "horizon": horizon_days},
    )
    if not found["customers"] or found["missing"] or found["unexpected"]:
        return failed(found, "the predictions are not those of the population")
    return passed(found)


@dg.asset_check(asset=["clv", "predictions"], blocking=True)
def predictions_are_possible(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """No value is negative, none discounted upwards; no interval or probability is wrong."""
    as_of, horizon_days = run_window.landed(database)
    found = one_row(
        database,
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
        "or predicted_margin in ('NaN', 'Infinity', '-Infinity')) as impossible_worth "
        "from clv.predictions where as_of_date = %(as_of)s and horizon_days = %(horizon)s",
        {"as_of": as_of, "horizon": horizon_days},
    )
    wrong = sum(count for name, count in found.items() if name != "predictions")
    if not found["predictions"] or wrong:
        return failed(found, "some predictions are impossible, or there are none")
    return passed(found)


@dg.asset_check(asset=["clv", "predictions"], blocking=True)
def the_champion_served(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """All predictions are of one version: the latest decision's, the champion, tested by name."""
    as_of, horizon_days = run_window.landed(database)
    found = one_row(
        database,
        "with decision as (select model_version, model_name from clv.model_decisions "
        "where as_of_date <= %(as_of)s and horizon_days = %(horizon)s "
        "order by as_of_date desc, decided_at desc limit 1) "
        "select (select model_version from decision) as model_version, "
        "(select status from clv.model_versions join decision using (model_version)) as status, "
        "(select count(*) from clv.backtest_metrics where horizon_days = %(horizon)s "
        "and model_name = (select model_name from decision)) as cutoffs_tested, "
        "count(*) filter (where model_version is distinct from "
        "(select model_version from decision)) as served_by_others "
        "from clv.predictions where as_of_date = %(as_of)s and horizon_days = %(horizon)s",
        {"as_of": as_of, "horizon": horizon_days},
    )
    if found["model_version"] is None or found["served_by_others"]:
        return failed(found, "predictions are not those of the model that was decided on")
    return passed(found)


@dg.asset_check(asset=["clv", "predictions"])
def total_is_near_the_recent_past(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """The predicted total is between half and twice the net amount of the window before."""
    as_of, horizon_days = run_window.landed(database)
    found = one_row(
        database,
        "with entries as (select date_day, net_amount from warehouse.customer_day_entries "
        "where date_day < %(as_of)s and known_date < %(as_of)s) select "
        "(select sum(predicted_value) from clv.predictions where as_of_date = %(as_of)s "
        "and horizon_days = %(horizon)s) as predicted_total, "
        "(select sum(net_amount) from entries where date_day >= %(as_of)s - %(horizon)s) "
        "as recent_total, "
        "(select least(%(horizon)s, %(as_of)s - min(date_day)) from entries) as recent_days",
        {"as_of": as_of, "horizon": horizon_days},
    )
    predicted, recent = found["predicted_total"], found["recent_total"]
    if predicted is None or recent is None or recent <= 0:
        return warned(found, "there is no recent net amount to compare with")
    found["ratio"] = predicted / (recent * horizon_days / found["recent_days"])
    if not LOWEST_TOTAL <= found["ratio"] <= HIGHEST_TOTAL:
        return warned(
            found,
            f"predicted total / recent total is {found['ratio']:.2f}, "
            f"outside {LOWEST_TOTAL}-{HIGHEST_TOTAL}",
        )
    return passed(found)


@dg.asset_check(asset=["clv", "segments"])
def segments_bring_what_they_say(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """After the past cut-offs a customer of high value brought more than one of medium or low."""
    as_of, horizon_days = run_window.landed(database)
    found = one_row(
        database,
        "select sum(predicted_value) as predicted_value, "
        + ", ".join(
            f"sum(predicted_value) filter (where segment like '{tier} %%') / "
            f"nullif(sum(predicted_value), 0) as {tier}_share_predicted, "
            f"sum(past_share_of_value) filter (where segment like '{tier} %%') "
            f"as {tier}_share_past, "
            "sum(past_mean_value * past_customers) "
            f"filter (where segment like '{tier} %%') / nullif(sum(past_customers) "
            f"filter (where segment like '{tier} %%'), 0) as {tier}_past_mean"
            for tier in ("high", "medium", "low")
        )
        + " from clv.segments where as_of_date = %(as_of)s and horizon_days = %(horizon)s",
        {"as_of": as_of, "horizon": horizon_days},
    )
    if found["predicted_value"] is None:
        return failed({}, f"there are no segments as of {as_of} for {horizon_days} days")
    means = [found[f"{tier}_past_mean"] for tier in ("high", "medium", "low")]
    if means[0] is None:
        return warned(found, "no past cut-off tells what the segments were worth")
    known = [mean for mean in means if mean is not None]
    if known != sorted(known, reverse=True):
        return warned(found, "a tier of higher predicted value brought less per customer")
    return passed(found)


@dg.asset_check(asset=["clv", "segment_changes"])
def labels_follow_the_mart(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """The RFM labels that changes are counted by are those of the mart, in number."""
    as_of, horizon_days = run_window.landed(database)
    found = one_row(
        database,
        "with counted as (select label_after as label, sum(customers) as customers "
        "from clv.segment_changes where as_of_date = %(as_of)s and horizon_days = %(horizon)s "
        "and scheme = 'rfm' group by 1), mart as (select rfm_segment as label, "
        "count(*) as customers from warehouse.customer_rfm where customer_id in (select "
        "customer_id from warehouse.customer_features where as_of_date = (select max(since_date) "
        "from clv.segment_changes where as_of_date = %(as_of)s and horizon_days = %(horizon)s)) "
        "group by 1) select count(*) as labels, "
        "count(*) filter (where counted.customers is distinct from mart.customers) as differing "
        "from counted full join mart using (label)",
        {"as_of": as_of, "horizon": horizon_days},
    )
    if found["differing"] or not found["labels"]:
        return failed(found, "the counted RFM labels are not those of customer_rfm")
    return passed(found)
