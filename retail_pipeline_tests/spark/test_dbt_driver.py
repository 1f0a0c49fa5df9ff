"""Builds in one lake take turns, also after a driver is lost. Spark is not needed."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from retail_pipeline.postgres import Database

BUILD = """
import sys
from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database
from retail_pipeline.spark.dbt_driver import only_build
with only_build(Database(sys.argv[1]), Lake(sys.argv[2])):
    print("begun", flush=True)
    sys.stdin.read()
"""
WAITING = "select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted"
Driver = subprocess.Popen[str]


def driver(database: Database, lake: Path) -> Driver:
    """Start the driver of a build, which ends with its input."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, database.url, str(lake)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_begin(driver: Driver) -> None:
    assert driver.stdout and driver.stdout.readline() == "begun\n"


def wait_for_waiting(database: Database) -> None:
    deadline = time.monotonic() + 60
    while database.query(WAITING)["n"].item() != 1:
        assert time.monotonic() < deadline, "no build waits for another one"
        time.sleep(0.05)


def end(driver: Driver) -> None:
    driver.communicate()


@pytest.mark.parametrize("ended", [end, Driver.kill])
def test_a_build_waits_for_the_one_at_work(
    database: Database, tmp_path: Path, ended: Callable[[Driver], None]
) -> None:
    drivers = [driver(database, tmp_path / "lake")]
    try:
        wait_for_begin(drivers[0])
        drivers += [driver(database, tmp_path / name) for name in ("lake", "other")]
        wait_for_begin(drivers[2])
        wait_for_waiting(database)
        ended(drivers[0])
        wait_for_begin(drivers[1])
    finally:
        for each in drivers:
            each.kill()
            each.communicate()
