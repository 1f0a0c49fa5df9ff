"""Cut-offs, outcomes and the labeled training set.

Frames in, frames out. This module alone decides which entries were known at a date. Features come
from `warehouse.customer_features`; here they are only typed and ordered.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
from retail_pipeline.settings import LONGEST_HORIZON_DAYS

TRAINING_CUTOFFS: Final = 12
"""Number of past cut-offs that train and test a model: one year, so each season counts once."""

KEY: Final = ["customer_id", "as_of_date"]
LABELS: Final = ["future_value", "future_orders"]
DATES: Final = ["cohort_month", "first_purchase_date", "last_purchase_date"]
TEXTS: Final = ["country", "channel"]
ENTRY_COLUMNS: Final = ["customer_id", "date_day", "known_date", "net_amount"]

_MONEY_DECIMALS = 6
"""Sums of money are rounded here, far below any price, so that their last bits do not depend on
the order of summation and stay equal after a trip through a `numeric` column."""


def check_horizon(horizon_days: int) -> int:
    """Return the horizon if it is valid.

    Raises:
        UsageError: It is not from 1 to 1095 days.
    """
    if not 1 <= horizon_days <= LONGEST_HORIZON_DAYS:
        raise UsageError(
            f"the horizon must be from 1 to {LONGEST_HORIZON_DAYS} days; got {horizon_days}"
        )
    return horizon_days


def prepare_features(features: pd.DataFrame) -> pd.DataFrame:
    """Return features in the form that models read: typed, in the order of the key.

    Args:
        features: Rows of `warehouse.customer_features`, at any as-of dates.

    Returns:
        `customer_id` as text, dates as datetime64[ns], numbers as float64 (NaN for null), sorted by
        as-of date and customer, with a fresh index.
    """
    frame = features.copy(deep=False)
    frame["customer_id"] = frame["customer_id"].astype(str)
    for name in ["as_of_date", *(name for name in DATES if name in frame)]:
        frame[name] = pd.to_datetime(frame[name]).astype("datetime64[ns]")
    numbers = frame.select_dtypes(["number", "bool"]).columns.difference(["horizon_days"])
    frame[numbers] = frame[numbers].astype("float64")
    return frame.sort_values(["as_of_date", "customer_id"], ignore_index=True)


def prepare_entries(entries: pd.DataFrame) -> pd.DataFrame:
    """Return customer-day entries with typed columns, in a fixed order.

    Args:
        entries: `customer_id, date_day, known_date, net_amount` of
            `warehouse.customer_day_entries`.
    """
    frame = entries[ENTRY_COLUMNS].copy()
    frame["customer_id"] = frame["customer_id"].astype(str)
    for name in ("date_day", "known_date"):
        frame[name] = pd.to_datetime(frame[name]).astype("datetime64[ns]")
    frame["net_amount"] = frame["net_amount"].astype("float64")
    return frame.sort_values(["customer_id", "date_day", "known_date"], ignore_index=True)


def population(features: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """Return the feature rows of every customer with a purchase before `as_of`.

    Raises:
        PipelineError: There is no such customer.
    """
    found = at_date(features, as_of)
    if found.empty:
        raise no_customers(as_of)
    return found


def no_customers(as_of: date) -> PipelineError:
    """Return the error for a date before the first purchase of all customers."""
    return PipelineError(
        f"no customer has a purchase before {as_of}: choose a later as-of date, "
        "or load earlier data"
    )


def at_date(features: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """Return the feature rows of one as-of date; empty if there are none."""
    return features[features["as_of_date"] == pd.Timestamp(as_of)].reset_index(drop=True)


def training_cutoffs(as_of_dates: Iterable[date], as_of: date, horizon_days: int) -> list[date]:
    """Return the past cut-offs whose outcome is complete at `as_of`: the latest 12 month starts.

    Args:
        as_of_dates: Dates with features.
        as_of: The date of the run.
        horizon_days: Length of the outcome.
    """
    latest = as_of - pd.Timedelta(days=horizon_days)
    dates = sorted({d for d in map(_plain_date, as_of_dates) if d.day == 1 and d <= latest})
    return dates[-TRAINING_CUTOFFS:]


def dates_needed(as_of_dates: Iterable[date], as_of: date, horizon_days: int) -> list[date]:
    """Return the dates whose features a run reads: its own, its cut-offs, and their cut-offs.

    Args:
        as_of_dates: Dates with features.
        as_of: The date of the run.
        horizon_days: Length of the outcome.
    """
    dates = list(as_of_dates)
    cutoffs = training_cutoffs(dates, as_of, horizon_days)
    earlier = {d for c in cutoffs for d in training_cutoffs(dates, c, horizon_days)}
    return sorted({as_of, *cutoffs, *earlier})


def feature_dates(features: pd.DataFrame) -> list[date]:
    """Return the as-of dates of the features, in order."""
    return sorted(map(_plain_date, features["as_of_date"].unique()))


def listed(cutoffs: Iterable[date]) -> str:
    """Return cut-offs as text, for messages and metadata."""
    return ", ".join(cutoff.isoformat() for cutoff in cutoffs) or "none has a complete outcome"


def outcomes(
    entries: pd.DataFrame,
    customer_ids: pd.Series,
    cutoff: date,
    horizon_days: int,
    known_before: date | None = None,
) -> pd.DataFrame:
    """Return each customer's outcome in the horizon after a cut-off.

    Args:
        entries: The prepared entries.
        customer_ids: The customers.
        cutoff: First day of the outcome.
        horizon_days: Length of the outcome.
        known_before: Only entries known before this date count; None counts all, to compare a
            prediction with its outcome afterwards.

    Returns:
        `future_value` (net amount, floored at 0) and `future_orders` (days with positive net
        amount), both float64, with the index of `customer_ids`.
    """
    who, _, days = _net_by_day(entries, cutoff, horizon_days, known_before)
    by_customer = _starts(who)
    sums = pd.DataFrame(
        {
            "value": np.add.reduceat(days, by_customer) if len(who) else days,
            "order": np.add.reduceat((days > 0).astype(float), by_customer) if len(who) else days,
        },
        index=who[by_customer],
    )
    sums = sums.reindex(customer_ids.to_numpy()).fillna(0.0)
    return pd.DataFrame(
        {
            "future_value": np.maximum(sums["value"].to_numpy().round(_MONEY_DECIMALS), 0.0),
            "future_orders": sums["order"].to_numpy(),
        },
        index=customer_ids.index,
    )


def first_orders(
    entries: pd.DataFrame,
    customer_ids: pd.Series,
    cutoff: date,
    horizon_days: int,
    known_before: date | None = None,
) -> np.ndarray:
    """Return the days from a cut-off to each customer's first order; null for none in the horizon.

    The arguments and the meaning of an order are those of `outcomes`.
    """
    who, when, net = _net_by_day(entries, cutoff, horizon_days, known_before)
    is_first = np.zeros(len(who), bool)
    bought = np.flatnonzero(net > 0)
    is_first[bought[_starts(who[bought])]] = True
    days = (when[is_first] - np.datetime64(cutoff)) / np.timedelta64(1, "D")
    found = pd.Series(days, index=who[is_first], dtype=float)
    return found.reindex(customer_ids.to_numpy()).to_numpy()


def _net_by_day(
    entries: pd.DataFrame, cutoff: date, horizon_days: int, known_before: date | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return customer, day and net amount of the days with entries in the horizon, in order."""
    start = pd.Timestamp(cutoff)
    day = entries["date_day"]
    inside = (day >= start) & (day < start + pd.Timedelta(days=horizon_days))
    if known_before is not None:
        inside &= entries["known_date"] < pd.Timestamp(known_before)
    chosen = inside.to_numpy()
    who, when = (entries[name].to_numpy()[chosen] for name in ("customer_id", "date_day"))
    amounts = entries["net_amount"].to_numpy()[chosen]
    # Entries are in the order of customer and day, so those of one day are adjacent.
    starts = _starts(who, when)
    net = np.add.reduceat(amounts, starts).round(_MONEY_DECIMALS) if len(who) else amounts
    return who[starts], when[starts], net


