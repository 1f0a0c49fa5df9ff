"""The checks of the backtest and of the choice: warnings, for people to judge."""

import json
from typing import Any

import dagster as dg

from retail_pipeline.clv.steps import Step, clv_check
from retail_pipeline.dagster_support.check_results import failed, passed, warned

LOWEST_COVERAGE = 0.70
HIGHEST_COVERAGE = 0.92


@clv_check("model")
def champion_beats_last_window(step: Step) -> dg.AssetCheckResult:
    """Over the decision's cut-offs, the champion predicts and ranks better than the last window."""
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


@clv_check("backtest_summary")
def intervals_cover_four_in_five(step: Step) -> dg.AssetCheckResult:
    """The 80 % intervals of the reference model held about that share of past outcomes."""
    from retail_pipeline.clv.evaluation.selection import INCUMBENT

    found = step.row(
        "select count(*) as cutoffs, avg(coverage_80) as mean_coverage, "
        "min(coverage_80) as lowest_coverage, max(coverage_80) as highest_coverage "
        "from clv.backtest_metrics where model_name = %(model)s and horizon_days = %(horizon)s "
        "and cutoff_date + horizon_days <= %(as_of)s",
        model=INCUMBENT,
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
