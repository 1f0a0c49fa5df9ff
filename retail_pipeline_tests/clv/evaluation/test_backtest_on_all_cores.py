"""Cut-offs in worker processes: the same results as in one process, to the bit."""

from datetime import date

import joblib
import numpy as np
import pandas as pd
import pytest

from retail_pipeline import cores
from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import backtest
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
    monkeypatch.setattr(backtest, "FEWEST_ROWS", 1)
    monkeypatch.setattr(cores, "count_cores", lambda: 2)
    with joblib.parallel_config("loky", max_nbytes=64):  # as read-only maps, like large arrays
        there = backtest.run(*inputs, AS_OF, HORIZON)
    pd.testing.assert_frame_equal(there.predictions, here.predictions, check_exact=True)
    untimed = [frame.drop(columns="fit_seconds") for frame in (there.metrics, here.metrics)]
    pd.testing.assert_frame_equal(*untimed, check_exact=True)
    assert there.abstentions == here.abstentions


def test_workers_share_the_numbers(inputs: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for frame in inputs:
        there = backtest._unpacked(backtest._packed(frame))
        pd.testing.assert_frame_equal(there, frame)
        for name in frame.select_dtypes("number"):
            assert np.shares_memory(there[name].to_numpy(), frame[name].to_numpy()), name
