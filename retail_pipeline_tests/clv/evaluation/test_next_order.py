"""The test of the next order: losses and histogram tell a right model from wrong ones."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import next_order
from retail_pipeline.clv.models.baselines import Mean
from retail_pipeline.clv.models.bg_nbd import BGNBD
from retail_pipeline.clv.models.btyd import ParetoNBDGammaGamma, history_of
from retail_pipeline.clv.models.pareto_nbd import ParetoNBD

TRUTH = ParetoNBD(r=0.8, alpha=50, s=0.7, beta=120)
HORIZON = 90


def model_of(process: ParetoNBD) -> ParetoNBDGammaGamma:
    model = ParetoNBDGammaGamma(HORIZON)
    model.purchases_ = process
    return model


def shop(customers: int, seed: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    """Return histories and first orders in the horizon, both drawn from `TRUTH`."""
    random = np.random.default_rng(seed)
    age = random.integers(60, 700, customers).astype(float)
    rate = random.gamma(TRUTH.r, 1 / TRUTH.alpha, customers)
    life = random.exponential(1 / random.gamma(TRUTH.s, 1 / TRUTH.beta, customers))
    rows, first = [], []
    for number in range(customers):
        gaps = random.exponential(1 / rate[number], int(900 * rate[number] + 60))
        days = np.cumsum(gaps)
        days = days[days < min(life[number], age[number] + HORIZON)]
        past, future = days[days < age[number]], days[days >= age[number]] - age[number]
        last = past[-1] if len(past) else 0.0
        gap = last / len(past) if len(past) else np.nan
        rows.append((age[number], age[number] - last, len(past) + 1.0, gap))
        first.append(np.floor(future[0]) if len(future) else np.nan)
    columns = ["age_days", "recency_days", "purchase_days", "gap_mean_days"]
    return pd.DataFrame(rows, columns=columns), np.array(first)


def test_the_right_model_has_a_flat_histogram_and_beats_gaps_and_wrong_models() -> None:
    today, first = shop(4_000)
    right, slow, lasting = (
        next_order.evaluate(model_of(process), today, first)
        for process in (TRUTH, replace(TRUTH, alpha=500), replace(TRUTH, beta=4_000))
    )
    assert set(right) == set(next_order.COLUMNS)
    assert json.loads(right["next_order_pit"]) == pytest.approx([0.1] * 10, abs=0.01)
    assert json.loads(slow["next_order_pit"])[0] > 0.12
    assert json.loads(lasting["next_order_pit"])[0] < 0.05
    for share in ("50", "80"):
        own = right[f"next_order_loss_{share}"]
        assert own < right[f"own_gap_loss_{share}"] and own < right[f"usual_gap_loss_{share}"]
        assert own < slow[f"next_order_loss_{share}"]
        assert own < lasting[f"next_order_loss_{share}"]
    assert right["next_order_error_days"] < 0.9 * right["own_gap_error_days"]
    assert right["next_order_error_days"] < 0.9 * right["usual_gap_error_days"]


def test_models_without_dates_of_orders_are_not_measured() -> None:
    today, first = shop(10)
    assert next_order.evaluate(Mean(HORIZON), today, first) == {}


def test_losses_count_days_up_to_the_horizon_and_nulls_as_the_horizon() -> None:
    due, actual = np.array([10.0, np.nan, 200.0]), np.array([20.0, 20.0, np.nan])
    # Late by 10 days, early by 70, and both beyond the horizon.
    assert next_order.pinball_losses(due, actual, 0.5, 90) == pytest.approx([5, 35, 0])
    assert next_order.pinball_losses(due, actual, 0.8, 90) == pytest.approx([8, 14, 0])


@given(st.floats(0.05, 20), st.floats(1, 500), st.floats(0.02, 5), st.floats(2, 2000))
def test_the_days_until_an_order_agree_with_the_closed_form(
    r: float, alpha: float, s: float, beta: float
) -> None:
    today, _ = shop(20)
    history = history_of(today)
    for process in (ParetoNBD(r, alpha, s, beta), BGNBD(r, alpha, s, beta)):
        model = model_of(process)  # type: ignore[arg-type]
        waiting = model.waiting(today)
        for days in (1.0, 30.0, HORIZON):
            expected = process.probability_of_purchase(history, days)
            found = waiting.within(np.full(len(today), days))
            assert found == pytest.approx(expected, abs=2e-3)
        half = waiting.quantile(0.5)
        known = ~np.isnan(half)
        assert waiting.within(half)[known] == pytest.approx(0.5, abs=1e-9)
        assert (process.probability_of_purchase(history, HORIZON)[~known] < 0.5 + 1e-4).all()


def test_the_first_order_is_the_first_day_with_sales_above_returns_known_in_time() -> None:
    entries = pd.DataFrame(
        [
            ("a", "2024-02-29", "2024-02-29", 5.0),  # before the cut-off
            ("a", "2024-03-02", "2024-03-02", 5.0),
            ("a", "2024-03-02", "2024-03-05", -5.0),  # returned in full
            ("a", "2024-03-04", "2024-03-04", 1.0),
            ("b", "2024-03-31", "2024-03-31", 1.0),  # after the horizon
            ("c", "2024-03-01", "2024-03-01", 2.0),
            ("d", "2024-03-03", "2024-06-01", 2.0),  # known too late
        ],
        columns=dataset.ENTRY_COLUMNS,
    )
    found = dataset.first_orders(
        dataset.prepare_entries(entries),
        pd.Series(["d", "c", "b", "a"]),
        date(2024, 3, 1),
        30,
        date(2024, 5, 1),
    )
    assert np.array_equal(found, [np.nan, 0, np.nan, 3], equal_nan=True)
