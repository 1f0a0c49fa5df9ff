"""Asset checks of customer value: numbers beside the tables, every time.

A broken contract (somebody missing, an impossible value) is an error and stops what is downstream;
doubtful quality and thin data are warnings. No check passes because it had nothing to look at.
"""

import json
from collections.abc import Sequence
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetKey,
    ResourceParam,
    asset_check,
)

from retail_pipeline.clv.asset_parts import window
from retail_pipeline.clv.check_parts import (
    failed,
    one_row,
    passed,
    warned,
)
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings

_TRAINING_SET = AssetKey(["clv", "training_set"])
_BACKTEST = AssetKey(["clv", "backtest_summary"])
_MODEL = AssetKey(["clv", "model"])
_PREDICTIONS = AssetKey(["clv", "predictions"])
_SEGMENTS = AssetKey(["clv", "segments"])
_SEGMENT_CHANGES = AssetKey(["clv", "segment_changes"])

LOWEST_TOTAL = 0.5
HIGHEST_TOTAL = 2.0
LOWEST_COVERAGE = 0.70
HIGHEST_COVERAGE = 0.92


def build_checks() -> Sequence[AssetChecksDefinition]:
    """Return the checks of this room."""
    return [
        outcomes_are_complete,
        everyone_is_scored,
        predictions_are_possible,
        total_is_near_the_recent_past,
        champion_beats_last_window,
        intervals_cover_four_in_five,
        the_champion_served,
        segments_bring_what_they_say,
        labels_follow_the_mart,
    ]


@asset_check(asset=_TRAINING_SET, blocking=True)
def outcomes_are_complete(
    database: ResourceParam[Database], settings: ResourceParam[Settings], run_window: RunWindow
) -> AssetCheckResult:
    """No training row's outcome reaches beyond the run's date; none is missing or negative."""
    as_of, horizon_days = window(database, settings, run_window)
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


@asset_check(asset=_PREDICTIONS, blocking=True)
def everyone_is_scored(
    database: ResourceParam[Database], settings: ResourceParam[Settings], run_window: RunWindow
) -> AssetCheckResult:
    """Each customer with a purchase before the date has a prediction, and nobody else."""
    as_of, horizon_days = window(database, settings, run_window)
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


@asset_check(asset=_PREDICTIONS, blocking=True)
def predictions_are_possible(
    database: ResourceParam[Database], settings: ResourceParam[Settings], run_window: RunWindow
) -> AssetCheckResult:
    """No value is negative, none discounted upwards; no interval or probability is wrong."""
    as_of, horizon_days = window(database, settings, run_window)
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


@asset_check(asset=_PREDICTIONS, blocking=True)
def the_champion_served(
    database: ResourceParam[Database], settings: ResourceParam[Settings], run_window: RunWindow
) -> AssetCheckResult:
    """All predictions are of one version: the latest decision's, the champion, tested by name."""
    as_of, horizon_days = window(database, settings, run_window)
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


@asset_check(asset=_PREDICTIONS)
def total_is_near_the_recent_past(
    database: ResourceParam[Database], settings: ResourceParam[Settings], run_window: RunWindow
) -> AssetCheckResult:
    """The predicted total is between half and twice the net amount of the window before."""
    as_of, horizon_days = window(database, settings, run_window)
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


@asset_check(asset=_MODEL)
def champion_beats_last_window(
    database: ResourceParam[Database], settings: ResourceParam[Settings], run_window: RunWindow
) -> AssetCheckResult:
    """Over the decision's cut-offs, the champion predicts and ranks better than the last window."""
    as_of, horizon_days = window(database, settings, run_window)
    decision = one_row(
        database,
        "select model_name, validated, reason, numbers from clv.model_decisions "
        "where as_of_date = %(as_of)s and horizon_days = %(horizon)s "
        "order by decided_at desc limit 1",
        {"as_of": as_of, "horizon": horizon_days},
    )
    if not decision:
        return failed({}, f"no decision was made as of {as_of} for {horizon_days} days")
    numbers = json.loads(decision.pop("numbers"))
    board = {row["model_name"]: row for row in numbers["leaderboard"]}
    champion, rival = board.get(decision["model_name"]), board.get("last_window")
    found: dict[str, Any] = decision | {"cutoffs": len(numbers["cutoffs"])}
    if champion is None or rival is None or not decision["validated"]:
        return warned(found, str(decision["reason"]))
    for name in ("tweedie_deviance", "normalized_gini"):
        found |= {f"champion_{name}": champion[name], f"last_window_{name}": rival[name]}
    if champion is rival:
        return passed(found)
    ranks = [champion["normalized_gini"], rival["normalized_gini"]]
    if champion["tweedie_deviance"] < rival["tweedie_deviance"] and None in ranks:
        return warned(found, "all outcomes were equal: the champion has nothing to rank")
    if champion["tweedie_deviance"] >= rival["tweedie_deviance"] or ranks[0] < ranks[1]:
        return warned(found, "the champion is no better than repeating the last window")
    return passed(found)


@asset_check(asset=_BACKTEST)
def intervals_cover_four_in_five(
    database: ResourceParam[Database], settings: ResourceParam[Settings], run_window: RunWindow
) -> AssetCheckResult:
    """The 80 % intervals of the reference model held about that share of past outcomes."""
    from retail_pipeline.clv.evaluation.selection import INCUMBENT

    as_of, horizon_days = window(database, settings, run_window)
    found = one_row(
        database,
        "select count(*) as cutoffs, avg(coverage_80) as mean_coverage, "
        "min(coverage_80) as lowest_coverage, max(coverage_80) as highest_coverage "
        "from clv.backtest_metrics where model_name = %(model)s and horizon_days = %(horizon)s "
        "and cutoff_date + horizon_days <= %(as_of)s",
        {"model": INCUMBENT, "as_of": as_of, "horizon": horizon_days},
    )
    if not found["cutoffs"]:
        return warned(found, f"{INCUMBENT} was not tested at any past cut-off")
    if not LOWEST_COVERAGE <= found["mean_coverage"] <= HIGHEST_COVERAGE:
        return warned(
            found,
            f"mean coverage {found['mean_coverage']:.2f} is outside "
            f"{LOWEST_COVERAGE}-{HIGHEST_COVERAGE}",
        )
    return passed(found)


@asset_check(asset=_SEGMENTS)
def segments_bring_what_they_say(
    database: ResourceParam[Database], settings: ResourceParam[Settings], run_window: RunWindow
) -> AssetCheckResult:
    """After the past cut-offs a customer of high value brought more than one of medium or low."""
    as_of, horizon_days = window(database, settings, run_window)
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


@asset_check(asset=_SEGMENT_CHANGES)
def labels_follow_the_mart(
    database: ResourceParam[Database], settings: ResourceParam[Settings], run_window: RunWindow
) -> AssetCheckResult:
    """The RFM labels that changes are counted by are those of the mart, in number."""
    as_of, horizon_days = window(database, settings, run_window)
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
        return failed(found, "the rule in clv.segments is no longer that of customer_rfm")
    return passed(found)
