"""A small shop for the tests of customer value.

Customer-day entries drawn from a known process, and the columns of the features mart that models
read.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2020-01-01")


def entries(customers: int = 300, days: int = 720, seed: int = 3) -> pd.DataFrame:
    """Return entries of customers who join over half the span, buy at gamma rates and drop out."""
    random = np.random.default_rng(seed)
    joined = random.integers(0, days // 2, customers)
    joined[: customers // 3] = 0
    rate = random.gamma(0.9, 1 / 60, customers)
    life = random.exponential(1 / random.gamma(0.8, 1 / 150, customers))
    spend = random.lognormal(3.5, 0.6, customers)
    rows = []
    for number in range(customers):
        last = min(days, joined[number] + life[number])
        count = random.poisson(rate[number] * (last - joined[number]))
        bought = {int(joined[number])} | set(
            random.uniform(joined[number], last, count).astype(int)
        )
        for day in sorted(bought):
            amount = round(spend[number] * random.lognormal(0, 0.5), 2)
            rows.append((f"c{number:04d}", START + day * DAY, amount))
            if random.random() < 0.03:
                late = START + (day + 10) * DAY
                rows.append((f"c{number:04d}", late, -round(amount / 2, 2)))
    frame = pd.DataFrame(rows, columns=["customer_id", "date_day", "net_amount"])
    frame = frame.groupby(["customer_id", "date_day"], as_index=False)["net_amount"].sum()
    return frame.assign(known_date=frame["date_day"])


def features(entries: pd.DataFrame, dates: Sequence[date]) -> pd.DataFrame:
    """Return the rows of the features mart at the dates."""
    return pd.concat([_at(entries, pd.Timestamp(day)) for day in dates], ignore_index=True)


def month_starts(until: date, months: int = 18) -> list[date]:
    """Return the month starts from 90 days after the start on, and `until` itself."""
    starts = pd.date_range(START + 90 * DAY, until, freq="MS")
    return sorted({*(day.date() for day in starts[-months:]), until})


def _at(entries: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    known = entries[(entries["date_day"] < as_of) & (entries["known_date"] < as_of)]
    days = known.groupby(["customer_id", "date_day"], as_index=False)["net_amount"].sum()
    days["ago"] = (as_of - days["date_day"]).dt.days
    bought = days[days["net_amount"] > 0]
    mine = bought.groupby("customer_id")
    frame = pd.DataFrame(
        {
            "first_purchase_date": mine["date_day"].min(),
            "last_purchase_date": mine["date_day"].max(),
            "purchase_days": mine.size(),
            "mean_purchase_value": mine["net_amount"].mean(),
            "max_purchase_value": mine["net_amount"].max(),
            "sd_purchase_value": mine["net_amount"].std(),
            "log_purchase_value_sum": np.log(bought["net_amount"])
            .groupby(bought["customer_id"])
            .sum(),
        }
    )
    frame["cohort_month"] = frame["first_purchase_date"].dt.to_period("M").dt.start_time
    frame["age_days"] = (as_of - frame["first_purchase_date"]).dt.days
    frame["recency_days"] = (as_of - frame["last_purchase_date"]).dt.days
    frame["total_net_amount"] = _window(days, frame, "net_amount", 10**6)
    for width in (7, 30, 60, 90, 180, 365):
        frame[f"net_amount_{width}d"] = _window(days, frame, "net_amount", width)
    for width in (30, 90, 180, 365):
        frame[f"purchase_days_{width}d"] = _window(bought.assign(one=1), frame, "one", width)
    fading = days["net_amount"] * 0.5 ** (days["ago"] / 90)
    frame["net_amount_ewm_90d"] = fading.groupby(days["customer_id"]).sum()
    months = bought["date_day"].dt.to_period("M").groupby(bought["customer_id"]).nunique()
    frame["active_months"] = months
    frame["distinct_products"] = frame["purchase_days"]
    between = frame["age_days"] - frame["recency_days"]
    frame["gap_mean_days"] = between / (frame["purchase_days"] - 1).replace(0, np.nan)
    frame["country"], frame["channel"] = "GB", None
    return frame.reset_index().assign(as_of_date=as_of)


def _window(rows: pd.DataFrame, frame: pd.DataFrame, column: str, width: int) -> pd.Series:
    inside = rows[rows["ago"] <= width].groupby("customer_id")[column].sum()
    return inside.reindex(frame.index).fillna(0)
