"""The marts hold the exact money of a whole file at three dates.

The file is a generated one, and the real one that RETAIL_TEST_TRANSACTIONS names, if any.
"""

import os
import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from retail_pipeline.direct_landing import land_records
from retail_pipeline.postgres import Database
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.retail_api import (
    default_as_of,
    open_dataset,
)
from retail_pipeline.settings import CODE_LISTS, FileSource
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker

CODE_LIST = "uci_online_retail"
MARTS = ("--select", "+revenue_daily", "+fct_transaction_items")


class Money(NamedTuple):
    """The expected sums of a part of the file: totals, a month, a country."""

    sales: Decimal
    returns: Decimal
    orders: int
    return_orders: int
    customers: int
    lines: int


def test_money_of_a_generated_file_is_exact(
    database: Database, dbt: DbtWorker, tmp_path: Path
) -> None:
    path = _generated(tmp_path, seed=11)
    dates = [date(2024, 3, 1), date(2024, 5, 17), date(2024, 8, 1)]
    _assert_money_is_exact(database, dbt, path, dates)


def test_money_of_a_real_file_is_exact(database: Database, dbt: DbtWorker) -> None:
    given = os.environ.get("RETAIL_TEST_TRANSACTIONS")
    if not given:
        pytest.skip("RETAIL_TEST_TRANSACTIONS names no file")
    last = default_as_of(FileSource(Path(given)))
    dates = [(last - timedelta(days=days)) for days in (540, 192)]
    _assert_money_is_exact(database, dbt, Path(given), [*dates, last])


def _assert_money_is_exact(
    database: Database, dbt: DbtWorker, path: Path, as_of_dates: list[date]
) -> None:
    """Compare marts and file at each date; each date is an increment on the one before."""
    lines = _lines_that_count(path)
    dbt.build(as_of_dates[0], command="seed")
    for as_of in as_of_dates:
        database.execute(
            "truncate transactional.products, transactional.users, transactional.transactions"
        )
        land_records(
            database, open_dataset(FileSource(path, ReadingOptions(accept_loss=0.1)), as_of).records
        )
        dbt.build(as_of, *MARTS, non_product_codes=CODE_LIST)
        known = lines[lines["ordered_at"] < pd.Timestamp(as_of)]
        expected = dict(_money_of_file(known))
        found = dict(_money_of_marts(database))
        assert found == expected, as_of
        print(as_of, len(found), "parts;", expected["total", ""])  # noqa: T201
        assert _revenue_by_month(database) == {
            key: (money.sales, money.returns, money.orders, money.return_orders)
            for (part, key), money in expected.items()
            if part == "month"
        }


def _lines_that_count(path: Path) -> pd.DataFrame:
    """Return the valid lines of the file with exact amounts and the values of their orders."""
    ids = {"customer_id": str, "invoice": str, "product_id": str}
    lines = pd.read_csv(path, dtype=ids) if path.suffix == ".csv" else pd.read_parquet(path)
    lines = lines.rename(columns={"invoice": "order_id"})
    lines["ts"] = pd.to_datetime(lines["ts"])
    order = lines["order_id"] + lines["ts"].dt.strftime("@%Y-%m-%d")  # an order has one day
    lines = lines.assign(order_id=order)
    # A line without a customer is a guest's, unless its order has one: then it is rejected.
    named = lines["customer_id"].notna()
    lines = lines[named | ~named.groupby(order).transform("any")]
    codes = pd.read_csv(CODE_LISTS).query("code_list == @CODE_LIST")["product_code"]
    products = lines["product_id"].str.upper()
    lines = lines.assign(
        amount=lines["amount"].map(repr).map(Decimal),
        is_return=lines["amount"] < 0,
        is_excluded=products.isin(codes),
        country=lines["country"].fillna(""),
    )
    first = lines.groupby("order_id", sort=False)
    lines["ordered_at"] = first["ts"].transform("first")
    lines["country"] = first["country"].transform("first")
    lines["month"] = lines["ordered_at"].dt.strftime("%Y-%m")
    return lines[~lines["is_excluded"]]


