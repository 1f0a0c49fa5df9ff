"""A dbt build on landing rows made by hand gives exact rows and amounts of the marts."""

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from retail_pipeline import shared_queries
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse.checks import excluded_lines_are_few
from retail_pipeline.warehouse.run import dbt_build
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import land, land_file, line, transaction

AS_OF = date(2024, 4, 15)


def _rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(query).fetchall()


def test_marts_hold_every_line_and_count_what_counts(database: Database) -> None:
    database.execute(
        "alter default privileges for role retail_transformer in schema staging "
        "grant select on tables to pg_monitor"
    )
    land(
        database,
        "users",
        [
            {
                "user_id": "K1",
                "name": "Ada",
                "email": "ada@example.org",
                "country": "France",
                "recorded_at": "2024-01-01T00:00:00Z",
            },
            {"user_id": "K9", "country": "Spain", "recorded_at": "2024-01-01T00:00:00Z"},
        ],
    )
    land(
        database,
        "products",
        [{"product_id": "A1", "category": "Mugs", "recorded_at": "2023-01-01T00:00:00Z"}],
    )
    back = {"type": "return", "recorded_at": "2024-02-03T10:00:00Z"}
    land(
        database,
        "transactions",
        [
            # Half past midnight in UTC+1 is the day before in UTC.
            transaction(
                "T1", "K1", "2024-01-02T00:30:00+01:00", [line(9.5, discount=0.5), line(3)]
            ),
            transaction(
                "T2", "K1", "2024-02-01T10:00:00Z", [line(4), line(2.5, product_id="POST")]
            ),
            transaction("R2", "K1", "2024-02-03T10:00:00Z", [line(-4, quantity=-1)], **back),
            transaction("T3", "K2", "2024-01-02T10:00:00Z", [line(0.001, product_id="a1")]),
            transaction("T4", "K2", "2024-01-02T10:00:00Z", [line(1, product_id="TEST001")]),
            transaction("T5", "K2", "2024-01-02T11:00:00Z", []),
        ],
    )

    rules = Settings(non_product_codes="uci_online_retail")
    dbt_build(database.url, as_of=AS_OF, settings=rules, unit_tests=True)

    transactions = "warehouse.fct_transactions order by transaction_id"
    assert _rows(
        database,
        "select transaction_id, line_count, gross_amount::text, discount_amount::text, "
        f"net_amount::text, excluded_net_amount::text, exclusion_reason from {transactions}",
    ) == [
        ("R2", 1, "-4", "0", "-4", "0", None),
        ("T1", 2, "13.0", "0.5", "12.5", "0", None),
        ("T2", 2, "6.5", "0", "6.5", "2.5", None),
        ("T3", 1, "0.001", "0", "0.001", "0", None),
        ("T4", 1, "1", "0", "1", "1", "test record"),
        ("T5", 0, "0", "0", "0", "0", "no lines"),
    ]
    assert _rows(
        database,
        "select customer_id, date_day::text, net_amount::float, sales_amount::float, "
        "returns_amount::float, orders, return_orders, lines, is_purchase "
        "from warehouse.customer_days order by 1, 2",
    ) == [
        ("K1", "2024-01-01", 12.5, 12.5, 0, 1, 0, 2, True),
        ("K1", "2024-02-01", 4, 4, 0, 1, 0, 1, True),
        ("K1", "2024-02-03", -4, 0, 4, 0, 1, 0, False),
        ("K2", "2024-01-02", 0.001, 0.001, 0, 1, 0, 1, True),
    ]
    revenue = database.read("warehouse.revenue_daily")
    assert len(revenue) == 105  # 2024-01-01 to 2024-04-14, days without a sale included
    assert revenue["net_amount"].sum() == pytest.approx(12.501)
    assert set(revenue["currency"]) == {"GBP"}
    assert _rows(
        database,
        "select months_since, cohort_customers, active_customers, net_amount::float "
        "from warehouse.cohort_retention order by 1",
    ) == [(0, 2, 2, 12.501), (1, 2, 1, 0)]
    assert _rows(
        database,
        "select as_of_date::text, customer_id, purchase_days, recency_days "
        "from warehouse.customer_features order by 1, 2",
    ) == [
        ("2024-04-01", "K1", 2, 60),
        ("2024-04-01", "K2", 1, 90),
        ("2024-04-15", "K1", 2, 74),
        ("2024-04-15", "K2", 1, 104),
    ]
    assert _rows(
        database,
        "select customer_id, is_registered, country, purchase_days from warehouse.dim_customers "
        "order by 1",
    ) == [("K1", True, "France", 2), ("K2", False, "France", 1), ("K9", True, "Spain", 0)]
    assert _rows(
        database,
        "select product_id, is_listed, is_excluded from warehouse.dim_products order by 1",
    ) == [
        ("A1", True, False),
        ("POST", False, True),
        ("TEST001", False, True),
        ("a1", False, False),
    ]
    _assert_personal_data_stays_behind(database)


