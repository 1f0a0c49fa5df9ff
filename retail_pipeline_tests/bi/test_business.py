"""The dashboard *Business*: its numbers, asked as the viewer, equal SQL over the facts."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from retail_pipeline.bi.applying import apply_bundle
from retail_pipeline.bi.asking import ask, question
from retail_pipeline.bi.superset import Superset
from retail_pipeline.loopback import listener
from retail_pipeline.postgres import Database
from retail_pipeline_tests.bi.conftest import copied
from retail_pipeline_tests.bi.superset_client import SupersetUser
from retail_pipeline_tests.conftest import fresh_database
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import land
from retail_pipeline_tests.warehouse.test_marts import CATEGORIES, COSTS, records

Rows = list[dict[str, Any]]

AS_OF = date(2025, 6, 20)
MAY = {"date_day": date(2025, 5, 1)}
MAY_OF_CUSTOMERS = {"month_start": date(2025, 5, 1)}
FACTS = """
with lines as (
    select *, cast(date_trunc('month', date_day) as date) as month
    from warehouse.fct_transaction_items where not is_excluded
),
sales as (select * from lines where transaction_type = 'sale'),
buyers as (
    select customer_id, month, date_day from lines where customer_id is not null
    group by customer_id, month, date_day having sum(net_amount) > 0
),
firsts as (select customer_id, min(month) as month from buyers group by customer_id),
orders as (
    select *, row_number() over (partition by customer_id order by transacted_at, transaction_id)
        as number
    from warehouse.fct_transactions where transaction_type = 'sale' and not is_excluded
)
"""
NUMBERS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    # What is compared: the chart, the row, the column, and SQL over the facts.
    "net revenue": (
        *("Net revenue", MAY, "net_revenue"),
        "select sum(net_amount) from lines where month = '2025-05-01'",
    ),
    "net revenue of the year before": (
        *("Net revenue by month, against the year before", MAY, "net_revenue_year_before"),
        "select sum(net_amount) from lines where month = '2024-05-01'",
    ),
    "change of a country": (
        *("Net revenue by country", {"country": "France"}, "net_revenue_change"),
        """
        select sum(lines.net_amount) filter (where date_day >= first_day + interval '1 year')
            / sum(lines.net_amount) filter (where date_day + interval '1 year' < '2025-06-20') - 1
        from lines join warehouse.fct_transactions using (transaction_id)
        cross join (select min(date_day) as first_day from lines) as days where country = 'France'
        """,
    ),
    "orders": (
        *("Orders", MAY, "orders"),
        "select count(distinct transaction_id) from sales where month = '2025-05-01'",
    ),
    "average order value": (
        *("Average order value", MAY, "average_order_value"),
        """
        select sum(net_amount) / count(distinct transaction_id) from sales
        where month = '2025-05-01'
        """,
    ),
    "gross margin": (
        *("Gross margin", MAY, "margin_rate"),
        """
        select sum(net_amount - cost_amount) / sum(net_amount) from lines
        where month = '2025-05-01' and cost_amount is not null
        """,
    ),
    "return rate": (
        *("Return rate", MAY, "return_rate"),
        """
        select 1 - sum(net_amount) / sum(net_amount) filter (where transaction_type = 'sale')
        from lines where month = '2025-05-01'
        """,
    ),
    "sales of first orders": (
        "Sales of first and of repeat orders, by month",
        {"date_day": date(2024, 1, 1), "order_kind": "First orders"},
        "sales",
        """
        select sum(sales.net_amount) from orders join sales using (transaction_id)
        where number = 1 and orders.customer_id is not null and month = '2024-01-01'
        """,
    ),
    "sales of guests": (
        "Sales of first and of repeat orders, by month",
        {**MAY, "order_kind": "Orders of guests"},
        "sales",
        "select sum(net_amount) from sales where customer_id is null and month = '2025-05-01'",
    ),
    "active customers": (
        *("Active customers", MAY_OF_CUSTOMERS, "active_customers"),
        "select count(distinct customer_id) from buyers where month = '2025-05-01'",
    ),
    "new customers": (
        *("New customers", {"month_start": date(2024, 1, 1)}, "new_customers"),
        "select count(*) from firsts where month = '2024-01-01'",
    ),
    "lapsed customers": (
        "Customers by month, new, retained, reactivated and lapsed",
        MAY_OF_CUSTOMERS,
        "lapsed_customers",
        """
        select count(*) from (
            select customer_id from buyers where month = '2025-04-01'
            except select customer_id from buyers where month = '2025-05-01'
        ) as gone
        """,
    ),
    "retention of a cohort": (
        "Share of customers who buy again, by months since the first purchase",
        {"cohort": "2024-01", "months_since": 3},
        "retention",
        """
        select count(distinct buyers.customer_id)
            / cast(count(distinct firsts.customer_id) as numeric)
        from firsts left join buyers
            on firsts.customer_id = buyers.customer_id and buyers.month = '2024-04-01'
        where firsts.month = '2024-01-01'
        """,
    ),
    "value of the customers of a half-year": (
        "Net revenue per customer, cumulated since the first purchase",
        {"half_year": "2024 Jan-Jun", "months_since": 3},
        "value_per_customer",
        """
        select sum(net_amount) / count(distinct firsts.customer_id)
        from firsts join lines using (customer_id)
        where firsts.month between '2024-01-01' and '2024-06-30'
            and lines.month <= firsts.month + interval '3 months'
        """,
    ),
    "return rate of a product": (
        *("Products by net revenue, with margin and returns", {"product_id": "P1"}, "return_rate"),
        """
        select 1 - sum(net_amount) / sum(net_amount) filter (where transaction_type = 'sale')
        from lines where product_id = 'P1'
        """,
    ),
}


NAMES = {"P1": "Mug one", "P2": "Mug two"}
"""Names of products; the others are shown by their code."""
BASKETS = """
select count(*) from (
    select transaction_id from sales where date_day >= '2024-06-20' group by transaction_id
    having bool_or(product_id = %s) and bool_or(product_id = %s)
) as baskets
"""

pytestmark = pytest.mark.timeout(1800)  # of the first test, which waits for dbt and Superset


@pytest.fixture(scope="module")
def shop(server_url: str, migrated_template: str) -> Iterator[Database]:
    """The warehouse of a year and a half, whose last month is not over."""
    with fresh_database(server_url, migrated_template) as database:
        land(database, "transactions", records(1, count=500, days=560))
        known = {"recorded_at": "2023-01-01T12:00Z", "updated_at": "2023-01-01T12:00Z"}
        for product, cost in COSTS.items():
            row = {"product_id": product, "cost": cost, "category": CATEGORIES[product]}
            land(database, "products", [{**row, "name": NAMES.get(product), **known}])
        dbt = DbtWorker(database.url)
        try:
            dbt.build(AS_OF, command="seed")
            dbt.build(AS_OF, non_product_codes="uci_online_retail")
        finally:
            dbt.close()
        yield database


@pytest.fixture(scope="module")
def running(
    set_up_superset: Superset, shop: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Superset]:
    """A Superset of its own: charts that other tests make would hold their data sets."""
    own = copied(set_up_superset, tmp_path_factory.mktemp("home"))
    apply_bundle(own, shop)
    with listener(0) as free:
        port = int(free.getsockname()[1])
    own.start(port)
    yield own
    own.stop()


@pytest.fixture(scope="module")
def chart(running: Superset) -> Callable[[str], Rows]:
    """Return the rows of a chart, as Superset answers the viewer."""
    viewer = SupersetUser(running, "viewer")
    board = viewer.get("/api/v1/dashboard/business").json()["result"]["id"]
    found = viewer.get("/api/v1/dashboard/business/charts").json()["result"]
    forms = {each["slice_name"]: each["form_data"] for each in found}

    def rows(name: str) -> Rows:
        answer = viewer.send("POST", "/api/v1/chart/data", **question(forms[name], board))
        assert answer.status_code == 200, answer.text
        return [row for result in answer.json()["result"] for row in result["data"]]

    return rows


def is_row(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a row has the values; Superset writes a time as milliseconds."""
    times = {key: each for key, each in wanted.items() if isinstance(each, date)}
    started = {
        key: datetime(each.year, each.month, each.day, tzinfo=UTC).timestamp() * 1000
        for key, each in times.items()
    }
    return all(row.get(key) == each for key, each in {**wanted, **started}.items())


