"""Records that no shop should send: each is marked with a reason, and the build goes on."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from retail_pipeline import shared_queries
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.warehouse.run import dbt_build
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import ODD_TRANSACTIONS, land, line, transaction

AS_OF = date(2024, 4, 15)
AT = "2024-01-02T10:00:00Z"


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(query).fetchall()


def test_unreadable_records_are_marked_and_the_rest_counts(
    database: Database, dbt: DbtWorker
) -> None:
    land(database, "transactions", ODD_TRANSACTIONS)
    dbt.build(AS_OF, tests=True)

    assert rows(
        database,
        "select transaction_id, line_count, net_amount - excluded_net_amount, exclusion_reason "
        "from warehouse.fct_transactions order by 1",
    ) == [
        ("doubled", 3, 2, None),
        ("fine", 3, Decimal("2.501"), None),
        ("loan", 1, 0, "neither sale nor return"),
        ("nothing", 0, 0, "lines are no list"),
        ("object", 0, 0, "lines are no list"),
        ("odd", 10, 100, None),
        ("own", 2, 2, None),
        ("some", 2, 2, None),
        ("timeless", 1, 0, "no time"),
        ("words", 3, 0, "no readable amount"),
    ]
    numbers = (
        "select transaction_id, array_agg(line_number order by line_number) "
        "from warehouse.fct_transaction_items where transaction_id = any('{doubled, own, some}') "
        "group by 1 order by 1"
    )
    assert rows(database, numbers) == [
        ("doubled", [1, 2, 3]),
        ("own", [10, 20]),
        ("some", [1, 2]),
    ]
    found = {each["reason"]: each["lines"] for each in shared_queries.excluded_lines(database)}
    assert found == {
        "no readable amount": 12,
        "line number doubled": 1,
        "lines are no list": 2,
        "neither sale nor return": 1,
        "no time": 1,
    }
    assert rows(database, "select customer_id, net_amount from warehouse.customer_days") == [
        ("K1", Decimal("102.501")),
        ("K2", 6),
    ]
    assert rows(database, "select sum(net_amount) from warehouse.revenue_daily") == [
        (Decimal("108.501"),)
    ]
    not_finite = (
        "select count(*) from warehouse.fct_transaction_items "
        "where net_amount::text in ('NaN', 'Infinity', '-Infinity') or "
        "gross_amount::text in ('NaN', 'Infinity', '-Infinity')"
    )
    assert rows(database, not_finite) == [(0,)]


def test_prices_that_a_real_airbyte_landed_as_nan_are_unknown(
    database: Database, dbt: DbtWorker
) -> None:
    product = {"product_id": "A1", "recorded_at": AT}
    land(database, "products", [{**product, "price": "NaN", "cost": "Infinity"}])
    dbt.build(AS_OF, "--select", "+dim_products")
    assert rows(database, "select price, cost from warehouse.dim_products") == [(None, None)]


def test_a_voucher_is_a_discount_of_its_sale(database: Database, dbt: DbtWorker) -> None:
    voucher = {"product_id": "CODE10", "quantity": 1, "unit_price": -10, "amount": -10}
    back = {"product_id": "A1", "quantity": -1, "unit_price": 5, "amount": -5}
    land(
        database,
        "transactions",
        [
            transaction("T1", "K1", AT, [line(100, discount=5), voucher]),
            transaction("T2", "K1", AT, [line(20), back]),
            transaction("R1", "K1", AT, [{"amount": -3}], type="return"),
        ],
    )
    dbt.build(AS_OF, tests=True)
    assert rows(
        database,
        "select transaction_id, gross_amount, discount_amount, net_amount "
        "from warehouse.fct_transactions order by 1",
    ) == [("R1", -3, 0, -3), ("T1", 105, 15, 90), ("T2", 15, 0, 15)]
    day = "select sales_amount, returns_amount, orders, return_orders from warehouse.revenue_daily"
    assert rows(database, f"{day} where orders > 0") == [(105, 3, 2, 1)]
    prices = "select mean_unit_price from warehouse.customer_features limit 1"
    assert rows(database, prices) == [(pytest.approx(Decimal(130) / 3),)]


def test_sales_of_guests_are_revenue_without_a_customer(database: Database, dbt: DbtWorker) -> None:
    land(
        database,
        "transactions",
        [
            transaction("T1", "K1", AT, [line(100)]),
            transaction("T2", None, AT, [line(40)]),
            transaction("T3", "", AT, [line(10)]),
            transaction("R2", None, AT, [line(-20, quantity=-1)], type="return"),
        ],
    )
    dbt.build(AS_OF, tests=True)
    revenue = "select sum(sales_amount), sum(returns_amount), sum(orders), max(customers)"
    assert rows(database, f"{revenue} from warehouse.revenue_daily") == [(150, 20, 3, 1)]
    assert rows(database, "select customer_id, net_amount from warehouse.customer_days") == [
        ("K1", 100)
    ]
    assert rows(database, "select customer_id from warehouse.dim_customers") == [("K1",)]
    assert rows(database, "select distinct customer_id from warehouse.customer_features") == [
        ("K1",)
    ]
    guests = shared_queries.guest_sales(database)
    assert guests == {
        "transactions": 3,
        "net_amount": 30.0,
        "share_of_transactions": 0.75,
        "share_of_money": pytest.approx(70 / 170),
    }
    assert "3 transactions of 30 (41.2% of the money)" in shared_queries.guests_in_words(guests)


def test_an_excluded_line_in_a_second_currency_stops_nothing(database: Database) -> None:
    postage = transaction("T2", "K1", AT, [line(2, product_id="POST")], currency="EUR")
    sale = transaction("T1", "K1", AT, [line(1)], currency="gbp ")
    land(database, "transactions", [sale, transaction("T3", "K1", AT, [line(1)]), postage])
    selected, of_uci = "+customer_days", {"non_product_codes": "uci_online_retail"}
    dbt_build(database.url, selected, of_uci, as_of=AS_OF)
    with pytest.raises(PipelineError, match="money_is_in_one_currency"):
        dbt_build(database.url, selected, as_of=AS_OF)
