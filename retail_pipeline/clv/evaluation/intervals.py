"""80 % intervals of predictions: the 10th and 90th percentile of each customer's distribution.

A customer's outcome is 0 with probability 1 - P(active), else Gamma distributed with the mean and
shape that the model predicts given a purchase (a hurdle-Gamma distribution). The Gamma part is
calibrated on out-of-time tests, per group of customers: first its mean, by actual over expected
value of buyers, then its form, by the probability integral transform (Dawid 1984; Diebold, Gunther,
Tay 1998). Cut-offs of the same season as the as-of date have a higher weight, as errors repeat
every year.

The lower end is 0 if P(value = 0) is .10 or more; the interval is [0, 0] if it is .90 or more.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import gammainc, gammaincinv

from retail_pipeline.clv.evaluation.metrics import group_ends, group_of, groups_by_rank
from retail_pipeline.clv.models.base import Array

LOW: Final = 0.10
HIGH: Final = 0.90
FEWEST_OUTCOMES: Final = 100
"""Past outcomes above 0 that a calibration needs."""

COLUMNS: Final = ["predicted_value", "expected_orders", "probability_active", "value_shape"]
"""Predictions that define the distribution of an outcome."""

_OUTCOMES_PER_GROUP = 50
_MOST_GROUPS = 8
_SAME_SEASON = 20.0
"""Weight of a cut-off in the month of the as-of date, added to the 1 that every cut-off has."""

_GRID = np.linspace(0.0, 1.0, 401)
_FARTHEST = 1 - 1e-9


@dataclass(frozen=True)
class Calibration:
    """The correction of predicted distributions, per group of expected orders, fewest first.

    Attributes:
        factors: Actual over expected value of buyers in the group; 1 for a perfect model.
        levels: One row per group: quantiles of the past outcomes' levels in their predicted
            distributions, at shares from 0 to 1. For a perfect model a level equals its share.
    """

    factors: Array
    levels: Array

    def ends_of_groups(self, expected_orders: Array) -> Array:
        """Return the `group_ends` of a population's expected orders."""
        return group_ends(expected_orders, len(self.levels))

    def apply(
        self, predicted: pd.DataFrame, ends_of_groups: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the lower and upper ends for customers.

        Args:
            predicted: `COLUMNS`, one row per customer.
            ends_of_groups: Those of the population; by default the customers are all of it.
        """
        orders = predicted["expected_orders"].to_numpy(float)
        active = predicted["probability_active"].to_numpy(float)
        if ends_of_groups is None:
            ends_of_groups = self.ends_of_groups(orders)
        group = group_of(orders, ends_of_groups) - 1
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
"""No correction: the model's own distribution."""


def calibrate(predictions: pd.DataFrame, as_of: date | None = None) -> Calibration:
    """Return the calibration from out-of-time predictions and their outcomes.

    Args:
        predictions: `COLUMNS`, `cutoff_date` and `actual_value` of one model.
        as_of: The date to predict at; None gives all cut-offs the same weight.

    Returns:
        The calibration; `UNCALIBRATED` if fewer than 100 customers with a predicted value above 0
        bought.
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
        # A group without buyers takes the calibration of the nearest group.
        of = found[found["group"] == present[np.argmin(np.abs(present - number))]]
        actual, weight = (of[name].to_numpy(float) for name in ("actual_value", "weight"))
        shape, scale = _gamma(of)
        factors.append(float(weight @ actual / (weight @ (shape * scale))))
        levels.append(_weighted_quantiles(gammainc(shape, actual / scale / factors[-1]), weight))
    return Calibration(np.array(factors), np.array(levels))


def _value_at(predicted: pd.DataFrame, level: Array) -> Array:
    """Return the quantile, at a level, of the value given a purchase."""
    shape, scale = _gamma(predicted)
    return gammaincinv(shape, np.clip(level, 0.0, _FARTHEST)) * scale


def _gamma(predicted: pd.DataFrame) -> tuple[Array, Array]:
    """Return shape and scale of the value given a purchase, whose mean is value / P(active)."""
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
    """Return the weight of a cut-off's month: higher the nearer it is to the as-of date's month."""
    if as_of is None:
        return 1.0
    apart = abs((month - as_of.month + 6) % 12 - 6)
    return 1.0 + _SAME_SEASON * float(np.exp(-(apart**2)))
