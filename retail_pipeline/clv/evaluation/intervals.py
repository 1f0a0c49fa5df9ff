"""80 % intervals around a prediction.

Split conformal on the ratio outcome / prediction per group of predictions (a tenth each),
calibrated on out-of-time backtest predictions; without a backtest, draws from the model itself.
Cut-offs of the same season as the date predicted weigh more, as errors have a yearly rhythm; three
quarters of a cut-off's common error are taken out, as a level that was off once is not a spread.
Both obey one contract: the shortest interval with probability .80; it starts at 0 where
P(outcome = 0) is .20 or more and is [0, 0] where it is .80 or more. No choice is made here.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.evaluation.metrics import groups_by_rank
from retail_pipeline.clv.models.base import (
    Array,
    DrawingModel,
    ValueModel,
)

LEVEL: Final = 0.80
FEWEST_CALIBRATION_ROWS: Final = 100
_ROWS_PER_GROUP = 50
_MOST_GROUPS = 10
_LEAST_SHARE_OF_MEAN = 0.01
"""Predictions below this share of the mean count as this share: a ratio to nothing says nothing."""

_LEVEL_TAKEN_OUT = 0.75
_SAME_SEASON = 20.0
"""How much more a cut-off of the same month counts than one half a year apart."""

_ROUNDING = 1e-9
_DRAWS = 160
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


def calibrate(predictions: pd.DataFrame, as_of: date | None = None) -> Calibration | None:
    """Learn the multiples from out-of-time predictions and their outcomes.

    Args:
        predictions: `cutoff_date, predicted_value, actual_value` of one model.
        as_of: The date whose intervals are wanted; None weighs all cut-offs alike.

    Returns:
        None where there are fewer than 100 rows, of cut-offs at which anything was predicted.
    """
    totals = predictions.groupby("cutoff_date")["predicted_value"].transform("sum")
    predictions = predictions[totals > 0]
    if len(predictions) < FEWEST_CALIBRATION_ROWS:
        return None
    groups = int(np.clip(len(predictions) // _ROWS_PER_GROUP, 1, _MOST_GROUPS))
    group, ratio, weight = [], [], []
    for _, rows in predictions.groupby("cutoff_date"):
        cutoff = pd.Timestamp(rows["cutoff_date"].iloc[0])
        predicted = rows["predicted_value"].to_numpy(float)
        actual = rows["actual_value"].to_numpy(float)
        group.append(groups_by_rank(predicted, groups))
        ratio.append(actual / _level(predicted, actual) / _scale(predicted))
        weight.append(np.full(len(rows), _season_weight(cutoff, as_of)))
    groups_all, ratios = np.concatenate(group), np.concatenate(ratio)
    weights = np.concatenate(weight)
    present = np.unique(groups_all)
    ends = []
    for number in range(1, groups + 1):
        # Ties can empty a group: the nearest one stands in.
        of = groups_all == present[np.argmin(np.abs(present - number))]
        ends.append(weighted_interval(ratios[of], weights[of]))
    return Calibration(tuple(low for low, _ in ends), tuple(high for _, high in ends))


def weighted_interval(samples: Array, weights: Array) -> tuple[float, float]:
    """Return the contract's interval of weighted samples, as one interval.

    Args:
        samples: At least 0, in any order.
        weights: More than 0.
    """
    order = np.argsort(samples, kind="stable")
    values, below = samples[order], np.cumsum(weights[order]) / weights.sum()
    below[-1] = 1.0
    wanted = min(LEVEL * (len(values) + 1) / len(values), 1.0)
    zeros = float(weights[samples <= 0].sum() / weights.sum())
    if zeros >= LEVEL:
        return 0.0, 0.0
    if zeros >= 1 - LEVEL:
        return 0.0, float(values[np.searchsorted(below, wanted - _ROUNDING)])
    before = np.concatenate([[0.0], below[:-1]])
    starts = np.flatnonzero(before + wanted <= 1 + _ROUNDING)
    ends = np.searchsorted(below, before[starts] + wanted - _ROUNDING)
    ends = np.minimum(ends, len(values) - 1)
    best = int(np.argmin(values[ends] - values[starts]))
    return float(values[starts[best]]), float(values[ends[best]])


def from_model(model: ValueModel, frame: pd.DataFrame) -> tuple[Array, Array]:
    """Return intervals as the model believes them, not as they were tested.

    Draws start from a fixed seed and go by blocks, so one input has one answer. Customers whose
    outcomes differ by a factor alone share draws, and so do models that share a sampler.
    """
    found = model.sampler(frame)
    if found is None:
        return _of_poisson_orders(model.predict(frame))
    sampler, factor = found
    lower, upper = _drawn(sampler, frame)
    return lower * factor, upper * factor


def _drawn(sampler: DrawingModel, frame: pd.DataFrame) -> tuple[Array, Array]:
    """Return the intervals of a sampler's draws, from memory where they were the last drawn."""
    numbers = frame.select_dtypes("number").to_numpy(float)
    known = [sampler.name, sampler.horizon_days, sampler.parameters(), numbers.shape]
    key = hashlib.sha256(json.dumps(known).encode() + numbers.tobytes()).hexdigest()
    if key not in _DRAWN:
        kinds, place, scale = sampler.alike(frame)
        random = np.random.default_rng(_SEED)
        ends = []
        for at in range(0, len(kinds), _CHUNK_ROWS):
            some = kinds[at : at + _CHUNK_ROWS]
            draws = sampler.sample(frame.iloc[some], _DRAWS, random) / scale[some, None]
            ends.append(shortest_intervals(np.sort(draws, axis=1)))
        low, high = (np.concatenate(column)[place] * scale for column in zip(*ends, strict=True))
        _DRAWN.clear()
        _DRAWN[key] = (low, high)
    return _DRAWN[key]


