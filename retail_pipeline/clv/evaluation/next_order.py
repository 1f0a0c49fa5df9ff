"""Tests of the predicted time until the next order, by a model and by two simple rivals.

Times are whole days from the cut-off, and both predicted and actual ones are counted up to the
horizon only. The pinball loss at .5 is half the mean absolute error of the median; at .8 an order
later than predicted costs four times as much as an earlier one.

Sources:
    Koenker, Bassett (1978), Regression Quantiles. Econometrica 46(1): the pinball loss.
    Czado, Gneiting, Held (2009), Predictive Model Assessment for Count Data. Biometrics 65(4): the
        histogram of the probability integral transform without random numbers.
"""

import json
from typing import Any, Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.models.base import Array, ValueModel, Waiting

SHARES: Final = (0.5, 0.8)
_BY: Final = ("next_order", "own_gap", "usual_gap")
LOSSES: Final = [f"{by}_loss_{round(100 * share)}" for by in _BY for share in SHARES]
ERRORS: Final = [f"{by}_error_days" for by in _BY]
COLUMNS: Final = [*LOSSES, *ERRORS, "next_order_pit"]
BINS: Final = 10

_MOST_CUSTOMERS = 2_000
"""Customers of a cut-off that are measured: enough for losses to about 2 %."""


def evaluate(model: ValueModel, today: pd.DataFrame, first_order: Array) -> dict[str, Any]:
    """Return the losses of a model and of its rivals, and the histogram, by name (`COLUMNS`).

    The rival `own_gap` predicts the next order at the last one plus the customer's mean gap, and
    `usual_gap` at the last one plus the population's median gap. Customers with one order have the
    median gap in both. A date before the cut-off is moved to the cut-off. For the loss at .8, both
    gaps are multiplied by the ratio of the population's 80th percentile to its median. Errors are
    mean absolute errors over the customers with a date predicted by the model; losses are over all
    customers.

    Args:
        model: The model, fitted at the cut-off.
        today: The population at the cut-off.
        first_order: Days from the cut-off to each customer's next order; null for none within the
            horizon.

    Returns:
        Empty for a model without dates of orders. The histogram is a JSON list of the shares of
        customers, by tenths of the predicted probability of an order up to the actual one.
    """
    some = slice(None, None, max(1, -(-len(today) // _MOST_CUSTOMERS)))
    rows, actual = today.iloc[some], first_order[some]
    waiting = model.waiting(rows)
    if waiting is None:
        return {}
    horizon = float(model.horizon_days)
    gaps = today["gap_mean_days"].dropna()
    usual = float(gaps.median()) if len(gaps) else horizon
    own = rows["gap_mean_days"].fillna(usual).to_numpy(float)
    dated = ~np.isnan(waiting.quantile(0.5))
    found: dict[str, Any] = {}
    for share in SHARES:
        longer = float(gaps.quantile(share)) / usual if len(gaps) else 1.0
        since = rows["recency_days"].to_numpy(float)
        due = {
            "next_order": np.floor(waiting.quantile(share)),
            **{
                by: np.maximum(np.round(gap * longer - since), 0.0)
                for by, gap in (("own_gap", own), ("usual_gap", usual))
            },
        }
        for by, days in due.items():
            losses = pinball_losses(days, actual, share, horizon)
            found[f"{by}_loss_{round(100 * share)}"] = float(losses.mean())
            if share == SHARES[0] and dated.any():
                found[f"{by}_error_days"] = float(2 * losses[dated].mean())
    return {**found, "next_order_pit": json.dumps(pit(waiting, actual).round(6).tolist())}


def pinball_losses(due: Array, actual: Array, share: float, horizon: float) -> Array:
    """Return pinball losses in days; times that are null or longer count as the horizon."""
    late, expected = (np.nan_to_num(days, nan=horizon).clip(max=horizon) for days in (actual, due))
    return np.maximum(share * (late - expected), (share - 1) * (late - expected))


def pit(waiting: Waiting, actual: Array) -> Array:
    """Return the share of customers in each tenth of the probability integral transform.

    An order on a day can have any level between the probabilities at the day's start and end.
    Without an order within the horizon, the level can be any above that of the horizon. Each
    customer is spread evenly over the possible levels. All shares are .1 for a perfect model.

    Args:
        waiting: The predicted distributions.
        actual: Days to the next order; null for none within the horizon.
    """
    horizon = waiting.days[:, -1]
    low = waiting.within(np.where(np.isnan(actual), horizon, actual))
    high = np.where(np.isnan(actual), 1.0, waiting.within(np.nan_to_num(actual) + 1))
    high = np.maximum(high, low + 1e-9)
    edges = np.linspace(0.0, 1.0, BINS + 1)
    below = np.clip((edges - low[:, None]) / (high - low)[:, None], 0.0, 1.0)
    below[:, -1] = 1.0
    return np.diff(below, axis=1).mean(axis=0)
