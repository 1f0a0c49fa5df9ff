"""Totals of groups of customers over the horizon, with 80 % intervals.

The ends of customers' intervals cannot be added: customers vary independently, but share an error
of the overall level. So values of every customer are drawn from the predicted distribution and
summed per group, and each draw is multiplied by a level that all groups share. The distribution of
levels follows from actual over predicted totals at past cut-offs.
"""

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

_SEED = 20_231
_CUSTOMERS_AT_ONCE = 4_000
_USUAL_SPREAD = 0.10
_USUAL_SEASONAL_SPREAD = 0.06
"""Standard deviations of the logarithm of a level without past cut-offs."""

_USUAL_COUNTS_AS = 2.0
"""Number of cut-offs that the usual spread counts as."""

_SAME_SEASON = 3.0
_SAME_SEASON_DAYS = 16


def group_totals(customers: pd.DataFrame, levels: Array) -> pd.DataFrame:
    """Return one row per group of each grouping.

    Args:
        customers: `predicted_value`, `expected_orders`, `probability_active`, `value_shape`,
            `actual_before` (net amount in as many days before the date) and the columns of
            `GROUPINGS` except `all`, one row per customer in a fixed order. Customers with a null
            in a grouping are left out of it.
        levels: `DRAWS` factors that all groups share.

    Returns:
        Rows of `COLUMNS`. All groupings use the same draws per customer.
    """
    everyone = customers.assign(all="all")
    places = {
        name: pd.factorize(everyone[name].astype(str).where(everyone[name].notna()), sort=True)
        for name in GROUPINGS
    }
    sums = {name: np.zeros((len(names), DRAWS)) for name, (_, names) in places.items()}
    random = np.random.default_rng(_SEED)
    for start in range(0, len(everyone), _CUSTOMERS_AT_ONCE):
        rows = slice(start, start + _CUSTOMERS_AT_ONCE)
        drawn = _futures(everyone.iloc[rows], random)
        for name, (place, _) in places.items():
            known = np.flatnonzero(place[rows] >= 0)
            belongs = (np.ones(len(known)), (place[rows][known], known))
            sums[name] += csr_array(belongs, shape=(len(sums[name]), len(drawn))) @ drawn
    tables = [
        _table(everyone, name, np.asarray(names), sums[name] * levels)
        for name, (_, names) in places.items()
    ]
    return pd.concat(tables, ignore_index=True)[COLUMNS]


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


def _table(customers: pd.DataFrame, grouping: str, names: np.ndarray, draws: Array) -> pd.DataFrame:
    """Return the rows of one grouping."""
    grouped = customers.groupby(customers[grouping].astype(str).where(customers[grouping].notna()))
    table = grouped.agg(
        customers=("predicted_value", "size"),
        predicted_value=("predicted_value", "sum"),
        expected_orders=("expected_orders", "sum"),
        expected_buyers=("probability_active", "sum"),
        actual_before=("actual_before", "sum"),
    ).reindex(names)
    lower, upper = np.quantile(draws, [0.1, 0.9], axis=1) if len(names) else (0.0, 0.0)
    return table.assign(
        grouping=grouping, group_value=names, lower_80=lower, upper_80=upper
    ).reset_index(drop=True)