def _assert_personal_data_stays_behind(database: Database) -> None:
    columns = _rows(
        database,
        "select table_schema || '.' || table_name from information_schema.columns "
        "where column_name in ('name', 'email', 'phone', 'address') "
        "and table_schema in ('staging', 'intermediate', 'warehouse')",
    )
    assert {name for (name,) in columns} == {"staging.stg_retail__user_contacts"}
    right = "has_table_privilege('pg_monitor', 'staging.stg_retail__{}', 'select')"
    assert _rows(database, f"select {right.format('users')}, {right.format('user_contacts')}") == [
        (True, False)
    ]
    undocumented = _rows(
        database,
        "select attrelid::regclass::text, attname from pg_attribute "
        "join pg_class on attrelid = pg_class.oid "
        "where relnamespace::regnamespace::text in ('staging', 'intermediate', 'warehouse') "
        "and relkind in ('r', 'v') and attnum > 0 and not attisdropped "
        "and coalesce(col_description(attrelid, attnum), '') = ''",
    )
    assert undocumented == []


def test_thin_feeds_build_green(database: Database, dbt: DbtWorker) -> None:
    """Empty tables; then one customer without products, countries, channels, quantities, prices."""
    dbt.build(AS_OF, tests=True)
    assert _rows(database, "select count(*) from warehouse.customer_features") == [(0,)]

    bare = {"amount": 5}
    land(
        database,
        "transactions",
        [
            transaction(
                "T1",
                "K1",
                "2024-01-01T10:00:00Z",
                [bare],
                country=None,
                channel=None,
                currency=None,
            )
        ],
    )
    dbt.build(AS_OF, tests=True)
    assert _rows(
        database,
        "select as_of_date::text, purchase_days, distinct_products, mean_unit_price, gap_mean_days "
        "from warehouse.customer_features order by 1",
    ) == [("2024-04-01", 1, 0, None, None), ("2024-04-15", 1, 0, None, None)]
    assert _rows(database, "select r_score, f_score, m_score from warehouse.customer_rfm") == [
        (1, 1, 1)
    ]


def test_every_product_code_counts_unless_a_list_is_named(
    database: Database, dbt: DbtWorker
) -> None:
    codes = ["C2", "SHIPPING", "TESTER-EDP", "POST", "test001"]
    lines = [line(10.0**power, product_id=code) for power, code in enumerate(codes)]
    land(database, "transactions", [transaction("T1", "K1", "2024-01-01T10:00:00Z", lines)])
    selected = "+fct_transactions"
    dbt.build(AS_OF, "--select", selected)
    assert shared_queries.excluded_lines(database) == []
    dbt.build(AS_OF, "--select", selected, non_product_codes="uci_online_retail")
    found = shared_queries.excluded_lines(database)
    assert [(each["reason"], each["lines"], each["net_amount"]) for each in found] == [
        ("carriage", 2, 11.0),
        ("postage", 1, 1000.0),
        ("test record", 1, 10000.0),
    ]
    assert sum(each["share_of_money"] for each in found) == pytest.approx(11011 / 11111)
    check = excluded_lines_are_few(database)
    assert not check.passed
    assert "4 lines (80.0% of the lines, 99.1% of the money)" in str(check.description)


