"""Any sequence of increments gives the tables of one full refresh, to the byte.

CI runs a few random schedules; RETAIL_TEST_SCHEDULES=50 runs fifty.
"""

import os
import random
import time
from datetime import date
from typing import Any

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import land, line, transaction
from retail_pipeline_tests.warehouse.schedules import Schedule

SCHEDULES = int(os.environ.get("RETAIL_TEST_SCHEDULES", "2"))
STEPS = 4
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


def _checksums(database: Database) -> dict[str, str]:
    """A checksum of every table of the warehouse and what lies before it, whatever the order."""
    with database.connect() as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables "
            "where schemaname in ('intermediate', 'warehouse')"
        ).fetchall()
        sums: dict[str, Any] = {}
        for (table,) in tables:
            (sums[table],) = connection.execute(
                "select count(*) || ' ' || coalesce(md5(string_agg(row, chr(10) order by row)), '')"
                f"from (select t::text as row from {table} as t) as rows"
            ).fetchone() or ("",)
    return sums


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_increments_give_the_tables_of_a_full_refresh(
    database: Database, dbt: DbtWorker, seed: int
) -> None:
    dice = random.Random(f"builds {seed}")
    schedule = Schedule(database, seed)
    schedule.first_sync()
    dbt.build(schedule.clock, command="seed")
    dbt.build(schedule.clock)
    for _ in range(STEPS):
        schedule.next_sync()
        if dice.random() < 0.3:
            # Some models alone, or a build that got no further: the next one mends the rest.
            part = dice.choice(
                ["fct_transaction_items", "fct_transactions", "customer_days", "customer_features"]
            )
            dbt.build(schedule.clock, "--select", part)
            schedule.next_sync()
        dbt.build(schedule.clock)
    increments = _checksums(database)
    dbt.build(schedule.clock, "--full-refresh")
    assert len(increments) > 15
    assert increments == _checksums(database)


def test_a_killed_build_is_mended_by_the_next_one(database: Database, dbt: DbtWorker) -> None:
    """Killed while one model waits for a lock: what came before is new, what follows is old."""
    schedule = Schedule(database, 100)
    schedule.first_sync()
    dbt.build(schedule.clock, command="seed")
    dbt.build(schedule.clock)
    schedule.next_sync()
    doomed = DbtWorker(database.url)
    with database.connect() as connection:
        connection.execute("lock table warehouse.customer_days in access exclusive mode")
        doomed.send(schedule.clock)
        _wait_for_lock(database, "customer_days")
        doomed.kill()
    schedule.next_sync()
    dbt.build(schedule.clock)
    increments = _checksums(database)
    dbt.build(schedule.clock, "--full-refresh")
    assert increments == _checksums(database)


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


def _wait_for_lock(database: Database, table: str) -> None:
    for _ in range(300):
        waiting = database.query(
            "select 1 from pg_locks where not granted and relation = %s::regclass",
            [f"warehouse.{table}"],
        )
        if len(waiting):
            return
        time.sleep(0.1)
    raise AssertionError(f"no build has come to {table}")