_DRAWN: dict[str, tuple[Array, Array]] = {}
"""The latest draws: models that share a sampler follow one another."""


def _of_poisson_orders(predicted: pd.DataFrame) -> tuple[Array, Array]:
    """Return the intervals of Poisson orders with exponential values.

    In units of the mean order value they are functions of the expected orders alone: drawn on a
    grid, once, and interpolated on either side of the zero rule's edge.
    """
    orders = predicted["expected_orders"].to_numpy(float)
    each = predicted["predicted_value"].to_numpy(float) / np.maximum(orders, 1e-12)
    low, high = _unit_intervals()
    from_zero = orders <= -np.log(1 - LEVEL)
    spread = np.clip(orders, _GRID[0], _GRID[-1])
    beyond = orders / spread
    upper = np.where(
        from_zero, np.interp(spread, _GRID, high[0]), np.interp(spread, _GRID, high[1])
    )
    lower = np.where(from_zero, 0.0, np.interp(spread, _GRID, low[1]))
    nothing = orders <= -np.log(LEVEL)
    return np.where(nothing, 0.0, lower * beyond * each), np.where(
        nothing, 0.0, upper * beyond * each
    )


_GRID = np.geomspace(0.2, 1000.0, 160)
_GRID_DRAWS = 2_000


@cache
def _unit_intervals() -> tuple[Array, Array]:
    """Return lower and upper ends on the grid: rows from zero, and shortest, as the rule wants."""
    random = np.random.default_rng(_SEED)
    counts = random.poisson(_GRID[:, None], size=(len(_GRID), _GRID_DRAWS))
    sums = np.where(counts > 0, random.gamma(np.maximum(counts, 1)), 0.0)
    ordered = np.sort(sums, axis=1)
    lower, upper, from_zero = _shortest(ordered)
    return np.vstack([np.zeros(len(_GRID)), lower]), np.vstack([from_zero, upper])


def shortest_intervals(ordered: Array) -> tuple[Array, Array]:
    """Return the contract's interval of each row of samples.

    Args:
        ordered: Samples at least 0, ascending within each row.
    """
    lower, upper, highest = _shortest(ordered)
    zeros = np.mean(ordered <= 0, axis=1)
    from_zero, only_zero = zeros >= 1 - LEVEL, zeros >= LEVEL
    upper = np.where(from_zero, highest, upper)
    return np.where(from_zero, 0.0, lower), np.where(only_zero, 0.0, upper)


def _shortest(ordered: Array) -> tuple[Array, Array, Array]:
    """Return the ends of each row's shortest interval, and the end of the one from its start."""
    rows, draws = ordered.shape
    inside = min(int(np.ceil(LEVEL * (draws + 1))), draws)
    start = np.argmin(ordered[:, inside - 1 :] - ordered[:, : draws - inside + 1], axis=1)
    everyone = np.arange(rows)
    lower, upper = ordered[everyone, start], ordered[everyone, start + inside - 1]
    return lower, upper, ordered[:, inside - 1]


def _level(predicted: Array, actual: Array) -> float:
    """Return the part of a cut-off's common error that is taken out of its ratios."""
    total, came = float(predicted.sum()), float(actual.sum())
    return (came / total) ** _LEVEL_TAKEN_OUT if total > 0 and came > 0 else 1.0


def _season_weight(cutoff: pd.Timestamp, as_of: date | None) -> float:
    """Return how much a cut-off counts: more in the same season, of whatever year."""
    if as_of is None:
        return 1.0
    apart = abs((cutoff.month - as_of.month + 6) % 12 - 6)
    return 1.0 + _SAME_SEASON * float(np.exp(-(apart**2)))


def _scale(predicted: Array) -> Array:
    least = _LEAST_SHARE_OF_MEAN * float(np.mean(predicted)) if len(predicted) else 0.0
    return np.maximum(predicted, max(least, 1e-9))
