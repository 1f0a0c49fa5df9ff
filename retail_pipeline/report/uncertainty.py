"""How sure the metrics are: a bootstrap over the customers of one past cut-off.

Efron's percentile interval with Poisson weights instead of drawn rows (Chamandy et al. 2012). The
metrics are those of `clv.evaluation.metrics`, with weights; customers are taken as independent, the
season that they share is not in the interval.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES: Final = 200
MOST_CUSTOMERS: Final = 20_000
LEVEL: Final = 0.95

_SEED = 20_250
_TWEEDIE_FLOOR = 0.01
_NO_GINI = 1e-12


def intervals(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of one cut-off with their intervals.

    Args:
        predictions: `predicted_value`, `lower_80`, `upper_80`, `actual_value`, one row per
            customer; of many, a random part is taken.

    Returns:
        `metric, value, low, high`, without metrics that are undefined; empty where nobody spent
        anything.
    """
    random = np.random.default_rng(_SEED)
    if len(predictions) > MOST_CUSTOMERS:
        predictions = predictions.iloc[
            np.sort(random.choice(len(predictions), MOST_CUSTOMERS, replace=False))
        ]
    columns = ("predicted_value", "lower_80", "upper_80", "actual_value")
    predicted, lower, upper, actual = (predictions[name].to_numpy(float) for name in columns)
    if not actual.sum() > 0 or not predicted.sum() > 0:
        return pd.DataFrame(columns=["metric", "value", "low", "high"])
    weights = random.poisson(1.0, (RESAMPLES, len(predictions))).astype(float)
    rows = []
    for name, (value, drawn) in {
        "normalized_gini": _both(_gini, weights, predicted, actual),
        "tweedie_deviance": _both(_deviance, weights, predicted, actual),
        "mae_over_mean": _both(_mae_over_mean, weights, predicted, actual),
        "bias": _both(_bias, weights, predicted, actual),
        "coverage_80": _both(
            _share, weights, ((lower <= actual) & (actual <= upper)).astype(float), actual
        ),
    }.items():
        if not np.isfinite(value):
            continue
        rows.append((name, value, *_ends(drawn)))
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high"])


def _ends(drawn: Array) -> tuple[float, float]:
    """Return the interval over the resamples in which the metric is defined, NaN without any.

    Among few customers a resample may hold none who bought anything.
    """
    defined = drawn[np.isfinite(drawn)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _both(
    metric: Callable[[Array, Array, Array], Array], weights: Array, one: Array, other: Array
) -> tuple[float, Array]:
    """Return a metric with each customer once, and with each resample's weights."""
    once = np.ones((1, len(one)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(metric(once, one, other)[0]), metric(weights, one, other)


def _bias(weights: Array, predicted: Array, actual: Array) -> Array:
    return (weights @ predicted) / (weights @ actual)


def _mae_over_mean(weights: Array, predicted: Array, actual: Array) -> Array:
    return (weights @ np.abs(predicted - actual)) / (weights @ actual)


def _share(weights: Array, inside: Array, _: Array) -> Array:
    return (weights @ inside) / weights.sum(axis=1)


def _deviance(weights: Array, predicted: Array, actual: Array) -> Array:
    root = np.sqrt(np.maximum(predicted, _TWEEDIE_FLOOR * actual.mean()))
    gap = np.sqrt(actual) - root
    return (weights @ (4 * gap * gap / root)) / weights.sum(axis=1)


def _gini(weights: Array, predicted: Array, actual: Array) -> Array:
    truth = _area(weights, actual, actual)
    return _area(weights, predicted, actual) / np.where(truth > _NO_GINI, truth, np.nan)


def _area(weights: Array, score: Array, actual: Array) -> Array:
    """Return twice the area between the gain curve by a score and the diagonal.

    Customers with the same score share their outcome, as in `clv.evaluation.metrics`.
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    first = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    customers = np.add.reduceat(weights[:, order], first, axis=1)
    outcome = np.cumsum(np.add.reduceat(weights[:, order] * actual[order], first, axis=1), axis=1)
    curve = outcome / outcome[:, -1:]
    before = np.concatenate([np.zeros((len(curve), 1)), curve[:, :-1]], axis=1)
    steps = customers / customers.sum(axis=1, keepdims=True)
    return np.sum(steps * (curve + before), axis=1) - 1
