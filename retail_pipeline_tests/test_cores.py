"""Tasks in worker processes: results in order, and a clear error for a worker that ended."""

import os
import signal

import pytest

from retail_pipeline.cores import on_all_cores
from retail_pipeline.errors import PipelineError, UnavailableError
from retail_pipeline.postgres import Database, arrow


def _divided(number: int) -> float:
    return 6 / number


def _without_database(url: str) -> None:
    with arrow.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pg_backend_pid())")
        cursor.fetch_arrow_table()


def _refused(url: str) -> None:
    with arrow.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("select 1 / 0")
        cursor.fetch_arrow_table()


def _killed(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _threads() -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def test_results_are_in_order_and_each_worker_has_one_thread() -> None:
    assert on_all_cores(_divided, [(number,) for number in (1, 2, 3)]) == [6, 3, 2]
    assert on_all_cores(_threads, [()] * 3) == ["1"] * 3


def test_a_lost_database_is_distinguished_from_a_defect(database: Database) -> None:
    with pytest.raises(UnavailableError, match="terminating connection"):
        on_all_cores(_without_database, [(database.url,), (database.url,)])
    with pytest.raises(ZeroDivisionError):
        on_all_cores(_divided, [(1,), (0,)])


def test_an_exception_that_cannot_be_pickled_is_no_broken_worker(
    database: Database,
) -> None:
    with pytest.raises(RuntimeError, match="division by zero"):
        on_all_cores(_refused, [(database.url,), (database.url,)])
    assert on_all_cores(_divided, [(1,), (2,)]) == [6, 3]


def test_a_worker_that_is_killed_is_not_waited_for() -> None:
    with pytest.raises(PipelineError, match="memory runs out"):
        on_all_cores(_killed, [(0,), (1,), (2,)])
    assert on_all_cores(_divided, [(1,), (2,)]) == [6, 3]
