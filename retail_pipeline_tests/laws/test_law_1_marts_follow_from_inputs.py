"""The marts follow from the landed records, the versions seen and the as-of date, to the byte.

A random history of syncs and builds, one of them partial and one killed, is compared with a single
build from the landing tables (rows in another order) and the snapshots alone. CI runs one history;
RETAIL_TEST_SCHEDULES=50 runs fifty.
"""

import os
import random
import time
from typing import Any

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.schedules import Schedule

SCHEDULES = int(os.environ.get("RETAIL_TEST_SCHEDULES", "1"))
MARTS = ["fct_transaction_items", "fct_transactions", "customer_days", "customer_features"]


def _checksums(database: Database) -> dict[str, str]:
    """Return a checksum of every table from staging to the marts, independent of row order."""
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
def test_any_history_gives_the_tables_of_one_build(
    database: Database, dbt: DbtWorker, seed: int
) -> None:
    dice = random.Random(f"builds {seed}")
    schedule = Schedule(database, seed)
    schedule.first_sync()
    dbt.build(schedule.as_of, command="seed")
    dbt.build(schedule.as_of)
    for kind in dice.sample(["whole", "partial", "killed"], 3):
        schedule.next_sync()
        if kind == "whole":
            dbt.build(schedule.as_of)
        elif kind == "partial":
            dbt.build(schedule.as_of, "--select", dice.choice(MARTS))
        else:
            _kill_a_build(database, dbt, schedule, dice.choice(MARTS))
    schedule.next_sync()
    dbt.build(schedule.as_of)

    after_the_history = _checksums(database)
    assert len(after_the_history) > 15
    _drop_what_was_built(database)
    _rewrite_in_another_order(database)
    dbt.build(schedule.as_of, command="seed")
    dbt.build(schedule.as_of)
    assert _checksums(database) == after_the_history


def _kill_a_build(database: Database, dbt: DbtWorker, schedule: Schedule, mart: str) -> None:
    """Kill a build while it waits for a mart: tables before it are new, those after it old."""
    with database.connect() as connection:
        connection.execute(f"lock table warehouse.{mart} in access exclusive mode")
        dbt.send(schedule.as_of)
        _wait_for_lock(database, mart)
        dbt.kill()


def _drop_what_was_built(database: Database) -> None:
    """Drop all views and tables of dbt except the snapshots, which are the versions seen."""
    with database.connect() as connection:
        built = connection.execute(
            "select format('drop %s if exists %I.%I cascade', "
            "case c.relkind when 'v' then 'view' else 'table' end, n.nspname, c.relname) "
            "from pg_class as c inner join pg_namespace as n on c.relnamespace = n.oid "
            "where n.nspname in ('staging', 'intermediate', 'warehouse') "
            "and c.relkind in ('r', 'v') and c.relname not like '%\\_versions'"
        ).fetchall()
        for (statement,) in built:
            connection.execute(statement)


def _rewrite_in_another_order(database: Database) -> None:
    for stream in ("products", "users", "transactions"):
        table = f"transactional.{stream}"
        database.execute(
            f"create temporary table kept as table {table}; truncate {table}; "
            f"insert into {table} select * from kept order by md5(kept::text); drop table kept"
        )


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
