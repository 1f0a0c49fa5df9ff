"""The interval contract, on samples and through calibration."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_pipeline.clv.evaluation import intervals
from retail_pipeline.clv.models.baselines import Mean


def interval(samples: list[float]) -> tuple[float, float]:
    lower, upper = intervals.shortest_intervals(np.sort(np.array(samples, float))[None, :])
    return float(lower[0]), float(upper[0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 5.0, 50.0]), min_size=5, max_size=80))
def test_the_contract(samples: list[float]) -> None:
    lower, upper = interval(samples)
    values = np.array(samples)
    zeros = np.mean(values == 0)
    if zeros >= 0.8:
        assert (lower, upper) == (0, 0)
    elif zeros >= 0.2:
        assert lower == 0
    assert np.mean((lower <= values) & (values <= upper)) >= 0.8


def test_the_shortest_of_all_intervals_is_taken() -> None:
    assert interval([1, *np.linspace(10, 11, 90), *np.linspace(50, 99, 9)])[1] <= 11


def test_calibrated_intervals_cover_new_outcomes_per_decile() -> None:
    random = np.random.default_rng(2)

    def outcomes(cutoff: str) -> pd.DataFrame:
        predicted = random.lognormal(3, 1, 4_000)
        buys = random.random(4_000) < predicted / (predicted + 10)
        actual = np.where(buys, predicted * random.gamma(2, 0.6, 4_000), 0.0)
        return pd.DataFrame(
            {"cutoff_date": cutoff, "predicted_value": predicted, "actual_value": actual}
        )

    calibration = intervals.calibrate(pd.concat([outcomes("2021-01-01"), outcomes("2021-02-01")]))
    assert calibration is not None
    new = outcomes("2021-08-01")
    lower, upper = calibration.apply(new["predicted_value"].to_numpy())
    inside = (lower <= new["actual_value"]) & (new["actual_value"] <= upper)
    assert inside.mean() == pytest.approx(0.8, abs=0.03)
    decile = pd.qcut(new["predicted_value"], 10, labels=False)
    assert inside.groupby(decile).mean().between(0.72, 0.9).all()


def test_few_outcomes_calibrate_nothing() -> None:
    few = pd.DataFrame({"cutoff_date": "a", "predicted_value": [1.0], "actual_value": [1.0]})
    assert intervals.calibrate(few) is None


def test_a_cutoff_at_which_nothing_was_predicted_tells_no_ratio() -> None:
    then = pd.DataFrame(
        {"cutoff_date": "2021-01-01", "predicted_value": 0.0, "actual_value": [9.0] * 200}
    )
    later = then.assign(cutoff_date="2021-02-01", predicted_value=9.0)
    assert intervals.calibrate(then) is None
    assert intervals.calibrate(pd.concat([then, later])) == intervals.calibrate(later)


def test_the_season_weighs_as_the_decision_says() -> None:
    """docs/decisions/0016."""
    months = pd.date_range("2020-01-01", periods=12, freq="MS")
    weights = [intervals._season_weight(month, date(2021, 1, 15)) for month in months]
    assert [round(weight, 1) for weight in weights[:4]] == [21.0, 8.4, 1.4, 1.0]
    assert weights[11] == weights[1] and min(weights) == weights[6] >= 1.0


def test_without_a_backtest_the_model_draws_its_own_and_always_the_same() -> None:
    model = Mean(90).restore({"value": 30.0, "orders": 1.0, "active": 0.6})
    frame = pd.DataFrame({"customer_id": list("abcdef")})
    first, again = intervals.from_model(model, frame), intervals.from_model(model, frame)
    assert (first[0] == 0).all() and (first[1] > 30).all()  # nobody buys with P = e^-1 >= .20
    assert np.array_equal(first, again)