def test_every_chart_has_rows(running: Superset) -> None:
    answers = ask(running, ["business"])["business"]
    assert len(answers) == len(list(Path("superset/assets/charts/business").glob("*.yaml")))
    assert {each.chart: each.error for each in answers if each.error or not each.rows} == {}


@pytest.mark.parametrize("what", NUMBERS)
def test_a_number_equals_sql_over_the_facts(
    chart: Callable[[str], Rows], shop: Database, what: str
) -> None:
    name, wanted, column, sql = NUMBERS[what]
    found = [row[column] for row in chart(name) if is_row(row, wanted) and column in row]
    with shop.connect() as connection:
        expected = connection.execute(f"{FACTS} {sql}").fetchone()
    assert expected and expected[0]
    assert found == [pytest.approx(float(expected[0]))]


def test_pairs_of_products_are_counted(chart: Callable[[str], Rows], shop: Database) -> None:
    codes = {name: code for code, name in NAMES.items()}
    pairs = chart("Products bought together in the last 365 days")
    assert pairs
    with shop.connect() as connection:
        for pair in pairs:
            names = (pair["product"], pair["other_product"])
            asked = [codes.get(name, name) for name in names]
            expected = connection.execute(f"{FACTS} {BASKETS}", asked).fetchone()
            assert (pair["orders_with_both"],) == expected, names


def test_no_month_is_shown_before_it_is_over(chart: Callable[[str], Rows]) -> None:
    june = datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1000
    for name in ("Net revenue", "Net revenue by month, against the year before", "Orders"):
        months = {row["date_day"] for row in chart(name)}
        assert months and max(months) < june
