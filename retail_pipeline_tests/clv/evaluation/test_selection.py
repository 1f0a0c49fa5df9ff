"""The selection rule, case by case."""

import json
from datetime import date

import pandas as pd
import pytest

from retail_pipeline.clv.evaluation.metrics import METRICS
from retail_pipeline.clv.evaluation.selection import choose

FITTED = ["mean", "last_window", "linear_regression", "pareto_nbd_gamma_gamma"]
PARETO = "pareto_nbd_gamma_gamma"
CUTOFFS = ("2021-01-01", "2021-02-01", "2021-03-01")
AS_OF = date(2021, 9, 1)


def rows(model: str, cutoffs: tuple[str, ...] = CUTOFFS, **values: float) -> list[dict]:
    plain = dict.fromkeys(METRICS, 1.0)
    plain |= {"tweedie_deviance": 50, "normalized_gini": 0.8, "coverage_80": 0.8}
    return [
        {"model_name": model, "cutoff_date": pd.Timestamp(day), "customers": 500, **plain} | values
        for day in cutoffs
    ]


def decide(*models: list[dict], as_of: date = AS_OF, fitted: list[str] = FITTED):
    return choose(pd.DataFrame([row for model in models for row in model]), fitted, as_of)


def test_the_lowest_deviance_wins_by_a_margin() -> None:
    decision = decide(rows(PARETO), rows("linear_regression", tweedie_deviance=49, mae=0.9))
    assert (decision.model_name, decision.validated) == ("linear_regression", True)
    assert "49" in decision.reason
    decision = decide(rows(PARETO), rows("linear_regression", tweedie_deviance=49.5, mae=0.5))
    assert (decision.model_name, decision.validated) == (PARETO, True)
    assert "1.0%; it takes 1.5%" in decision.reason


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"bias": 0.74}, "bias 0.74"),
        ({"bias": 1.34}, "bias 1.34"),
        ({"bias": float("nan")}, "mean bias is undefined"),
        ({"normalized_gini": 0.794}, "0.794"),
        ({"decile_calibration": 1.06}, "1.060"),
        ({"coverage_80": 0.6}, "0.60"),
        ({"coverage_80": float("nan")}, "the coverage of the intervals is undefined"),
        ({"decile_calibration": float("nan")}, "decile calibration is undefined"),
        ({"mae": 1.01}, "1.01"),
    ],
)
def test_what_fails_a_gate_is_refused_and_named(bad: dict[str, float], said: str) -> None:
    decision = decide(rows(PARETO), rows("linear_regression", **({"tweedie_deviance": 40} | bad)))
    assert decision.model_name == PARETO
    assert "linear_regression" in decision.reason and said in decision.reason
    assert "nan" not in decision.reason


def test_the_gini_tolerance_is_inclusive() -> None:
    better = rows("linear_regression", tweedie_deviance=40, normalized_gini=0.7951)
    assert decide(rows(PARETO), better).model_name == "linear_regression"


def test_where_all_outcomes_are_equal_the_ranking_is_undefined_in_words() -> None:
    """A subscription: all customers spend the same, so no ranking can be measured."""
    alike = {"normalized_gini": float("nan")}
    decision = decide(rows(PARETO, **alike), rows("linear_regression", **alike, tweedie_deviance=1))
    assert (decision.model_name, decision.validated) == (PARETO, True)
    assert "normalized Gini undefined, incumbent" in decision.reason
    assert "linear_regression: normalized Gini is undefined" in decision.reason
    assert "nan" not in decision.reason


def test_nothing_is_lower_than_a_deviance_of_nothing() -> None:
    both = [rows(name, tweedie_deviance=0.0) for name in (PARETO, "linear_regression")]
    objections = decide(*both).leaderboard.set_index("model_name")["objection"]
    assert objections["linear_regression"] == "its deviance is lower by 0.0%; it takes 1.5%"


def test_only_common_cutoffs_count() -> None:
    early = rows(PARETO, ("2020-12-01",), tweedie_deviance=10)
    decision = decide(early, rows(PARETO), rows("linear_regression", tweedie_deviance=45))
    assert (decision.model_name, decision.cutoffs) == ("linear_regression", CUTOFFS)


def test_a_newcomer_is_refused_and_does_not_narrow_the_comparison() -> None:
    decision = decide(
        rows(PARETO),
        rows("linear_regression", CUTOFFS[:2], tweedie_deviance=1),
        rows("last_window", tweedie_deviance=45),
    )
    assert (decision.model_name, decision.cutoffs) == ("last_window", CUTOFFS)
    assert "tested at 2 cut-offs; it takes 3" in decision.reason


HARD, EASY = ("2020-10-01", "2020-11-01", "2020-12-01"), CUTOFFS


def test_without_three_shared_cutoffs_each_is_compared_with_the_incumbent_at_its_own() -> None:
    incumbent = rows(PARETO, HARD, tweedie_deviance=80) + rows(PARETO, EASY, tweedie_deviance=20)
    at_easy = rows("last_window", EASY, tweedie_deviance=19.9)
    at_hard = rows("linear_regression", HARD, tweedie_deviance=70)
    decision = decide(incumbent, at_hard, at_easy)
    assert decision.cutoffs == HARD + EASY
    objections = decision.leaderboard.set_index("model_name")["objection"]
    assert objections["last_window"] == "its deviance is lower by 0.5%; it takes 1.5%"
    # Over all six, the incumbent's mean is lower: its other three were the easier ones.
    assert (decision.model_name, decision.validated) == ("linear_regression", True)
    assert "those of 6 past cut-offs that each shares with the incumbent" in decision.reason


