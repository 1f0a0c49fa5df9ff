"""Checks of the backtest and of the chosen model. They warn and stop nothing."""

import json
from typing import Any

import dagster as dg

from retail_pipeline.clv.steps import Step, clv_check
from retail_pipeline.dagster_support.check_results import failed, passed, warned

MOST_MISSED = 0.20
"""Highest share of outcomes on one side of their intervals without a warning; .10 is right."""


@clv_check("model")
def champion_beats_last_window(step: Step) -> dg.AssetCheckResult:
    """The champion predicts and ranks better than `last_window` over the decision's cut-offs."""
    decision = step.row(
        "select model_name, validated, reason, numbers from clv.model_decisions "
        "where as_of_date = %(as_of)s and horizon_days = %(horizon)s "
        "order by decided_at desc limit 1"
    )
    if not decision:
        missing = f"no decision was made as of {step.as_of} for {step.horizon_days} days"
        return failed({}, missing)
    numbers = json.loads(decision.pop("numbers"))
    board = {row["model_name"]: row for row in numbers["leaderboard"]}
    champion, rival = board.get(decision["model_name"]), board.get("last_window")
    found: dict[str, Any] = decision | {"cutoffs": len(numbers["cutoffs"])}
    if champion is None or rival is None or not decision["validated"]:
        return warned(
            found,
            f"{decision['reason']}: use the order of customers, and take amounts as estimates",
        )
    for name in ("tweedie_deviance", "normalized_gini"):
        found |= {f"champion_{name}": champion[name], f"last_window_{name}": rival[name]}
    if champion is rival:
        return passed(found)
    ranks = [champion["normalized_gini"], rival["normalized_gini"]]
    if champion["tweedie_deviance"] < rival["tweedie_deviance"] and None in ranks:
        return warned(found, "all outcomes were equal: no ranking of customers can be measured")
    if champion["tweedie_deviance"] >= rival["tweedie_deviance"] or ranks[0] < ranks[1]:
        return warned(
            found,
            "the champion is no better than repeating each customer's latest net revenue: compare "
            "the models with `retail-pipeline evaluate --model all` before using the amounts",
        )
    return passed(found)


@clv_check("backtest_summary")
def intervals_cover_four_in_five(step: Step) -> dg.AssetCheckResult:
    """At most 20 % of past outcomes lie below the incumbent's 80 % intervals, or above them."""
    from retail_pipeline.clv.evaluation.selection import INCUMBENT

    found = step.row(
        "select count(*) as cutoffs, avg(coverage_80) as mean_coverage, "
        "avg(below_80) as mean_below, avg(above_80) as mean_above "
        "from clv.backtest_metrics where model_name = %(model)s and horizon_days = %(horizon)s "
        "and cutoff_date + horizon_days <= %(as_of)s",
        model=INCUMBENT,
    )
    if not found["cutoffs"]:
        return warned(
            found,
            f"no past cut-off has tested the intervals of {INCUMBENT}: take them as estimates, or "
            "choose a shorter horizon",
        )
    for side in ("below", "above"):
        if found[f"mean_{side}"] > MOST_MISSED:
            share = f"{found[f'mean_{side}']:.0%}"
            return warned(
                found,
                f"{share} of past outcomes were {side} their 80 % interval, where 10 % is right: "
                "rely on totals with their ranges, not on intervals of customers",
            )
    return passed(found)
