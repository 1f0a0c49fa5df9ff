"""Any sequence of increments gives the tables of one full refresh, to the byte.

CI runs a few random schedules; RETAIL_TEST_SCHEDULES=50 runs fifty.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline.warehouse.project import dbt_environment
from retail_pipeline_tests.warehouse.schedules import Schedule

SCHEDULES = int(os.environ.get("RETAIL_TEST_SCHEDULES", "2"))
STEPS = 4


class DbtWorker:
    """dbt in a process of its own that runs again and again in one database."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "retail_pipeline_tests.warehouse.dbt_worker"],
            cwd=PROJECT_ROOT,
            env={**os.environ, **dbt_environment(url)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def build(self, clock: date, *arguments: str, command: str = "run") -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        variables = json.dumps({"as_of_date": str(clock)})
        self._process.stdin.write(json.dumps([command, "--vars", variables, *arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "dbt's process has ended"
        assert json.loads(answer) is True, answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture
def dbt(database: Database) -> Iterator[DbtWorker]:
    worker = DbtWorker(database.url)
    yield worker
    worker.close()


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
    assert len(increments) > 20
    assert increments == _checksums(database)