def _money_of_file(lines: pd.DataFrame) -> Iterator[tuple[tuple[str, str], Money]]:
    yield ("total", ""), _money(lines)
    for part in ("month", "country"):
        for key, group in lines.groupby(part):
            yield (part, str(key)), _money(group)


def _money(lines: pd.DataFrame) -> Money:
    sold, returned = lines[~lines["is_return"]], lines[lines["is_return"]]
    return Money(
        sales=sum(sold["amount"], Decimal(0)),
        returns=-sum(returned["amount"], Decimal(0)),
        orders=sold["order_id"].nunique(),
        return_orders=returned["order_id"].nunique(),
        customers=lines["customer_id"].nunique(),
        lines=len(lines),
    )


def _money_of_marts(database: Database) -> Iterator[tuple[tuple[str, str], Money]]:
    with database.connect() as connection:
        rows = connection.execute(
            """
            select
                case when grouping(to_char(items.date_day, 'YYYY-MM')) = 0 then 'month'
                    when grouping(coalesce(country, '')) = 0 then 'country' else 'total' end,
                coalesce(to_char(items.date_day, 'YYYY-MM'), coalesce(country, ''), ''),
                coalesce(sum(items.net_amount) filter (where is_sale), 0),
                coalesce(-sum(items.net_amount) filter (where not is_sale), 0),
                count(distinct transaction_id) filter (where is_sale),
                count(distinct transaction_id) filter (where not is_sale),
                count(distinct items.customer_id),
                count(*)
            from warehouse.fct_transaction_items as items
            inner join warehouse.fct_transactions using (transaction_id)
            cross join lateral (select items.transaction_type = 'sale' as is_sale)
            where not items.is_excluded
            group by grouping sets (
                (), (to_char(items.date_day, 'YYYY-MM')), (coalesce(country, ''))
            )
            """
        ).fetchall()
    for part, key, *values in rows:
        yield (part, key), Money(*values)


def _revenue_by_month(database: Database) -> dict[str, tuple[Decimal, Decimal, int, int]]:
    with database.connect() as connection:
        rows = connection.execute(
            "select to_char(date_day, 'YYYY-MM'), sum(sales_amount), sum(returns_amount), "
            "sum(orders), sum(return_orders) from warehouse.revenue_daily "
            "group by 1 having sum(orders) + sum(return_orders) > 0"
        ).fetchall()
    return {month: tuple(values) for month, *values in rows}


def _generated(folder: Path, seed: int) -> Path:
    """Return eight months of orders: prices of .001, mixed signs, postage, bad lines."""
    dice = random.Random(seed)
    rows = []
    for number in range(400):
        at = datetime(2024, 1, 1) + timedelta(minutes=dice.randrange(240 * 24 * 60))
        signs = dice.choice([(1,), (1,), (1,), (-1,), (1, -1)])
        for _ in range(dice.randrange(1, 6)):
            quantity = dice.choice(signs) * dice.randrange(1, 40)
            price = dice.randrange(1, 20_000) / dice.choice([100, 100, 1000])
            rows.append(
                {
                    "customer_id": f"K{dice.randrange(60)}" if dice.random() > 0.02 else None,
                    "invoice": f"{500_000 + number}",
                    "ts": at.isoformat(sep=" "),
                    "product_id": dice.choice(["A1", "a1", "B7", "POST", "TEST001"]),
                    "quantity": quantity,
                    "unit_price": price,
                    "amount": round(quantity * price, 3),
                    "country": dice.choice(["France", "Spain", "EIRE"]),
                }
            )
            # An invoice has one customer; some have lines after midnight.
            rows[-1]["customer_id"] = rows[-1]["customer_id"] and f"K{number % 60}"
            at += timedelta(hours=dice.choice([0, 0, 0, 9]) if len(signs) == 1 else 0)
    path = folder / "orders.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path
