"""Every metric against a value worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from retail_pipeline.clv.evaluation import metrics

PREDICTED = np.array([10.0, 0.0, 30.0, 20.0])
ACTUAL = np.array([20.0, 0.0, 40.0, 0.0])


def test_the_hand_computed_values() -> None:
    frame = pd.DataFrame(
        {"predicted_value": PREDICTED, "lower_80": [0, 0, 50, 0], "upper_80": [20, 0, 60, 5]}
    )
    found = metrics.evaluate(frame, ACTUAL)
    assert found["mae"] == 10.0  # (10 + 0 + 10 + 20) / 4
    assert found["mae_over_mean"] == pytest.approx(10 / 15)
    assert found["rmse"] == pytest.approx(np.sqrt(600 / 4))
    assert found["r2"] == pytest.approx(1 - 600 / 1100)
    assert found["bias"] == 1.0
    assert found["coverage_80"] == 0.75
    assert found["top_decile_capture"] == pytest.approx(40 / 60)
    assert set(found) == set(metrics.METRICS)


def test_the_tweedie_deviance_floors_predictions_at_one_percent_of_the_mean() -> None:
    # floors: mean actual 15, so 0 counts as .15; each term is 4 (√a - √p)² / √p
    terms = [
        4 * (np.sqrt(a) - np.sqrt(p)) ** 2 / np.sqrt(p)
        for a, p in zip(ACTUAL, [10, 0.15, 30, 20], strict=True)
    ]
    assert metrics.tweedie_deviance(PREDICTED, ACTUAL) == pytest.approx(np.mean(terms))
    assert metrics.tweedie_deviance(ACTUAL[:1], ACTUAL[:1]) == 0.0


def test_the_gini_of_a_ranking() -> None:
    # by prediction: 40, 0, 20, 0 -> curve 2/3, 2/3, 1, 1; by truth: 40, 20, 0, 0
    by_prediction = 2 * ((0 + 2 / 3) / 2 + 2 / 3 + (2 / 3 + 1) / 2 + 1) / 4 - 1
    by_truth = 2 * ((0 + 2 / 3) / 2 + (2 / 3 + 1) / 2 + 1 + 1) / 4 - 1
    assert metrics.normalized_gini(PREDICTED, ACTUAL) == pytest.approx(by_prediction / by_truth)
    assert metrics.normalized_gini(ACTUAL * 3, ACTUAL) == pytest.approx(1.0)
    assert metrics.normalized_gini(np.ones(4), ACTUAL) == pytest.approx(0.0)


def test_calibration_by_decile_counts_misplaced_value() -> None:
    predicted, actual = np.arange(1.0, 21.0), np.arange(1.0, 21.0)
    assert metrics.decile_calibration(predicted, actual) == 0.0
    actual[[18, 19]] += [5, -5]  # within the best decile: nothing is misplaced
    assert metrics.decile_calibration(predicted, actual) == 0.0
    assert metrics.decile_calibration(predicted * 2, np.arange(1.0, 21.0)) == pytest.approx(1.0)


def test_undefined_metrics_are_none() -> None:
    found = metrics.evaluate(pd.DataFrame({"predicted_value": [1.0, 1.0]}), np.zeros(2))
    undefined = {"mae_over_mean", "r2", "spearman", "normalized_gini", "bias", "coverage_80"}
    assert {name for name in undefined if found[name] is None} == undefined
    assert found["mae"] == 1.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=2, max_size=60),
    st.randoms(use_true_random=False),
)
def test_the_order_of_customers_does_not_matter(pairs: list, shuffler) -> None:
    shuffled = list(pairs)
    shuffler.shuffle(shuffled)
    results = []
    for rows in (pairs, shuffled):
        predicted, actual = (np.array(column) for column in zip(*rows, strict=True))
        values = metrics.evaluate(pd.DataFrame({"predicted_value": predicted}), actual)
        values.pop("top_decile_capture")  # one tenth is cut by position where predictions tie
        results.append([np.nan if value is None else value for value in values.values()])
    assert results[0] == pytest.approx(results[1], rel=1e-6, abs=1e-6, nan_ok=True)


def test_extreme_amounts_neither_overflow_nor_vanish() -> None:
    for scale in (1e-200, 1e200):
        assert metrics.r2(PREDICTED * scale, ACTUAL * scale) == pytest.approx(1 - 600 / 1100)
        assert metrics.rmse(PREDICTED * scale, ACTUAL * scale) == pytest.approx(
            np.sqrt(600 / 4) * scale
        )
        assert np.isfinite(metrics.tweedie_deviance(PREDICTED * scale, ACTUAL * scale))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 12))
def test_groups_are_tenths_of_the_mean_rank(values: list[int], groups: int) -> None:
    given_values = np.array(values, float)
    share = rankdata(given_values) / len(values)
    expected = np.ceil(share * groups - 1e-9)
    assert metrics.groups_by_rank(given_values, groups).tolist() == expected.tolist()


def test_groups_keep_ties_together() -> None:
    assert metrics.groups_by_rank(np.arange(20.0)).tolist() == sorted([*range(1, 11)] * 2)
    assert len(set(metrics.groups_by_rank(np.zeros(50)))) == 1
    assert metrics.groups_by_rank(np.array([7.0])).tolist() == [10]
