"""An increment writes what an arrival touches, and no more."""

from datetime import date

from retail_pipeline.postgres import Database
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import land, line, transaction

INCREMENTAL = {
    "warehouse.fct_transaction_items": "transaction_id",
    "warehouse.fct_transactions": "transaction_id",
    "intermediate.int_transactions_counted": "transaction_id",
    "warehouse.customer_day_entries": "customer_id",
    "warehouse.customer_days": "customer_id",
    "intermediate.int_customer_contexts": "customer_id",
    "intermediate.int_customer_assortments": "customer_id",
    "warehouse.customer_features": "customer_id",
    "warehouse.fct_returned_items": "transaction_id",
    "warehouse.dim_customers": "customer_id",
    "warehouse.revenue_daily": "date_day",
}
"""The incremental models with their keys."""


def test_an_increment_writes_only_what_an_arrival_touches(
    database: Database, dbt: DbtWorker
) -> None:
    """A late return writes what it changes of its customer; a build without news writes nothing."""
    clock = date(2024, 4, 15)
    sales = [
        transaction(f"T{n}", f"K{n}", f"2024-01-0{n}T10:00:00Z", [line(9), line(3)])
        for n in (1, 2, 3)
    ]
    land(database, "transactions", sales)
    dbt.build(clock, command="seed")
    dbt.build(clock)
    before = {table: _versions(database, table) for table in INCREMENTAL}

    dbt.build(clock)
    assert before == {table: _versions(database, table) for table in INCREMENTAL}

    recorded = {"type": "return", "recorded_at": "2024-04-05T10:00:00Z"}
    back = transaction("R1", "K1", "2024-02-20T10:00:00Z", [line(-3, quantity=-1)], **recorded)
    land(database, "transactions", [back])
    dbt.build(clock)
    touched = {"transaction_id": "R1", "customer_id": "K1", "date_day": "2024-02-20"}
    of_sales_alone = {"intermediate.int_customer_contexts", "intermediate.int_customer_assortments"}
    for table, key in INCREMENTAL.items():
        written = [str(value) for _, value in _versions(database, table) - before[table]]
        assert written == ([] if table in of_sales_alone else [touched[key]]), table
    # Known on 5 April: what was said as of the first stays, and is not even written again.
    features = database.query(
        "select as_of_date, total_net_amount, xmin::text || ctid::text as version "
        "from warehouse.customer_features where customer_id = 'K1' order by as_of_date"
    )
    assert list(features["total_net_amount"]) == [12, 9]
    versions = {version for version, _ in before["warehouse.customer_features"]}
    assert list(features["version"].isin(versions)) == [True, False]


def test_other_code_rebuilds_what_depends_on_it(database: Database, dbt: DbtWorker) -> None:
    land(
        database,
        "transactions",
        [transaction("T1", "K1", "2024-01-01T10:00:00Z", [line(9)])],
    )
    clock = date(2024, 4, 15)
    dbt.build(clock, command="seed")
    dbt.build(clock)
    before = _versions(database, "warehouse.customer_days")
    indexes = _indexes(database)
    assert {table.split(".")[1] for table in INCREMENTAL} <= {table for table, _ in indexes}
    database.execute("update increments.builds set code = 'other' where model = 'customer_days'")
    dbt.build(clock)
    after = _versions(database, "warehouse.customer_days")
    assert len(after) == len(before) == 1
    assert after != before
    assert _indexes(database) == indexes


def _versions(database: Database, table: str) -> set[tuple[str, str]]:
    """The rows as PostgreSQL has written them: a row written again is another one."""
    with database.connect() as connection:
        rows = connection.execute(
            f"select xmin::text || ctid::text, {INCREMENTAL[table]} from {table}"
        ).fetchall()
    return set(rows)


def _indexes(database: Database) -> list[tuple[str, str]]:
    """The tables and columns of the indexes; dbt names an index by chance."""
    with database.connect() as connection:
        return connection.execute(
            "select tablename::text, substring(indexdef from ' USING .*') from pg_indexes "
            "where schemaname in ('intermediate', 'warehouse') order by 1, 2"
        ).fetchall()