@pytest.mark.parametrize("bad", [{"normalized_gini": 0.75}, {"mae": 1.1}])
def test_gates_are_those_of_the_incumbent_at_the_same_cutoffs(bad: dict[str, float]) -> None:
    """Over all six cut-offs the incumbent has a lower Gini and a higher error."""
    incumbent = rows(PARETO, HARD, normalized_gini=0.6, mae=1.5) + rows(PARETO, EASY)
    others = rows("last_window", HARD, tweedie_deviance=60)
    decision = decide(
        incumbent, others, rows("linear_regression", EASY, tweedie_deviance=40, **bad)
    )
    assert decision.model_name == PARETO


def test_the_season_ahead_has_a_veto() -> None:
    challenger = rows("linear_regression", CUTOFFS[1:], tweedie_deviance=40)
    challenger += rows("linear_regression", CUTOFFS[:1], tweedie_deviance=50)
    decision = decide(rows(PARETO), challenger, as_of=date(2022, 1, 10))
    assert decision.model_name == PARETO and "a year ago" in decision.reason
    for another_season in (date(2022, 2, 1), date(2021, 11, 1)):
        decision = decide(rows(PARETO), challenger, as_of=another_season)
        assert decision.model_name == "linear_regression"


def test_a_third_model_that_abstained_a_year_ago_does_not_take_the_veto_away() -> None:
    days = (*CUTOFFS, "2021-04-01")
    challenger = rows("linear_regression", days[1:], tweedie_deviance=40)
    challenger += rows("linear_regression", days[:1], tweedie_deviance=50)
    third = rows("last_window", days[1:], tweedie_deviance=60)
    decision = decide(rows(PARETO, days), challenger, third, as_of=date(2022, 1, 10))
    assert decision.cutoffs == days[1:]
    assert decision.model_name == PARETO and "a year ago" in decision.reason


def test_a_year_ago_is_compared_at_cutoffs_that_both_were_tested_at() -> None:
    """The date of a year ago lies half a month from the nearest month starts."""
    challenger = rows("linear_regression", CUTOFFS[:2], tweedie_deviance=40)
    challenger += rows("linear_regression", ("2021-04-01", "2021-05-01"), tweedie_deviance=40)
    incumbent = rows(PARETO, (*CUTOFFS[:2], "2021-04-01", "2021-05-01"))
    early = rows(PARETO, ("2021-03-01",), tweedie_deviance=1)
    decision = decide(incumbent, early, challenger, as_of=date(2022, 3, 16))
    assert decision.model_name == "linear_regression"


def test_without_past_outcomes_the_default_serves_unvalidated_and_mean_is_the_last_resort() -> None:
    nothing = pd.DataFrame(columns=["model_name", "cutoff_date", "customers", *METRICS])
    decision = choose(nothing, FITTED, AS_OF)
    assert (decision.model_name, decision.validated) == (PARETO, False)
    assert choose(nothing, ["mean", "last_window"], AS_OF).model_name == "mean"


def test_a_test_on_few_customers_validates_nothing() -> None:
    decision = decide(rows(PARETO, customers=30), rows("mean", customers=30, tweedie_deviance=1.0))
    assert (decision.model_name, decision.validated) == (PARETO, False)
    assert "100 customers" in decision.reason


def test_where_nobody_meets_the_rule_the_incumbent_stays_unvalidated() -> None:
    decision = decide(rows(PARETO, bias=3.0), rows("last_window", bias=2.0))
    assert (decision.model_name, decision.validated) == (PARETO, False)
    assert "3.00" in decision.reason


def test_a_model_that_is_not_fitted_today_is_not_chosen() -> None:
    better = rows("linear_regression", tweedie_deviance=1)
    assert decide(rows(PARETO), better, fitted=["mean", PARETO]).model_name == PARETO


def test_the_numbers_are_plain_json() -> None:
    decision = decide(rows(PARETO, spearman=float("nan")))
    assert json.loads(json.dumps(decision.numbers(), allow_nan=False))["leaderboard"]


def test_a_season_serves_where_its_totals_were_nearer() -> None:
    seasonal = "seasonal_pareto_nbd"
    by_cutoff = dict(zip(("2021-01-01", "2021-02-01", "2021-03-01"), (1.3, 0.9, 0.8), strict=True))

    def tested(model: str, power: float, **values: float) -> list[dict]:
        found = [rows(model, (day,), bias=b**power, **values) for day, b in by_cutoff.items()]
        return [row for one in found for row in one]

    def served(*models: list[dict]) -> str:
        return decide(*models, fitted=[*FITTED, seasonal]).model_name

    plain = tested(PARETO, 1)
    decision = decide(plain, tested(seasonal, 0.3), fitted=[*FITTED, seasonal])
    assert decision.model_name == seasonal
    assert "at 3 past cut-offs its totals were off by 6%, those without the season by 22%" in (
        decision.reason
    )
    board = decision.leaderboard.set_index("model_name")
    assert board.loc[seasonal, "eligible"] and board.loc[seasonal, "objection"] == ""
    assert served(plain, tested(seasonal, 1.5)) == PARETO
    assert served(plain, tested(seasonal, 0.3)[:2]) == PARETO
    assert served(plain, tested(seasonal, 0.3, tweedie_deviance=50.1)) == PARETO
