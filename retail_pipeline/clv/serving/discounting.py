"""The present value of predictions at the as-of date, at a yearly rate.

The value is spread over the horizon like the model's expected orders, and each part is discounted
from its middle. Over an endless horizon this is the discounted expected residual transactions
(DERT) times the value of an order:

    Fader, Hardie, Lee (2005), RFM and CLV: Using Iso-Value Curves for Customer Base Analysis.
        Journal of Marketing Research 42(4).

Intervals are not discounted, as the dates of purchases are uncertain as well.
"""

from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.models.base import Array, ValueModel

DAYS_PER_YEAR: Final = 365.25
_LONGEST_PART_DAYS = 30


def discounted(
    predictions: pd.DataFrame, model: ValueModel, frame: pd.DataFrame, discount_rate: float
) -> pd.DataFrame:
    """Return the predictions with `discount_rate` and `discounted_value`.

    Args:
        predictions: `predicted_value` of the rows of `frame`, in their order.
        model: The model that predicted it.
        frame: The feature rows.
        discount_rate: Share per year, from 0 to below 1; at 0 the value does not change by a bit.
    """
    factors = present_value_factors(model, frame, discount_rate)
    return predictions.assign(
        discount_rate=discount_rate,
        discounted_value=predictions["predicted_value"].to_numpy(float) * factors,
    )


def present_value_factors(model: ValueModel, frame: pd.DataFrame, discount_rate: float) -> Array:
    """Return the present value of one unit of each customer's predicted value.

    Returns:
        Means of the discount factors of the horizon's parts, weighted by expected orders; between
        the factor at the end of the horizon and 1.
    """
    factors, reached = np.zeros(len(frame)), np.zeros(len(frame))
    if discount_rate == 0:
        return factors + 1
    parts = int(np.ceil(model.horizon_days / _LONGEST_PART_DAYS))
    ends = np.linspace(0, model.horizon_days, parts + 1)
    for start, end in pairwise(ends):
        share = model.share_of_orders(frame, end) if end < ends[-1] else np.ones(len(frame))
        share = np.clip(share, reached, 1.0)
        factors += (share - reached) * discount_factor(discount_rate, (start + end) / 2)
        reached = share
    return np.clip(factors, discount_factor(discount_rate, model.horizon_days), 1.0)


def discount_factor(discount_rate: float, days: float) -> float:
    """Return the present value of one unit of money after some days."""
    return float((1 + discount_rate) ** (-days / DAYS_PER_YEAR))
