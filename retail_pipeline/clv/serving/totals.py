"""Totals of groups of customers over the horizon, with 80 % intervals.

The ends of customers' intervals cannot be added: customers vary independently, but share an error
of the overall level. So values of every customer are drawn from the predicted distribution and
summed per group, and each draw is multiplied by a level that all groups share. The distribution of
levels follows from actual over predicted totals at past cut-offs.
"""

from collections.abc import Iterable
from functools import reduce
from typing import Final

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from retail_pipeline.clv.models.base import Array

GROUPINGS: Final = ("all", "segment", "clv_decile", "country", "channel", "cohort_year")
COLUMNS: Final = [
    *("grouping", "group_value", "customers", "predicted_value", "lower_80", "upper_80"),
    *("expected_orders", "expected_buyers", "actual_before"),
]
DRAWS: Final = 400
_SUMMED: Final = [
    *("customers", "predicted_value", "expected_orders", "expected_buyers", "actual_before"),
]

_SEED = 20_231
_CUSTOMERS_AT_ONCE = 4_000
_USUAL_SPREAD = 0.10
_USUAL_SEASONAL_SPREAD = 0.06
"""Standard deviations of the logarithm of a level without past cut-offs."""

_USUAL_COUNTS_AS = 2.0
"""Number of cut-offs that the usual spread counts as."""

_SAME_SEASON = 3.0
_SAME_SEASON_DAYS = 16


def group_totals(parts: Iterable[pd.DataFrame], levels: Array) -> pd.DataFrame:
    """Return one row per group of each grouping.

    Args:
        parts: The customers in parts, so that they need not fit in memory, always in the same
            order. One row per customer: `predicted_value`, `expected_orders`,
            `probability_active`, `value_shape`, `actual_before` (net amount in as many days before
            the date) and the columns of `GROUPINGS` except `all`. Customers with a null in a
            grouping are left out of it.
        levels: `DRAWS` factors that all groups share.

    Returns:
        Rows of `COLUMNS`. All groupings use the same draws per customer.
    """
    random = np.random.default_rng(_SEED)
    sums = reduce(_added, (_sums(part, random) for part in parts)).reset_index()
    table = sums.sort_values(
        ["grouping", "group_value"],
        key=lambda names: names.map(GROUPINGS.index) if names.name == "grouping" else names,
        ignore_index=True,
    )
    lower, upper = np.quantile(table[[*range(DRAWS)]] * levels, [0.1, 0.9], axis=1)
    table = table.assign(lower_80=lower, upper_80=upper)
    return table[COLUMNS].astype({"customers": int})


def level_draws(tests: pd.DataFrame, as_of: pd.Timestamp, is_seasonal: bool) -> Array:
    """Return `DRAWS` levels: random ratios of actual to predicted total, shared by all groups.

    Levels are lognormal around the mean error of the tests, shrunk toward 0 if they are few. For a
    model without season, tests of the same season have a higher weight. A seasonal model takes the
    season from the cut-off a year before, and the less history that one had, the larger the error:
    so past errors are multiplied by the history before it then over that of today.

    Args:
        tests: `cutoff_date`, `bias` (predicted over actual total) and `history_days` (days of
            history at the cut-off) of the model that serves.
        as_of: The date of the prediction.
        is_seasonal: Whether the model corrects for the season.
    """
    errors = -np.log(tests["bias"].to_numpy(float))
    weights = np.ones(len(errors))
    usual = _USUAL_SEASONAL_SPREAD if is_seasonal else _USUAL_SPREAD
    if is_seasonal and len(errors):
        then = tests["history_days"].to_numpy(float)
        now = then + (as_of - tests["cutoff_date"]).dt.days.to_numpy(float)
        errors = errors * np.maximum(then - 365, 30) / np.maximum(now - 365, 30)
    elif len(errors):
        apart = np.abs((tests["cutoff_date"].dt.month.to_numpy() - as_of.month + 6) % 12 - 6)
        weights = 1 + _SAME_SEASON * np.exp(-(apart.astype(float) ** 2))
    counted = weights.sum() + _USUAL_COUNTS_AS
    center = float(weights @ errors) / counted
    spread = weights @ np.square(errors - center) + _USUAL_COUNTS_AS * usual**2
    deviation = float(np.sqrt(spread / counted))
    normal = np.random.default_rng(_SEED + 1).standard_normal(DRAWS)
    return np.exp(center + deviation * normal)


def year_before(tests: pd.DataFrame, as_of: pd.Timestamp) -> dict[str, float]:
    """Return the predicted and actual total at the cut-off a year before; empty if not tested.

    Args:
        tests: `cutoff_date`, `predicted_value`, `actual_value`.
        as_of: The date of the prediction.
    """
    apart = (tests["cutoff_date"] - (as_of - pd.DateOffset(years=1))).abs()
    near = tests[apart <= pd.Timedelta(days=_SAME_SEASON_DAYS)]
    if near.empty:
        return {}
    then = near.loc[apart[near.index].idxmin()]
    return {
        "predicted_year_ago": float(then["predicted_value"]),
        "actual_year_ago": float(then["actual_value"]),
    }


def _futures(customers: pd.DataFrame, random: np.random.Generator) -> Array:
    """Return draws of each customer's value: 0, or Gamma distributed given a purchase."""
    value, active, shape = (
        customers[name].to_numpy(float)[:, None]
        for name in ("predicted_value", "probability_active", "value_shape")
    )
    buys = random.random((len(customers), DRAWS)) < active
    scale = np.broadcast_to(value / np.maximum(active, 1e-12) / shape, buys.shape)
    drawn = np.zeros(buys.shape)
    drawn[buys] = random.standard_gamma(np.broadcast_to(shape, buys.shape)[buys]) * scale[buys]
    return drawn


def _sums(customers: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Return the sums of a part's groups, and `DRAWS` draws of their value."""
    counted = customers.assign(
        all="all", customers=1, expected_buyers=customers["probability_active"]
    )
    places = {
        name: pd.factorize(counted[name].astype(str).where(counted[name].notna()), sort=True)
        for name in GROUPINGS
    }
    draws = {name: np.zeros((len(groups), DRAWS)) for name, (_, groups) in places.items()}
    for start in range(0, len(counted), _CUSTOMERS_AT_ONCE):
        rows = slice(start, start + _CUSTOMERS_AT_ONCE)
        drawn = _futures(counted.iloc[rows], random)
        for name, (place, _) in places.items():
            known = np.flatnonzero(place[rows] >= 0)
            belongs = (np.ones(len(known)), (place[rows][known], known))
            draws[name] += csr_array(belongs, shape=(len(draws[name]), len(drawn))) @ drawn
    tables = {}
    for name, (place, groups) in places.items():
        is_known = place >= 0
        sums = counted.loc[is_known, _SUMMED].groupby(groups[place[is_known]]).sum()
        tables[name] = sums.join(pd.DataFrame(draws[name], index=groups))
    return pd.concat(tables, names=["grouping", "group_value"])


def _added(some: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    return some.add(more, fill_value=0.0)
