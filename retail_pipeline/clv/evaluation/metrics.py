"""Metrics of predictions against outcomes, as pure functions of arrays.

A metric that is undefined on the data (a correlation without variation, a ratio to 0) is None. The
choice between models is in `selection`.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from retail_pipeline.clv.models.base import Array

TWEEDIE_FLOOR: Final = 0.01
"""Predictions below this share of the mean outcome count as this share: a zero prediction for a
customer who buys would make the deviance infinite."""

_NO_GINI: Final = 1e-12
"""Gini of equal outcomes up to rounding: below it, no ranking can be measured."""

METRICS: Final = (
    "mae",
    "mae_over_mean",
    "rmse",
    "r2",
    "spearman",
    "normalized_gini",
    "tweedie_deviance",
    "bias",
    "decile_calibration",
    "top_decile_capture",
    "coverage_80",
    "below_80",
    "above_80",
    "brier_score",
    "reliability_gap",
)


def evaluate(
    predictions: pd.DataFrame, actual: Array, orders: Array | None = None
) -> dict[str, float | None]:
    """Return all metrics (`METRICS`) by name; None for an undefined one.

    Args:
        predictions: `predicted_value`, and `lower_80`, `upper_80`, `probability_active` (may be
            absent), one row per customer.
        actual: The outcomes, at least 0, in the same order.
        orders: Purchase days in the horizon; without them the last two metrics are None.
    """
    predicted = predictions["predicted_value"].to_numpy(float)
    functions: dict[str, Callable[[Array, Array], float]] = {
        "mae": mae,
        "mae_over_mean": lambda p, a: mae(p, a) / a.mean(),
        "rmse": rmse,
        "r2": r2,
        "spearman": spearman,
        "normalized_gini": normalized_gini,
        "tweedie_deviance": tweedie_deviance,
        "bias": lambda p, a: float(p.sum() / a.sum()),
        "decile_calibration": decile_calibration,
        "top_decile_capture": top_decile_capture,
    }
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = {name: function(predicted, actual) for name, function in functions.items()}
    if {"lower_80", "upper_80"} <= set(predictions.columns):
        lower, upper = (predictions[name].to_numpy(float) for name in ("lower_80", "upper_80"))
        values["coverage_80"] = coverage(lower, upper, actual)
        values["below_80"] = float(np.mean(actual < lower))
        values["above_80"] = float(np.mean(actual > upper))
    if orders is not None and "probability_active" in predictions:
        active, bought = predictions["probability_active"].to_numpy(float), np.sign(orders)
        values["brier_score"] = brier_score(active, bought)
        values["reliability_gap"] = reliability_gap(active, bought)
    return {name: _defined(values.get(name, np.nan)) for name in METRICS}


def mae(predicted: Array, actual: Array) -> float:
    """Return the mean absolute error. It favors models that predict too little."""
    return float(np.mean(np.abs(predicted - actual)))


def r2(predicted: Array, actual: Array) -> float:
    """Return 1 - squared error / squared deviation from the mean; it depends on few customers."""
    error, spread = predicted - actual, actual - actual.mean()
    scale = float(np.max(np.abs(spread)))  # squares of the extremes would overflow or vanish
    if not scale > 0:
        return float("nan")
    return float(1 - np.sum((error / scale) ** 2) / np.sum((spread / scale) ** 2))


def rmse(predicted: Array, actual: Array) -> float:
    """Return the root of the mean squared error."""
    error = np.abs(predicted - actual)
    scale = float(np.max(error))
    return scale * float(np.sqrt(np.mean((error / scale) ** 2))) if scale > 0 else 0.0


def spearman(predicted: Array, actual: Array) -> float:
    """Return the rank correlation; ties share their mean rank."""
    a, b = rankdata(predicted), rankdata(actual)
    a, b = a - a.mean(), b - b.mean()
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def normalized_gini(predicted: Array, actual: Array) -> float:
    """Return Gini(prediction) / Gini(outcome): 1 for a perfect ranking, 0 for a random one.

    The Gini of a ranking is taken from the curve of cumulative outcome over customers, highest
    prediction first (Wang, Liu, Miao 2019). Customers with equal predictions share their outcome.
    """
    truth = _gini(actual, actual)
    return _gini(predicted, actual) / truth if truth > _NO_GINI else float("nan")


def tweedie_deviance(predicted: Array, actual: Array) -> float:
    """Return the mean Tweedie deviance of power 1.5.

    Predictions are floored at 1 % of the mean outcome. For this power the deviance is
    4 (√actual - √predicted)² / √predicted.
    """
    root = np.sqrt(np.maximum(predicted, TWEEDIE_FLOOR * actual.mean()))
    gap = np.sqrt(actual) - root
    return float(np.mean(4 * gap * (gap / root)))


def decile_calibration(predicted: Array, actual: Array) -> float:
    """Return Σ |predicted - actual| over predicted deciles, divided by Σ actual."""
    deciles = groups_by_rank(predicted)
    gap = np.bincount(deciles, predicted - actual, minlength=11)
    return float(np.abs(gap).sum() / actual.sum())


def top_decile_capture(predicted: Array, actual: Array) -> float:
    """Return the share of the total outcome in the tenth of customers predicted highest."""
    order = np.argsort(-predicted, kind="stable")
    best = order[: max(1, round(len(order) / 10))]
    return float(actual[best].sum() / actual.sum())


def coverage(lower: Array, upper: Array, actual: Array) -> float:
    """Return the share of outcomes inside their interval, ends included."""
    return float(np.mean((lower <= actual) & (actual <= upper)))


def winkler_score(lower: Array, upper: Array, actual: Array, level: float = 0.8) -> Array:
    """Return each interval's width plus 2 / (1 - level) times its miss (Winkler 1972)."""
    missed = np.maximum(lower - actual, 0.0) + np.maximum(actual - upper, 0.0)
    return upper - lower + 2 / (1 - level) * missed


