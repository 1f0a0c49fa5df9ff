"""80 % intervals around a prediction, and the distribution that they are read from.

A customer's outcome is 0 with the probability that nothing is bought, else Gamma distributed with
the mean and the spread that the model expects of a customer who buys. How far outcomes strayed from
that is learned from out-of-time tests: by how much more buyers spent than was expected of them, and
the levels at which outcomes then fell in their own distribution (the probability integral
transform; Dawid 1984, Diebold, Gunther, Tay 1998). Cut-offs of the season of the date predicted
weigh more, as errors have a yearly rhythm.

The ends are the 10th and the 90th percentile. The lower end is 0 where P(value = 0) is .10 or more,
the interval is [0, 0] where it is .90 or more.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import gammainc, gammaincinv

from retail_pipeline.clv.evaluation.metrics import groups_by_rank
from retail_pipeline.clv.models.base import Array

LOW: Final = 0.10
HIGH: Final = 0.90
FEWEST_OUTCOMES: Final = 100
"""Past outcomes above 0; fewer calibrate nothing."""

COLUMNS: Final = ["predicted_value", "expected_orders", "probability_active", "value_shape"]
"""What the distribution of an outcome follows from."""

_OUTCOMES_PER_GROUP = 50
_MOST_GROUPS = 8
_SAME_SEASON = 20.0
"""How much more a cut-off of the same month counts than one half a year apart."""

_GRID = np.linspace(0.0, 1.0, 401)
_FARTHEST = 1 - 1e-9


@dataclass(frozen=True)
class Calibration:
    """How past outcomes strayed, per group of expected orders, the fewest first.

    Attributes:
        factors: By how much more buyers spent than was expected of them; 1 of a perfect model.
        levels: A row per group: the level below which each share of a grid from 0 to 1 fell. A
            perfect model's rows are the grid itself.
    """

    factors: Array
    levels: Array

    def apply(self, predicted: pd.DataFrame) -> tuple[Array, Array]:
        """Return lower and upper ends for one population.

        Args:
            predicted: `COLUMNS`, one row per customer.
        """
        orders = predicted["expected_orders"].to_numpy(float)
        active = predicted["probability_active"].to_numpy(float)
        group = groups_by_rank(orders, len(self.levels)) - 1
        ends = []
        for level in (LOW, HIGH):
            share = (level - (1 - active)) / np.maximum(active, 1e-12)
            shares = np.clip(share, 0.0, 1.0)
            found = np.empty(len(shares))
            for number, levels in enumerate(self.levels):
                found[group == number] = np.interp(shares[group == number], _GRID, levels)
            value = self.factors[group] * _value_at(predicted, found)
            ends.append(np.where(share > 0, value, 0.0))
        return ends[0], np.maximum(*ends)


UNCALIBRATED: Final = Calibration(np.ones(1), _GRID[None, :])
"""The model's own distribution, as nothing has tested it."""


def calibrate(predictions: pd.DataFrame, as_of: date | None = None) -> Calibration:
    """Return the calibration that out-of-time predictions and their outcomes teach.

    Args:
        predictions: `COLUMNS`, `cutoff_date` and `actual_value` of one model.
        as_of: The date whose intervals are wanted; None weighs all cut-offs alike.

    Returns:
        `UNCALIBRATED` where fewer than 100 outcomes are above 0, of customers of whom anything
        was expected.
    """
    predictions = predictions.reset_index(drop=True)
    bought = ((predictions["actual_value"] > 0) & (predictions["predicted_value"] > 0)).to_numpy()
    if bought.sum() < FEWEST_OUTCOMES:
        return UNCALIBRATED
    groups = int(np.clip(bought.sum() // _OUTCOMES_PER_GROUP, 1, _MOST_GROUPS))
    by_cutoff = predictions.groupby("cutoff_date")["expected_orders"]
    group = by_cutoff.transform(lambda orders: groups_by_rank(orders.to_numpy(float), groups))
    months = predictions["cutoff_date"].dt.month
    weights = months.map({month: _season_weight(month, as_of) for month in months.unique()})
    found = predictions[bought].assign(group=group, weight=weights)
    present = np.unique(found["group"])
    factors, levels = [], []
    for number in range(1, groups + 1):
        # Nobody of a group may have bought: the nearest one stands in.
        of = found[found["group"] == present[np.argmin(np.abs(present - number))]]
        actual, weight = (of[name].to_numpy(float) for name in ("actual_value", "weight"))
        shape, scale = _gamma(of)
        factors.append(float(weight @ actual / (weight @ (shape * scale))))
        levels.append(_weighted_quantiles(gammainc(shape, actual / scale / factors[-1]), weight))
    return Calibration(np.array(factors), np.array(levels))


def _value_at(predicted: pd.DataFrame, level: Array) -> Array:
    """Return the value at a level of the distribution given a purchase."""
    shape, scale = _gamma(predicted)
    return gammaincinv(shape, np.clip(level, 0.0, _FARTHEST)) * scale


def _gamma(predicted: pd.DataFrame) -> tuple[Array, Array]:
    """Return shape and scale of the value given a purchase: its mean is value / P(active)."""
    shape = predicted["value_shape"].to_numpy(float)
    active = np.maximum(predicted["probability_active"].to_numpy(float), 1e-12)
    mean = predicted["predicted_value"].to_numpy(float) / active
    return shape, np.maximum(mean, 1e-300) / shape


def _weighted_quantiles(values: Array, weights: Array) -> Array:
    """Return the weighted quantiles at the shares of the grid."""
    order = np.argsort(values, kind="stable")
    ordered, weight = values[order], weights[order]
    centers = (np.cumsum(weight) - weight / 2) / weight.sum()
    return np.interp(_GRID, centers, ordered)


def _season_weight(month: int, as_of: date | None) -> float:
    """Return how much a cut-off counts: more in the same season, of whatever year."""
    if as_of is None:
        return 1.0
    apart = abs((month - as_of.month + 6) % 12 - 6)
    return 1.0 + _SAME_SEASON * float(np.exp(-(apart**2)))