def test_chosen_as_of_dates_replace_the_month_starts(database: Database, dbt: DbtWorker) -> None:
    land(database, "transactions", [transaction("T1", "K1", "2024-01-01T10:00:00Z", [line(1)])])
    wanted = ["2024-01-02", "2024-03-07"]
    dbt.build(AS_OF, "--target", "scratch", "--select", "+customer_features", as_of_dates=wanted)
    dates = _rows(database, "select as_of_date::text from warehouse.customer_features order by 1")
    assert dates == [("2024-01-02",), ("2024-03-07",)]


def test_a_second_currency_is_refused_by_name(database: Database) -> None:
    at = "2024-01-01T10:00:00Z"
    land(
        database,
        "transactions",
        [
            transaction("T1", "K1", at, [line(1)]),
            transaction("T2", "K1", at, [line(1)], currency="EUR"),
        ],
    )
    with pytest.raises(
        PipelineError, match=r"money_is_in_one_currency of warehouse.fct_transaction_items"
    ):
        dbt_build(database.url, "+fct_transactions", as_of=AS_OF)


def test_an_unreachable_database_is_one_message() -> None:
    with pytest.raises(PipelineError, match=r"dbt did not start to build.*refused"):
        dbt_build("postgresql://nobody:secret@127.0.0.1:1/nothing")


@pytest.mark.slow
def test_real_transactions_reconcile_to_the_penny(
    database: Database, dbt: DbtWorker, online_retail_ii: Path
) -> None:
    lines = land_file(database, online_retail_ii)
    dbt.build(date(2011, 12, 10), tests=True)
    (facts,) = _rows(
        database,
        "select count(*), count(distinct customer_id), sum(line_count), sum(net_amount)::float, "
        "sum(net_amount) filter (where transaction_type = 'return')::float, "
        "count(*) filter (where is_excluded) from warehouse.fct_transactions",
    )
    net = float(lines["amount"].sum())
    returned = float(lines.loc[lines["is_return"], "amount"].sum())
    assert facts == (
        lines["invoice"].nunique(),
        lines["customer_id"].nunique(),
        len(lines),
        pytest.approx(net, abs=0.0005),
        pytest.approx(returned, abs=0.0005),
        0,
    )
    (totals,) = _rows(
        database,
        "select (select sum(net_amount) from warehouse.customer_days)::float, "
        "(select sum(net_amount) from warehouse.revenue_daily)::float",
    )
    assert totals == (facts[3], facts[3])
    _assert_population(database, lines)


def _assert_population(database: Database, lines: pd.DataFrame) -> None:
    """The population is everyone with a purchase before the date, one-timers included."""
    before = lines[lines["ts"] < "2011-06-01"]
    days = before.groupby(["customer_id", before["ts"].dt.date])["amount"].sum().round(6)
    bought = days[days > 0].reset_index()
    features = database.read("warehouse.customer_features", where="as_of_date = '2011-06-01'")
    assert set(features["customer_id"]) == set(bought["customer_id"])
    assert features["purchase_days"].sum() == len(bought)


def test_a_seed_of_an_earlier_version_gets_its_new_columns(
    database: Database, dbt: DbtWorker
) -> None:
    dbt.build(AS_OF, "--select", "non_product_codes")
    database.execute("alter table intermediate.non_product_codes drop column code_list")
    dbt.build(AS_OF, "--select", "non_product_codes")
    assert "code_list" in database.read("intermediate.non_product_codes")
