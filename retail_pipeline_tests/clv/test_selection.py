"""The selection rule, case by case."""

import json

import pandas as pd
import pytest

from retail_pipeline.clv.metrics import METRICS
from retail_pipeline.clv.selection import choose

FITTED = ["mean", "last_window", "linear_regression", "pareto_nbd_gamma_gamma"]
PARETO = "pareto_nbd_gamma_gamma"


def row(model: str, cutoff: str = "2021-01-01", **values: float) -> dict[str, object]:
    plain = dict.fromkeys(METRICS, 1.0) | {"tweedie_deviance": 50, "normalized_gini": 0.8}
    return {
        "model_name": model,
        "cutoff_date": pd.Timestamp(cutoff),
        "customers": 500,
        **plain,
    } | values


def test_the_lowest_deviance_wins_and_mae_has_no_say() -> None:
    table = pd.DataFrame(
        [row(PARETO, mae=1.0), row("linear_regression", tweedie_deviance=49, mae=99.0)]
    )
    decision = choose(table, FITTED)
    assert (decision.model_name, decision.validated) == ("linear_regression", True)
    assert "49" in decision.reason and decision.reason.count(".") >= 1


@pytest.mark.parametrize(
    "bad", [{"bias": 0.74}, {"bias": 1.34}, {"normalized_gini": 0.794}, {"bias": float("nan")}]
)
def test_a_wrong_level_or_ranking_is_refused_and_named(bad: dict[str, float]) -> None:
    table = pd.DataFrame([row(PARETO), row("linear_regression", tweedie_deviance=40, **bad)])
    decision = choose(table, FITTED)
    assert decision.model_name == PARETO
    assert "linear_regression" in decision.reason


def test_the_gini_tolerance_is_inclusive() -> None:
    better = row("linear_regression", tweedie_deviance=40, normalized_gini=0.7951)
    assert choose(pd.DataFrame([row(PARETO), better]), FITTED).model_name == "linear_regression"


def test_only_common_cutoffs_count() -> None:
    table = pd.DataFrame(
        [
            row(PARETO, "2021-01-01", tweedie_deviance=10),
            row(PARETO, "2021-02-01", tweedie_deviance=50),
            row("linear_regression", "2021-02-01", tweedie_deviance=45),
        ]
    )
    decision = choose(table, FITTED)
    assert (decision.model_name, decision.cutoffs) == ("linear_regression", ("2021-02-01",))


def test_without_past_outcomes_the_default_serves_unvalidated_and_mean_is_the_last_resort() -> None:
    nothing = pd.DataFrame(columns=["model_name", "cutoff_date", "customers", *METRICS])
    decision = choose(nothing, FITTED)
    assert (decision.model_name, decision.validated) == (PARETO, False)
    assert choose(nothing, ["mean", "last_window"]).model_name == "mean"


def test_a_test_on_few_customers_validates_nothing() -> None:
    few = pd.DataFrame([row(PARETO, customers=30), row("mean", customers=30, tweedie_deviance=1.0)])
    decision = choose(few, FITTED)
    assert (decision.model_name, decision.validated) == (PARETO, False)
    assert "100 customers" in decision.reason


def test_where_nobody_meets_the_rule_the_incumbent_stays_unvalidated() -> None:
    table = pd.DataFrame([row(PARETO, bias=3.0), row("last_window", bias=2.0)])
    decision = choose(table, FITTED, incumbent="last_window")
    assert (decision.model_name, decision.validated) == ("last_window", False)
    assert "3.00" in decision.reason


def test_a_model_that_is_not_fitted_today_is_not_chosen() -> None:
    table = pd.DataFrame([row(PARETO), row("linear_regression", tweedie_deviance=1)])
    assert choose(table, ["mean", PARETO]).model_name == PARETO


def test_the_numbers_are_plain_json() -> None:
    table = pd.DataFrame([row(PARETO, spearman=float("nan"))])
    assert json.loads(json.dumps(choose(table, FITTED).numbers(), allow_nan=False))["leaderboard"]
