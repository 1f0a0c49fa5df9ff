"""The marts for analysts equal what pandas computes from the records, awkward ones among them."""

import random
from datetime import date, datetime, timedelta
from itertools import permutations
from typing import Any

import pandas as pd
import pytest

from retail_pipeline.postgres import Database
from retail_pipeline.warehouse.project import read_manifest
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import land, line, transaction

COSTS = {"P1": 1.25, "P2": 2.5, "P3": 0.001, "P4": None}
"""Costs of the listed products; lines also name P5, POST and no product."""
CATEGORIES = {"P1": "Mugs", "P2": "Mugs", "P3": "Toys", "P4": None}
DEARER = ("P1", date(2024, 2, 10), 4.0)
"""A product, the day from which it has another cost, and that cost."""
SALE, MONEY = "sale", ["net_amount", "margin_amount"]


def records(seed: int, count: int = 260, days: int = 170) -> list[dict[str, Any]]:
    """Return sales and returns of half a year or other days, of few customers and products."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        kind = dice.choice([SALE, SALE, SALE, "return"])
        sign = 1 if kind == SALE else -1
        lines: list[dict[str, Any]] = []
        for _ in range(dice.choice([0, 1, 1, 2, 3, 5])):
            product = dice.choice(["P1", "P2", "P3", "P4", "P5", "POST", None])
            lines.append(
                {
                    **line(sign * dice.randrange(0, 5000) / 100, product_id=product),
                    "quantity": dice.choice([sign, 2 * sign, 3 * sign, None]),
                    "discount": dice.choice([0, 0.5]),
                }
            )
        if kind == SALE and dice.random() < 0.1:  # a voucher
            lines.append({"product_id": "P1", "quantity": 1, "unit_price": -3, "amount": -3})
        if dice.random() < 0.05:
            lines.append({"product_id": "P1", "quantity": 1, "amount": "NaN"})
        at = datetime(2023, 12, 20) + timedelta(
            days=dice.randrange(days), hours=dice.choice([1, 9])
        )
        made.append(
            transaction(
                f"T{number}",
                dice.choice([*(f"K{customer}" for customer in range(14)), None]),
                f"{at}Z",
                lines,
                type=kind,
                recorded_at=f"{at + timedelta(days=dice.choice([0, 0, 40]))}Z",
                country=dice.choice(["France", "Spain", None]),
                channel=dice.choice(["web", None]),
            )
        )
    return made


def landed(database: Database, dbt: DbtWorker, as_of: date, zone: str, seed: int) -> pd.DataFrame:
    """Build the marts of random records and return the lines that count, as pandas has them."""
    made = records(seed)
    land(database, "transactions", made)
    known = {"recorded_at": "2023-01-01T12:00Z", "updated_at": "2023-01-01T12:00Z"}
    land(
        database,
        "products",
        [
            {"product_id": name, "cost": cost, "category": CATEGORIES[name], **known}
            for name, cost in COSTS.items()
        ],
    )
    dbt.build(as_of, "--select", "+product_versions", time_zone=zone)
    name, changed, cost = DEARER
    database.execute(
        "update transactional.products set cost = %s, updated_at = %s where product_id = %s",
        [cost, f"{changed}T12:00Z", name],
    )
    rules = {"time_zone": zone, "non_product_codes": "uci_online_retail"}
    dbt.build(as_of, command="seed")
    dbt.build(as_of, tests=True, **rules)

    rows = pd.DataFrame(
        {**record, **item, "number": number}
        for record in made
        for number, item in enumerate(record["items"], 1)
        if item["amount"] != "NaN" and item["product_id"] != "POST"
    )
    times = rows[["transacted_at", "recorded_at"]].apply(pd.to_datetime, utc=True)
    local = times.apply(lambda column: column.dt.tz_convert(zone).dt.date)
    rows = rows.assign(time=times["transacted_at"], day=local["transacted_at"])
    return costed(rows[local.max(axis=1) < as_of])


def costed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return lines with the columns of the marts."""
    name, changed, dearer = DEARER
    cost = rows["product_id"].map(COSTS).astype(float)
    cost = cost.mask((rows["product_id"] == name) & (rows["day"] >= changed), dearer)
    voucher = (rows["type"] == SALE) & (rows["amount"] < 0)
    discount = rows["discount"].fillna(0).mask(voucher, -rows["amount"])
    sale = rows["type"] == SALE
    quantity = rows["quantity"].astype(float)
    net = rows["amount"].astype(float)
    return pd.DataFrame(
        {
            "transaction_id": rows["transaction_id"],
            "customer_id": rows["user_id"],
            "product_id": rows["product_id"],
            "time": rows["time"],
            "date_day": rows["day"],
            "month_start": [day.replace(day=1) for day in rows["day"]],
            "country": rows["country"].fillna("unknown"),
            "channel": rows["channel"].fillna("unknown"),
            "product_category": rows["product_id"].map(CATEGORIES).fillna("unknown"),
            "is_sale": sale,
            "number": rows["number"],
            "lines": sale.astype(int),
            "quantity": quantity.where(sale, 0).fillna(0),
            "returned_quantity": -quantity.where(~sale, 0).fillna(0),
            "gross_amount": (net + discount).where(sale, 0),
            "discount_amount": discount.where(sale, 0),
            "sales_amount": net.where(sale, 0),
            "returns_amount": -net.where(~sale, 0),
            "net_amount": net,
            "costed_net_amount": net.where((quantity * cost).notna(), 0),
            "margin_amount": net - quantity * cost,
        }
    )