def training_set(
    features: pd.DataFrame, entries: pd.DataFrame, as_of: date, horizon_days: int
) -> pd.DataFrame:
    """Return each customer at each past cut-off, with the outcome as known before `as_of`.

    Args:
        features: Prepared features; dates after the last complete cut-off are left out.
        entries: The prepared entries.
        as_of: Only entries known before this date count.
        horizon_days: Length of the outcome.

    Returns:
        The feature rows with `horizon_days`, `future_value`, `future_orders`. Without a past
        cut-off whose outcome is complete: no rows, the same columns.
    """
    labeled = []
    for cutoff in training_cutoffs(feature_dates(features), as_of, horizon_days):
        rows = at_date(features, cutoff)
        labels = outcomes(entries, rows["customer_id"], cutoff, horizon_days, as_of)
        labeled.append(pd.concat([rows, labels], axis=1))
    frame = (
        pd.concat(labeled, ignore_index=True)
        if labeled
        else features.iloc[:0].assign(future_value=0.0, future_orders=0.0)
    )
    return frame.assign(horizon_days=horizon_days)


def learning_frame(labeled: pd.DataFrame, today: pd.DataFrame) -> pd.DataFrame:
    """Return the frame that models are fitted to: past rows with outcomes, then today's without.

    Supervised models use the past rows. Models that need no outcome use those of the latest date.
    """
    unknown = today.assign(future_value=np.nan, future_orders=np.nan)
    parts = [labeled[unknown.columns], unknown] if len(labeled) else [unknown]
    return pd.concat(parts, ignore_index=True)


def _starts(*columns: np.ndarray) -> np.ndarray:
    """Return the positions of rows that differ in any column from the row before."""
    if not len(columns[0]):
        return np.zeros(0, int)
    changes = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.flatnonzero(np.concatenate([[True], changes]))


def _plain_date(value: object) -> date:
    return pd.Timestamp(value).date()  # type: ignore[arg-type]
