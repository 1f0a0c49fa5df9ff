"""Versions of products and customers: dated by records, kept by full refreshes, no leak."""

from datetime import date
from typing import Any

from retail_pipeline.postgres import Database
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import land

HISTORY = ("--select", "+int_product_prices", "+int_customer_attributes")
AS_OF = date(2024, 7, 1)


def _sync(
    database: Database, dbt: DbtWorker, products: list[dict[str, Any]], *arguments: str
) -> None:
    """Land the current products, without a note of what has changed, and build."""
    database.execute("truncate transactional.products")
    land(database, "products", products)
    dbt.build(AS_OF, *HISTORY, *arguments)


def _product(price: float, updated: str, *, recorded: str = "2024-01-01") -> dict[str, Any]:
    return {
        "product_id": "A1",
        "price": price,
        "recorded_at": f"{recorded}T00:00:00Z",
        "updated_at": f"{updated}T10:00:00Z",
    }


def _prices(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            "select price::float, known_from::text, known_until::text "
            "from intermediate.int_product_prices where product_id = 'A1' order by known_from"
        ).fetchall()


def _prices_as_of(database: Database, day: str) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            "select product_id, price::float from intermediate.int_product_prices "
            "where known_from < %(day)s::date and "
            "(known_until is null or known_until >= %(day)s::date) order by 1",
            {"day": day},
        ).fetchall()


def test_versions_are_dated_by_the_records_and_outlive_a_full_refresh(
    database: Database, dbt: DbtWorker
) -> None:
    _sync(database, dbt, [_product(5, "2024-01-01")])
    _sync(database, dbt, [_product(6, "2024-03-01")])
    # The same content with a later time makes no version.
    _sync(database, dbt, [_product(6, "2024-03-20")])
    _sync(database, dbt, [_product(7, "2024-04-01")])
    # A correction with an unchanged time replaces the version.
    _sync(database, dbt, [_product(8, "2024-04-01")])
    expected = [
        (5, "2024-01-01", "2024-03-01"),
        (6, "2024-03-01", "2024-04-01"),
        (8, "2024-04-01", None),
    ]
    assert _prices(database) == expected
    _sync(database, dbt, [_product(8, "2024-04-01")], "--full-refresh")
    assert _prices(database) == expected
    assert [_prices_as_of(database, f"2024-0{month}-15") for month in (2, 3, 5)] == [
        [("A1", 5)],
        [("A1", 6)],
        [("A1", 8)],
    ]


def test_no_version_is_known_before_its_record(database: Database, dbt: DbtWorker) -> None:
    """Adding, changing or removing records of D and later keeps the versions as of D."""
    day = "2024-03-01"
    old = _product(5, "2024-01-01")
    new = {**_product(9, "2023-06-01", recorded=day), "product_id": "B2"}
    _sync(database, dbt, [old])
    seen = _versions(database)
    before = _prices_as_of(database, day)
    assert before == [("A1", 5)]
    for products in ([old, new], [old, {**new, "price": 1.0}], [old], [_product(3, day), new]):
        _sync(database, dbt, products)
        assert _prices_as_of(database, day) == before
    assert _prices_as_of(database, "2024-03-02") == [("A1", 3), ("B2", 9)]

    # Where records never change, one build into an empty table equals many builds.
    database.execute("truncate intermediate.product_versions")
    _sync(database, dbt, [old])
    assert _versions(database) == seen


def test_a_unit_has_the_cost_known_at_its_sale_or_the_first_known_cost(
    database: Database, dbt: DbtWorker
) -> None:
    def sync(*costs: float | None) -> list[tuple[Any, ...]]:
        for month, cost in enumerate(costs, start=1):
            product = {**_product(5, f"2024-0{month}-01"), "cost": cost}
            database.execute("truncate transactional.products")
            land(database, "products", [product])
            dbt.build(AS_OF, "--select", "+product_costs")
        with database.connect() as connection:
            return connection.execute(
                "select cost::float, known_from::text, sold_from::text, sold_until::text "
                "from warehouse.product_costs order by known_from"
            ).fetchall()

    # Unknown at first; unknown again for a month.
    assert sync(None, 2, 3, None, 4) == [
        (2, "2024-02-01", None, "2024-03-01"),
        (3, "2024-03-01", "2024-03-01", "2024-04-01"),
        (4, "2024-05-01", "2024-05-01", None),
    ]


def _versions(database: Database) -> list[str]:
    return sorted(map(str, database.read("intermediate.product_versions").to_dict("records")))


def test_a_cost_that_becomes_known_on_the_as_of_date_is_not_known(
    database: Database, dbt: DbtWorker
) -> None:
    # In Sydney, it is one o'clock of the as-of date.
    row = {**_product(5, "2024-06-30"), "recorded_at": "2024-06-30T15:00:00Z", "cost": 2}
    land(database, "products", [row])
    for zone, rows in {"Australia/Sydney": [], "UTC": [{"known_from": "2024-06-30"}]}.items():
        dbt.build(AS_OF, "--select", "+product_costs", time_zone=zone)
        found = database.read("warehouse.product_costs", columns=["known_from"])
        assert found.astype(str).to_dict("records") == rows, zone
