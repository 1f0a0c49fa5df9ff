"""Segments of customers by predicted value and activity.

Value tiers are deciles of predicted value within the population; activity is the probability of a
purchase. The ten RFM segments are computed in the warehouse (`customer_rfm`).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.evaluation.metrics import group_ends, group_of
from retail_pipeline.clv.models.base import Array

ACTIVITY_DAYS: Final = 180
"""Activity refers to half a year at any horizon, as hardly any customer is active in a week."""

HIGH_FROM_DECILE: Final = 9
MEDIUM_FROM_DECILE: Final = 5
ACTIVE_FROM: Final = 0.5
FADING_FROM: Final = 0.2

SEGMENTS: Final = tuple(
    f"{value} value, {activity}"
    for value in ("high", "medium", "low")
    for activity in ("active", "fading", "dormant")
)
"""Best first: high value is deciles 9-10, medium 5-8, low 1-4; active is a probability of a
purchase within half a year of .5 or more, fading of .2 or more, dormant below."""


ACTIONS: Final[Mapping[str, str]] = {
    "high value, active": "Keep them: good service and early access rather than discounts.",
    "high value, fading": "Win them back first: a personal contact while they still buy.",
    "high value, dormant": "Ask why they left; one personal offer is worth its cost.",
    "medium value, active": "Suggest what goes with their last order.",
    "medium value, fading": "Remind them, with an offer that ends.",
    "medium value, dormant": "Send one inexpensive reminder, and stop without an answer.",
    "low value, active": "Make the second order easy.",
    "low value, fading": "Send automatic messages only.",
    "low value, dormant": "Spend nothing on them.",
}
"""A suggestion for each segment."""


def assign(
    predictions: pd.DataFrame, horizon_days: int, ends_of_deciles: Array | None = None
) -> pd.DataFrame:
    """Return the predictions with `clv_decile` and `segment`.

    Args:
        predictions: `predicted_value` and `probability_active` of customers.
        horizon_days: The horizon that the probability is for.
        ends_of_deciles: The `group_ends` of the population's predicted values; by default the
            customers are the whole population.

    Returns:
        A copy; `clv_decile` is 10 for the highest tenth and 1 for the lowest. Equal values share a
        decile.
    """
    values = predictions["predicted_value"].to_numpy(float)
    if ends_of_deciles is None:
        ends_of_deciles = group_ends(values)
    deciles = group_of(values, ends_of_deciles)
    active = _half_year(predictions["probability_active"].to_numpy(float), horizon_days)
    value = np.select([deciles >= HIGH_FROM_DECILE, deciles >= MEDIUM_FROM_DECILE], [0, 1], 2)
    activity = np.select([active >= ACTIVE_FROM, active >= FADING_FROM], [0, 1], 2)
    names = np.array(SEGMENTS, dtype=object)[3 * value + activity]
    return predictions.assign(clv_decile=deciles, segment=names)


def with_shares(counted: pd.DataFrame) -> pd.DataFrame:
    """Return the segments with `mean_predicted_value`, `share_of_customers`, `share_of_value`.

    Args:
        counted: `customers` and `predicted_value`, one row per segment with customers.
    """
    customers, value = counted["customers"], counted["predicted_value"]
    total = value.sum()
    return counted.assign(
        mean_predicted_value=value / customers,
        share_of_customers=customers / customers.sum(),
        share_of_value=value / total if total > 0 else 0.0,
    )


def past_values(past: pd.DataFrame, horizon_days: int) -> pd.DataFrame:
    """Return the actual value of each segment's customers after the past cut-offs.

    Args:
        past: Backtest predictions of one model: `cutoff_date`, `predicted_value`,
            `probability_active`, `actual_value`.
        horizon_days: Their horizon.

    Returns:
        By segment `past_customers`, `past_mean_value`, `past_share_of_value`; a customer counts
        once per cut-off.
    """
    if past.empty:
        columns = ["past_customers", "past_mean_value", "past_share_of_value"]
        return pd.DataFrame(columns=columns, index=pd.Index([], name="segment"), dtype=float)
    named = pd.concat(
        [assign(rows, horizon_days) for _, rows in past.groupby("cutoff_date", sort=True)]
    )
    actual = named.groupby("segment")["actual_value"].agg(["size", "mean", "sum"])
    total = float(named["actual_value"].sum())
    return pd.DataFrame(
        {
            "past_customers": actual["size"],
            "past_mean_value": actual["mean"],
            "past_share_of_value": actual["sum"] / total if total > 0 else 0.0,
        }
    )


def _half_year(probability: Array, horizon_days: int) -> Array:
    """Return probabilities over the horizon converted to half a year, at a constant hazard."""
    power = ACTIVITY_DAYS / horizon_days
    return -np.expm1(power * np.log1p(-np.minimum(probability, 1 - 1e-12)))