def complete(month: date, as_of: date) -> bool:
    return (month + timedelta(days=32)).replace(day=1) <= as_of


def table(database: Database, name: str, keys: list[str]) -> dict[Any, dict[str, Any]]:
    """Return the rows of a mart by key, numbers rounded, missing ones as None."""
    frame = database.read(f"warehouse.{name}")
    for column in frame.columns:
        if pd.api.types.is_datetime64_any_dtype(frame[column]) and column.endswith(
            ("day", "start", "month")
        ):
            frame[column] = frame[column].dt.date
    return plain(frame, keys)


def plain(frame: pd.DataFrame, keys: list[str]) -> dict[Any, dict[str, Any]]:
    rows = {}
    for row in frame.to_dict("records"):
        key = tuple(row[name] for name in keys)
        assert key not in rows, key
        rows[key] = {name: rounded(value) for name, value in row.items() if name not in keys}
    return rows


def rounded(value: Any) -> Any:
    if value is None or pd.isna(value):
        return None
    if isinstance(value, str | bool | date):
        return value
    try:
        return round(float(value), 6) + 0
    except TypeError:
        return value


def sums(lines: pd.DataFrame, keys: list[str], as_of: date) -> pd.DataFrame:
    """Return the additive measures of lines by some keys, and the flag of the month."""
    measures = list(lines.columns[lines.columns.get_loc("lines") :])
    found = lines.groupby(keys)[measures].sum(min_count=1).reset_index()
    flags = [complete(day.replace(day=1), as_of) for day in found["date_day"]]
    return found.assign(is_complete_month=flags)


def counted(lines: pd.DataFrame, keys: list[str]) -> pd.Series:
    return lines.groupby(keys)["transaction_id"].nunique()


CASES = [(1, "UTC", date(2024, 5, 1)), (2, "America/New_York", date(2024, 5, 20))]


@pytest.mark.parametrize(("seed", "zone", "as_of"), CASES)
def test_marts_of_analysts_are_those_of_pandas(
    database: Database, dbt: DbtWorker, seed: int, zone: str, as_of: date
) -> None:
    lines = landed(database, dbt, as_of, zone, seed)
    assert table(database, "product_daily", ["date_day", "product_id"]) == products(lines, as_of)
    keys = ["date_day", "country", "channel", "product_category"]
    assert table(database, "sales_daily", keys) == sales(lines, keys, as_of)
    assert table(database, "customer_months", ["customer_id", "month_start"]) == months(
        lines, as_of
    )
    assert table(database, "product_pairs", ["product_id", "other_product_id"]) == pairs(lines)
    numbers = table(database, "fct_transactions", ["transaction_id"])
    found = {key[0]: row["order_number"] for key, row in numbers.items() if row["order_number"]}
    assert found == order_numbers(lines)
    assert {row["is_first_order"] for row in numbers.values()} == {True, False, None}
    for name in ("dim_dates", "revenue_daily"):
        for (day,), row in table(database, name, ["date_day"]).items():
            assert row["is_complete_month"] == complete(day.replace(day=1), as_of), day
    for row in table(database, "cohort_retention", ["cohort_month", "months_since"]).values():
        assert row["is_complete_month"] == complete(row["month_start"], as_of)
    assert metrics(database) == pytest.approx(expected_metrics(lines, as_of))


