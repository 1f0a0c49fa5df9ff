"""`warehouse.customer_features` in plain pandas, to compare the SQL with."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

Record = dict[str, Any]


def expected_features(
    transactions: list[Record],
    products: list[Record],
    users: list[Record],
    as_of_dates: list[date],
) -> pd.DataFrame:
    """Return the features of the API's records, which hold no excluded lines.

    Args:
        transactions: The records of the API, each once.
        products: All versions that the API has served.
        users: All versions that the API has served.
        as_of_dates: The dates to compute.
    """
    rows = []
    for as_of in as_of_dates:
        known = [t for t in transactions if _known(t, as_of)]
        attributes = {u["user_id"]: u for u in _in_order(users, as_of)}
        for customer in sorted({t["user_id"] for t in known}):
            mine = [t for t in known if t["user_id"] == customer]
            row = _customer(mine, products, attributes.get(customer, {}), as_of)
            if row:
                rows.append({"customer_id": customer, "as_of_date": as_of, **row})
    return pd.DataFrame(rows)


def _midnight(day: date) -> pd.Timestamp:
    return pd.Timestamp(day, tz="UTC")


def _known(record: Record, as_of: date) -> bool:
    return max(_time(record), pd.Timestamp(record["recorded_at"])) < _midnight(as_of)


def _time(record: Record) -> pd.Timestamp:
    return pd.Timestamp(record["transacted_at"])


def _net(record: Record) -> float:
    return sum(line["amount"] for line in record["items"])


def _in_order(versions: list[Record], as_of: date) -> list[Record]:
    known = [v for v in versions if _version_day(v) < as_of]
    return sorted(known, key=lambda v: v["updated_at"])


def _version_day(version: Record) -> date:
    latest = max(pd.Timestamp(version["updated_at"]), pd.Timestamp(version["recorded_at"]))
    return latest.date()


def _assortment(mine: list[Record], products: list[Record], as_of: date) -> Record:
    bought: dict[str, date] = {}
    for sale in (t for t in mine if t["type"] == "sale"):
        known = max(_time(sale), pd.Timestamp(sale["recorded_at"])).date()
        for name in {line["product_id"] for line in sale["items"]} - {None}:
            bought[name] = min(known, bought.get(name, known))
    categories, prices = set(), []
    for name, day in bought.items():
        versions = _in_order([p for p in products if p["product_id"] == name], as_of)
        for number, version in enumerate(versions):
            is_last = number + 1 == len(versions)
            if is_last or _version_day(versions[number + 1]) > day:
                categories.add(version["category"])
        prices += [versions[-1]["price"]] if versions and versions[-1]["price"] else []
    return {
        "distinct_products": len(bought),
        "distinct_categories": len(categories - {None}),
        "mean_list_price": np.mean(prices) if prices else np.nan,
    }


def _customer(
    mine: list[Record], products: list[Record], user: Record, as_of: date
) -> Record | None:
    days = pd.Series([_net(t) for t in mine], index=[_time(t).date() for t in mine])
    days = days.groupby(level=0).sum().round(9).sort_index()
    bought = days[days > 0]
    if bought.empty:
        return None
    ago = np.array([(as_of - day).days for day in days.index])
    bought_ago = np.array([(as_of - day).days for day in bought.index])
    gaps = -np.diff(bought_ago)
    sales = [t for t in mine if t["type"] == "sale"]
    returns = [t for t in mine if t["type"] == "return"]
    lines = [line for t in sales for line in t["items"]]
    last = max(sales, key=lambda t: (_time(t), t["transaction_id"]))
    sold = sum(_net(t) for t in sales)
    returned = -sum(_net(t) for t in returns)

    def window(older: int, newer: int = 0) -> float:
        return float(days[(ago <= older) & (ago > newer)].sum())

    def ratio(above: float, below: float) -> float:
        return above / below if below else np.nan

    gap_mean = gaps.mean() if len(gaps) else np.nan
    gap_sd = gaps.std(ddof=1) if len(gaps) > 1 else np.nan
    return {
        "cohort_month": bought.index[0].replace(day=1),
        "first_purchase_date": bought.index[0],
        "last_purchase_date": bought.index[-1],
        "purchase_days": len(bought),
        "age_days": bought_ago[0],
        "recency_days": bought_ago[-1],
        "total_net_amount": days.sum(),
        "purchase_amount": bought.sum(),
        "mean_purchase_value": bought.mean(),
        "log_purchase_value_sum": np.log(bought.astype(float)).sum(),
        "sd_purchase_value": bought.std() if len(bought) > 1 else np.nan,
        "max_purchase_value": bought.max(),
        "first_purchase_value": bought.iloc[0],
        "last_purchase_value": bought.iloc[-1],
        **{f"net_amount_{w}d": window(w) for w in (7, 30, 60, 90, 180, 365)},
        **{f"purchase_days_{w}d": (bought_ago <= w).sum() for w in (30, 90, 180, 365)},
        "net_amount_prev_90d": window(180, 90),
        "trend_90d": window(90) - window(180, 90),
        "net_amount_ewm_90d": (days * 0.5 ** (ago / 90)).sum(),
        "net_amount_year_ago_90d": window(365, 275),
        "net_amount_year_ago_180d": window(365, 185),
        "gap_mean_days": gap_mean,
        "gap_sd_days": gap_sd,
        "gap_median_days": np.median(gaps) if len(gaps) else np.nan,
        "gap_cv": gap_sd / gap_mean,
        "recency_over_gap": bought_ago[-1] / gap_mean,
        "active_months": len({day.replace(day=1) for day in bought.index}),
        "orders": len(sales),
        "lines": len(lines),
        "quantity": sum(line["quantity"] for line in lines),
        "lines_per_order": len(lines) / len(sales),
        "mean_unit_price": np.mean([line["unit_price"] for line in lines]),
        **_assortment(mine, products, as_of),
        "returns_amount": returned,
        "returns_rate": ratio(returned, sold),
        "return_orders": len(returns),
        "days_since_return": min(((as_of - _time(t).date()).days for t in returns), default=np.nan),
        "weekend_share": np.mean([_time(t).dayofweek >= 5 for t in sales]),
        "mean_hour": np.mean([_time(t).hour + _time(t).minute / 60 for t in sales]),
        "country": last["country"] or user.get("country"),
        "channel": last["channel"],
        "days_since_registration": (as_of - pd.Timestamp(user["created_at"]).date()).days
        if user
        else np.nan,
        "month_of_year": as_of.month,
    }
