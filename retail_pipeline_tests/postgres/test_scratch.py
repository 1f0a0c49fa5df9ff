"""A scratch database is dropped after its process has ended, and never before."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from retail_pipeline.postgres import Database
from retail_pipeline.postgres.scratch import drop_abandoned, scratch_database
from retail_pipeline.settings import Settings
from retail_pipeline_tests.conftest import fresh_database

HOLD = """
import sys
from retail_pipeline.postgres.scratch import scratch_database
from retail_pipeline.settings import Settings
with scratch_database(Settings(database_url=sys.argv[1])) as scratch:
    print(scratch.name, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield a process with a scratch database but no session in it, and the database's name."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


def scratch_databases(database: Database) -> set[str]:
    found = database.query("select datname::text from pg_database where datname ~ '^scratch_'")
    return set(found["datname"])


def test_databases_of_killed_processes_are_dropped_and_those_of_live_ones_stay(
    database: Database, server_url: str, migrated_template: str
) -> None:
    with (
        fresh_database(server_url, migrated_template) as another,
        holding(database.url) as (killed, abandoned),
        holding(another.url) as (live, held),
    ):
        assert {abandoned, held} == scratch_databases(database)
        killed.kill()
        killed.wait(30)
        deadline = time.monotonic() + 30  # until the server has ended its sessions
        while abandoned in scratch_databases(database):
            assert time.monotonic() < deadline
            with scratch_database(Settings(database_url=database.url)) as scratch:
                assert scratch_databases(database) - {abandoned} == {held, scratch.name}
        live.communicate("", timeout=60)
        assert (live.returncode, scratch_databases(database)) == (0, set())


def test_a_database_with_connections_is_dropped_the_next_time(
    database: Database, server_url: str
) -> None:
    name = f"scratch_{0:012x}"
    with database.connect(autocommit=True) as connection:
        connection.execute(f"create database {name}")
    with Database(f"{server_url.rsplit('/', 1)[0]}/{name}").connect():
        assert drop_abandoned(database) == []
    assert drop_abandoned(database) == [name]
    assert scratch_databases(database) == set()