def metrics(database: Database) -> dict[str, float]:
    """Return each metric of dbt's semantic layer over the whole time."""
    manifest = read_manifest()
    measures = {
        measure["name"]: (model["node_relation"], measure)
        for model in manifest["semantic_models"].values()
        for measure in model["measures"]
    }
    values, ratios = {}, {}
    for metric in manifest["metrics"].values():
        given = metric["type_params"]
        if metric["type"] == "ratio":
            ratios[metric["name"]] = given["numerator"]["name"], given["denominator"]["name"]
            continue
        relation, measure = measures[given["measure"]["name"]]
        form = {"sum": "sum({})", "count_distinct": "count(distinct {})"}[measure["agg"]]
        table = f"{relation['schema_name']}.{relation['alias']}"
        found = database.query(f"select {form.format(measure['expr'])} as value from {table}")
        values[metric["name"]] = float(found["value"].iloc[0])
    return values | {name: values[one] / values[other] for name, (one, other) in ratios.items()}


def expected_metrics(lines: pd.DataFrame, as_of: date) -> dict[str, float]:
    numbers, rows = order_numbers(lines), months(lines, as_of)
    number = lines["transaction_id"].map(numbers)
    orders_of = lines.loc[number.notna()].groupby("customer_id")["transaction_id"].nunique()
    statuses = pd.Series([(row["month_status"], row["is_complete_month"]) for row in rows.values()])
    of = statuses.value_counts().to_dict()
    retained, lapsed = of["retained", True], of["lapsed", True]
    firsts = [row["cohort_month"] for row in rows.values() if row["month_status"] == "new"]
    last = lines.loc[lines["customer_id"].notna(), "month_start"].max()
    later = [m for m in sorted(set(lines["month_start"])) if m <= last and complete(m, as_of)]
    cohorts = sum(month > first for first in firsts for month in later)
    back = retained + of["reactivated", True]
    orders = lines.loc[lines["is_sale"], "transaction_id"].nunique()
    total = lines.sum(numeric_only=True)
    return {
        "net_revenue": total["net_amount"],
        "sales": total["sales_amount"],
        "gross_sales": total["gross_amount"],
        "discounts": total["discount_amount"],
        "returns": total["returns_amount"],
        "units": total["quantity"],
        "orders": orders,
        "customers": len(orders_of),
        "new_customers": len(firsts),
        "new_revenue": lines.loc[number == 1, "net_amount"].sum(),
        "repeat_revenue": lines.loc[number > 1, "net_amount"].sum(),
        "retained_customers": retained,
        "reactivated_customers": back - retained + of.get(("reactivated", False), 0),
        "lapsed_customers": lapsed,
        "margin": total["margin_amount"],
        "costed_revenue": total["costed_net_amount"],
        "customers_with_orders": len(orders_of),
        "customers_with_repeat_orders": (orders_of > 1).sum(),
        "customers_of_the_month_before": retained + lapsed,
        "returning_cohort_customers": back,
        "cohort_customers": cohorts,
        "average_order_value": total["sales_amount"] / orders,
        "return_rate": total["returns_amount"] / total["sales_amount"],
        "discount_rate": total["discount_amount"] / total["gross_amount"],
        "margin_rate": total["margin_amount"] / total["costed_net_amount"],
        "repeat_rate": (orders_of > 1).sum() / len(orders_of),
        "retention": back / cohorts,
        "month_to_month_retention": retained / (retained + lapsed),
    }


def products(lines: pd.DataFrame, as_of: date) -> dict[Any, dict[str, Any]]:
    keys = ["date_day", "product_id"]
    orders = counted(lines[lines["is_sale"]], keys).rename("orders").reset_index()
    found = sums(lines.dropna(subset=["product_id"]), keys, as_of).merge(orders, "left", keys)
    return plain(found.assign(orders=found["orders"].fillna(0)), keys)


def sales(lines: pd.DataFrame, keys: list[str], as_of: date) -> dict[Any, dict[str, Any]]:
    found = sums(lines, keys, as_of)
    first = lines.sort_values("number").drop_duplicates("transaction_id")
    for name, chosen in {
        "orders": first[first["is_sale"]],
        "return_orders": first[~first["is_sale"]],
        "orders_with_category": lines[lines["is_sale"]],
    }.items():
        found = found.merge(counted(chosen, keys).rename(name).reset_index(), "left", keys)
        found[name] = found[name].fillna(0)
    return plain(found, keys)


def order_numbers(lines: pd.DataFrame) -> dict[str, float]:
    orders = lines[lines["is_sale"] & lines["customer_id"].notna()]
    orders = orders.drop_duplicates("transaction_id").sort_values(["time", "transaction_id"])
    ranks = orders.groupby("customer_id").cumcount() + 1
    return dict(zip(orders["transaction_id"], ranks.astype(float), strict=True))


