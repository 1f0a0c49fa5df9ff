"""The interval contract: percentiles of the customer's own distribution, calibrated out of time."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_pipeline.clv.evaluation import intervals

SHARES = st.floats(0.001, 0.999)


def customers(cutoff: str, seed: int, stretch: float = 1.0, size: int = 4_000) -> pd.DataFrame:
    """Return customers whose outcomes follow their predictions, multiplied by `stretch`."""
    random = np.random.default_rng(seed)
    orders = random.lognormal(-0.5, 1.2, size)
    active = -np.expm1(-orders)
    shape = 1 + orders
    mean = 20 * orders / active
    value = random.gamma(shape, stretch * mean / shape)
    return pd.DataFrame(
        {
            "cutoff_date": pd.Timestamp(cutoff),
            "predicted_value": mean * active,
            "expected_orders": orders,
            "probability_active": active,
            "value_shape": shape,
            "actual_value": np.where(random.random(size) < active, value, 0.0),
        }
    )


def missed(calibration: intervals.Calibration, of: pd.DataFrame) -> tuple[float, float]:
    lower, upper = calibration.apply(of)
    return float((of["actual_value"] < lower).mean()), float((of["actual_value"] > upper).mean())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(SHARES, st.floats(0.05, 50), st.floats(0.1, 1e6)), min_size=1))
def test_the_lower_end_is_zero_exactly_where_nothing_is_likely_enough(
    rows: list[tuple[float, float, float]],
) -> None:
    frame = pd.DataFrame(rows, columns=["probability_active", "value_shape", "predicted_value"])
    frame["expected_orders"] = -np.log1p(-frame["probability_active"])
    for calibration in (
        intervals.UNCALIBRATED,
        intervals.calibrate(customers("2021-01-01", 1, stretch=3)),
    ):
        lower, upper = calibration.apply(frame)
        nothing = 1 - frame["probability_active"].to_numpy()
        assert (lower[nothing >= 0.1] == 0).all()
        assert (lower[nothing < 0.1 - 1e-3] > 0).all()
        assert (upper[nothing >= 0.9] == 0).all()
        assert (upper >= lower).all()


@pytest.mark.parametrize("stretch", [0.5, 1.0, 2.0])
def test_one_outcome_in_ten_is_missed_on_either_side(stretch: float) -> None:
    past = [customers(f"2021-0{month}-01", month, stretch) for month in (1, 2, 3)]
    calibration = intervals.calibrate(pd.concat(past, ignore_index=True))
    new = customers("2021-08-01", 9, stretch)
    sure = new[new["probability_active"] > 0.95]
    assert missed(calibration, sure) == pytest.approx((0.1, 0.1), abs=0.04)
    assert missed(calibration, new)[1] == pytest.approx(0.1, abs=0.03)
    if stretch != 1.0:
        assert missed(intervals.UNCALIBRATED, sure) != pytest.approx((0.1, 0.1), abs=0.04)


def test_few_outcomes_calibrate_nothing() -> None:
    assert intervals.calibrate(customers("2021-01-01", 1, size=60)) is intervals.UNCALIBRATED


def test_a_cutoff_at_which_nothing_was_expected_teaches_nothing() -> None:
    then = customers("2021-01-01", 1).assign(predicted_value=0.0)
    later = customers("2021-02-01", 2)
    both = intervals.calibrate(pd.concat([then, later], ignore_index=True))
    assert intervals.calibrate(then) is intervals.UNCALIBRATED
    assert np.array_equal(both.levels, intervals.calibrate(later).levels)
    assert np.array_equal(both.factors, intervals.calibrate(later).factors)


def test_the_season_weighs_as_the_decision_says() -> None:
    """The weights are those of docs/decisions/0016."""
    weights = [intervals._season_weight(month, date(2021, 1, 15)) for month in range(1, 13)]
    assert [round(weight, 1) for weight in weights[:4]] == [21.0, 8.4, 1.4, 1.0]
    assert weights[11] == weights[1] and min(weights) == weights[6] >= 1.0
