"""Cut-offs in worker processes: the same results as here, and a broken process is an error."""

import os
import signal
from dataclasses import dataclass
from datetime import date

import pandas as pd
import pytest

from retail_pipeline.clv import processes
from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import (
    backtest,
    parallel,
)
from retail_pipeline.errors import (
    PipelineError,
    UnavailableError,
)
from retail_pipeline.postgres import (
    Database,
    arrow,
)
from retail_pipeline_tests.clv import world

AS_OF = date(2021, 3, 1)
HORIZON = 90


@pytest.fixture(scope="module")
def inputs() -> tuple[pd.DataFrame, pd.DataFrame]:
    ledger = world.ledger(customers=150)
    features = world.features(ledger, world.month_firsts(AS_OF, months=8))
    return dataset.prepare_features(features), dataset.prepare_entries(ledger)


def test_workers_change_no_bit(
    inputs: tuple[pd.DataFrame, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = backtest.run(*inputs, AS_OF, HORIZON)
    monkeypatch.setattr(parallel, "FEWEST_ROWS", 1)
    monkeypatch.setattr(processes, "cores", lambda: 2)
    there = backtest.run(*inputs, AS_OF, HORIZON)
    pd.testing.assert_frame_equal(there.predictions, here.predictions, check_exact=True)
    untimed = [frame.drop(columns="fit_seconds") for frame in (there.metrics, here.metrics)]
    pd.testing.assert_frame_equal(*untimed, check_exact=True)
    assert there.abstentions == here.abstentions


@dataclass(frozen=True)
class Failing:
    """Work whose second piece loses its database, or has a defect."""

    url: str | None
    pieces: int = 2

    def begin(self) -> None:
        """Nothing is needed."""

    def at(self, number: int) -> int:
        if number and self.url:
            with arrow.connect(self.url) as connection, connection.cursor() as cursor:
                cursor.execute("select pg_terminate_backend(pg_backend_pid())")
                cursor.fetch_arrow_table()
        return 1 // (1 - number)


def test_a_database_that_a_worker_has_lost_is_told_from_a_defect(database: Database) -> None:
    with pytest.raises(UnavailableError, match="terminating connection"):
        processes.on_all_cores("work", lambda: Failing(database.url))
    with pytest.raises(RuntimeError, match=r"the process of work [\s\S]*ZeroDivisionError"):
        processes.on_all_cores("work", lambda: Failing(None))


@dataclass(frozen=True)
class Killed:
    """Work whose second piece is killed, as by a system without memory."""

    pieces: int = 3

    def begin(self) -> None:
        """Nothing is needed."""

    def at(self, number: int) -> int:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


def test_a_worker_that_is_killed_is_not_waited_for() -> None:
    with pytest.raises(PipelineError, match="memory runs out"):
        processes.on_all_cores("work", Killed)


def test_a_broken_process_says_what_happened(
    inputs: tuple[pd.DataFrame, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "FEWEST_ROWS", 1)
    monkeypatch.setattr(processes, "cores", lambda: 2)
    features = inputs[0].drop(columns="net_amount_90d")
    with pytest.raises(RuntimeError, match="net_amount_90d"):
        backtest.run(features, inputs[1], AS_OF, HORIZON)
