"""Intervals of the metrics: a bootstrap over the customers of one past cut-off.

They are Efron's percentile intervals. Customers are treated as independent, so the interval does
not include chance that they share, such as the season. The metrics are those of
`clv.evaluation.metrics`.
"""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]

RESAMPLES: Final = 200
MOST_CUSTOMERS: Final = 20_000
ENDS: Final = (0.025, 0.975)

_SEED = 20_250
_TWEEDIE_FLOOR = 0.01
_NO_GINI = 1e-12


def intervals(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of one cut-off with their intervals.

    Args:
        predictions: `predicted_value`, `lower_80`, `upper_80`, `actual_value`, one row per
            customer; if there are many, a random sample of them is used.

    Returns:
        `metric, value, low, high`, without undefined metrics; empty if nobody spent anything. An
        interval is over the resamples in which the metric is defined: with few customers, a
        resample may contain no buyer.
    """
    columns = ["predicted_value", "lower_80", "upper_80", "actual_value"]
    random = np.random.default_rng(_SEED)
    most = min(MOST_CUSTOMERS, len(predictions))
    rows = predictions[columns].sample(most, random_state=random).to_numpy(float)
    if not rows[:, 0].sum() > 0 or not rows[:, 3].sum() > 0:
        return pd.DataFrame(columns=["metric", "value", "low", "high"])
    floor = _TWEEDIE_FLOOR * rows[:, 3].mean()
    drawn = pd.DataFrame(
        [_metrics(rows[random.integers(most, size=most)], floor) for _ in range(RESAMPLES)]
    )
    ends = drawn.replace(np.inf, np.nan).quantile(ENDS)
    table = pd.DataFrame({"value": _metrics(rows, floor)})
    table["low"], table["high"] = ends.loc[ENDS[0]], ends.loc[ENDS[1]]
    return table.dropna(subset="value").rename_axis("metric").reset_index()


def _metrics(rows: Array, floor: float) -> dict[str, float]:
    """Return the metrics of some customers; NaN or infinite if undefined."""
    predicted, lower, upper, actual = rows.T
    root = np.sqrt(np.maximum(predicted, floor))
    with np.errstate(divide="ignore", invalid="ignore"):
        truth = _area(actual, actual)
        return {
            "normalized_gini": _area(predicted, actual) / truth if truth > _NO_GINI else np.nan,
            "tweedie_deviance": float(np.mean(4 * (np.sqrt(actual) - root) ** 2 / root)),
            "mae_over_mean": np.abs(predicted - actual).sum() / actual.sum(),
            "bias": predicted.sum() / actual.sum(),
            "coverage_80": float(np.mean((lower <= actual) & (actual <= upper))),
        }


def _area(score: Array, actual: Array) -> float:
    """Return twice the area between the gain curve by a score and the diagonal.

    Customers of equal score share a rank, so their order does not matter.
    """
    count = len(score)
    return (count + 1 - 2 * (actual @ rankdata(-score)) / actual.sum()) / count