def months(lines: pd.DataFrame, as_of: date) -> dict[Any, dict[str, Any]]:
    """Return the customer-months, customer by customer and month by month."""
    rows = {}
    for customer, own in lines.dropna(subset=["customer_id"]).groupby("customer_id"):
        days = own.groupby("date_day")["net_amount"].sum().round(6)
        bought = {day.replace(day=1) for day, amount in days.items() if amount > 0}
        if not bought:
            continue
        first = month = min(bought)
        before, total = False, dict.fromkeys(MONEY)
        while month < as_of:
            start = date.min if month == first else month
            end = (month + timedelta(days=32)).replace(day=1)
            of_month = own[(own["date_day"] >= start) & (own["date_day"] < end)]
            over = complete(month, as_of)
            amounts = {name: rounded(of_month[name].sum(min_count=1)) for name in MONEY}
            for name, amount in amounts.items():
                if amount is not None:
                    total[name] = (total[name] or 0) + amount
            if len(of_month) or (before and over):
                rows[customer, month] = {
                    "month_status": status(month, first, bought, before=before, over=over),
                    "months_since": 12 * (month.year - first.year) + month.month - first.month,
                    "orders": of_month.loc[of_month["is_sale"], "transaction_id"].nunique(),
                    "net_amount": amounts["net_amount"] or 0,
                    "margin_amount": amounts["margin_amount"],
                    **{f"cumulative_{name}": rounded(total[name]) for name in MONEY},
                    "cohort_month": first,
                    "is_complete_month": over,
                }
            before, month = month in bought, end
    return rows


def status(month: date, first: date, bought: set[date], *, before: bool, over: bool) -> str:
    if month == first:
        return "new"
    if month in bought:
        return "retained" if before else "reactivated"
    return "lapsed" if before and over else "inactive"


def pairs(lines: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    sold = lines[lines["is_sale"]]
    orders = sold["transaction_id"].nunique()
    named = sold.dropna(subset=["product_id"])
    single = counted(named, ["product_id"])
    both: dict[Any, int] = {}
    for _, basket in named.groupby("transaction_id")["product_id"]:
        for pair in permutations(sorted(set(basket)), 2):
            both[pair] = both.get(pair, 0) + 1
    return {
        (one, other): {
            "orders_with_both": number,
            "orders_with_product": single[one],
            "orders_with_other": single[other],
            "orders": orders,
            "support": rounded(number / orders),
            "confidence": rounded(number / single[one]),
            "lift": rounded(number * orders / (single[one] * single[other])),
        }
        for (one, other), number in both.items()
        if number >= 5
    }


def test_large_orders_and_rare_products_are_in_no_pair(database: Database, dbt: DbtWorker) -> None:
    """An order of 101 lines counts nowhere; of 201 products, the 200 with the most lines do."""
    names = [f"P{number:03}" for number in range(201)]
    at = "2024-04-01T10:00:00Z"
    orders = [[*names[:99]], [*names[99:198]], ["P198", "P199"], ["P198", "P200"]]
    made = [
        transaction(f"T{part}-{again}", None, at, [line(1, product_id=name) for name in order])
        for part, order in enumerate(orders)
        for again in range(5)
    ]
    large = [line(1, product_id=names[number % 3]) for number in range(101)]
    made.append(transaction("large", None, at, large))
    made.append(transaction("old", None, "2023-04-01T10:00:00Z", [line(1, product_id="P000")]))
    land(database, "transactions", made)
    dbt.build(date(2024, 4, 15), command="seed")
    dbt.build(date(2024, 4, 15), "--select", "+product_pairs")
    found = table(database, "product_pairs", ["product_id", "other_product_id"])
    assert len(found) == 2 * 99 * 98 + 2
    assert {row["orders"] for row in found.values()} == {20}
    assert found["P198", "P199"]["confidence"] == 0.5
    assert ("P198", "P200") not in found  # of equal products, the last id is left out


def test_a_cost_in_another_currency_is_no_cost(database: Database, dbt: DbtWorker) -> None:
    known = {"recorded_at": "2023-01-01T12:00Z", "cost": 1}
    land(
        database,
        "products",
        [
            {"product_id": name, "currency": currency, **known}
            for name, currency in {"A1": "eur", "A2": " gbp", "A3": None}.items()
        ],
    )
    lines = [line(5, product_id=name) for name in ("A1", "A2", "A3", "A4")]
    land(database, "transactions", [transaction("T1", "K1", "2024-01-02T10:00:00Z", lines)])
    dbt.build(date(2024, 4, 15), command="seed")
    dbt.build(date(2024, 4, 15), "--select", "+fct_transaction_items")
    rows = table(database, "fct_transaction_items", ["product_id"])
    costs = {key[0]: row["cost_amount"] for key, row in rows.items()}
    assert costs == {"A1": None, "A2": 1, "A3": 1, "A4": None}
