"""80 % intervals around a prediction, first version.

Split conformal on the ratio outcome / prediction per group of predictions (a tenth each),
calibrated on out-of-time backtest predictions; without a backtest, draws from the model itself.
Both obey one contract: the shortest interval with probability .80; it starts at 0 where
P(outcome = 0) is .20 or more and is [0, 0] where it is .80 or more. No choice is made here.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.btyd import Array
from retail_pipeline.clv.estimators import ValueModel
from retail_pipeline.clv.metrics import groups_by_rank

LEVEL: Final = 0.80
FEWEST_CALIBRATION_ROWS: Final = 100
_ROWS_PER_GROUP = 50
_MOST_GROUPS = 10
_LEAST_SHARE_OF_MEAN = 0.01
"""Predictions below this share of the mean count as this share: a ratio to nothing says nothing."""

_DRAWS = 250
_SEED = 20_231
_CHUNK_ROWS = 5_000


@dataclass(frozen=True)
class Calibration:
    """Interval ends as multiples of the prediction, per group of predictions, lowest first."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def apply(self, predicted: Array) -> tuple[Array, Array]:
        """Return lower and upper ends for one population's predictions."""
        group = groups_by_rank(predicted, len(self.lower)) - 1
        scale = _scale(predicted)
        return np.array(self.lower)[group] * scale, np.array(self.upper)[group] * scale


def calibrate(predictions: pd.DataFrame) -> Calibration | None:
    """Learn the multiples from out-of-time predictions and their outcomes.

    Args:
        predictions: `cutoff_date, predicted_value, actual_value` of one model.

    Returns:
        None where there are fewer than 100 rows.
    """
    if len(predictions) < FEWEST_CALIBRATION_ROWS:
        return None
    groups = int(np.clip(len(predictions) // _ROWS_PER_GROUP, 1, _MOST_GROUPS))
    group, ratio = [], []
    for _, rows in predictions.groupby("cutoff_date"):
        predicted = rows["predicted_value"].to_numpy(float)
        group.append(groups_by_rank(predicted, groups))
        ratio.append(rows["actual_value"].to_numpy(float) / _scale(predicted))
    groups_all, ratios = np.concatenate(group), np.concatenate(ratio)
    ends = [
        shortest_intervals(np.sort(_of_nearest(groups_all, ratios, number))[None, :])
        for number in range(1, groups + 1)
    ]
    return Calibration(
        tuple(float(low[0]) for low, _ in ends), tuple(float(high[0]) for _, high in ends)
    )


def from_model(model: ValueModel, frame: pd.DataFrame) -> tuple[Array, Array]:
    """Return intervals from draws of the model: what it believes, not what was tested.

    The draws start from a fixed seed and go by blocks of rows, so one input has one answer.
    """
    random = np.random.default_rng(_SEED)
    ends = [
        shortest_intervals(
            np.sort(model.sample(frame.iloc[start : start + _CHUNK_ROWS], _DRAWS, random), axis=1)
        )
        for start in range(0, len(frame), _CHUNK_ROWS)
    ]
    return np.concatenate([low for low, _ in ends]), np.concatenate([high for _, high in ends])


def shortest_intervals(ordered: Array) -> tuple[Array, Array]:
    """Return the contract's interval of each row of samples.

    Args:
        ordered: Samples at least 0, ascending within each row.
    """
    rows, draws = ordered.shape
    inside = min(int(np.ceil(LEVEL * (draws + 1))), draws)
    start = np.argmin(ordered[:, inside - 1 :] - ordered[:, : draws - inside + 1], axis=1)
    everyone = np.arange(rows)
    lower, upper = ordered[everyone, start], ordered[everyone, start + inside - 1]
    zeros = np.mean(ordered <= 0, axis=1)
    from_zero, only_zero = zeros >= 1 - LEVEL, zeros >= LEVEL
    lower = np.where(from_zero, 0.0, lower)
    upper = np.where(from_zero, ordered[:, inside - 1], upper)
    return lower, np.where(only_zero, 0.0, upper)


def _of_nearest(groups: np.ndarray, ratios: Array, wanted: int) -> Array:
    """Return the ratios of a group, or of the nearest one that ties have not emptied."""
    present = np.unique(groups)
    return ratios[groups == present[np.argmin(np.abs(present - wanted))]]


def _scale(predicted: Array) -> Array:
    least = _LEAST_SHARE_OF_MEAN * float(np.mean(predicted)) if len(predicted) else 0.0
    return np.maximum(predicted, max(least, 1e-9))
