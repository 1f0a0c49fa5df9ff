"""Any sequence of increments gives the tables of one full refresh, to the byte.

CI runs a few random schedules; RETAIL_TEST_SCHEDULES=50 runs fifty.
"""

import os
import random
import time
from typing import Any

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.schedules import Schedule

SCHEDULES = int(os.environ.get("RETAIL_TEST_SCHEDULES", "2"))
STEPS = 4


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