def brier_score(probability: Array, bought: Array) -> float:
    """Return the mean squared error of probabilities; lower is better."""
    return float(np.mean((probability - bought) ** 2))


def reliability_gap(probability: Array, bought: Array) -> float:
    """Return the mean difference between probability and frequency, over tenths by probability."""
    groups = groups_by_rank(probability)
    gap = np.bincount(groups, probability - bought, minlength=11)
    return float(np.abs(gap).sum() / len(bought))


def groups_by_rank(values: Array, groups: int = 10) -> NDArray[np.int64]:
    """Return each value's group, from 1 (lowest) to `groups` (highest), of near-equal size.

    Equal values are in one group, so ties can leave groups empty.
    """
    return group_of(values, group_ends(values, groups))


def group_ends(values: Array, groups: int = 10) -> Array:
    """Return the largest value of each group of `groups_by_rank`, without the last group.

    The values of a large population can be in parts: its ends assign each value's group. An empty
    group has the end of the one below, -inf if there is none.
    """
    if not len(values):
        return np.full(groups - 1, -np.inf)
    ordered = np.sort(values)
    highest = (np.arange(1, groups) + 1e-9) * len(ordered) / groups  # rank within the group
    value = ordered[np.minimum(highest.astype(int), len(ordered) - 1)]
    first, last = np.searchsorted(ordered, value), np.searchsorted(ordered, value, "right")
    below = np.where(first > 0, ordered[first - 1], -np.inf)
    return np.where((first + 1 + last) / 2 <= highest, value, below)


def group_of(values: Array, ends: Array) -> NDArray[np.int64]:
    """Return the group of each value, from 1, given the `group_ends` of its population."""
    return 1 + np.searchsorted(ends, values)


def _gini(score: Array, actual: Array) -> float:
    """Return twice the area between the gain curve by `score` and the diagonal."""
    levels, level = np.unique(-score, return_inverse=True)
    outcome = np.bincount(level, actual, minlength=len(levels))
    customers = np.bincount(level, minlength=len(levels))
    curve = np.concatenate([[0.0], np.cumsum(outcome) / actual.sum()])
    steps = customers / len(score)
    return float(np.sum(steps * (curve[1:] + curve[:-1])) - 1)


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
