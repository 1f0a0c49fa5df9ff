"""Cut-offs in worker processes: the same results as here, and a broken process is an error."""

from datetime import date

import pandas as pd
import pytest

from retail_pipeline.clv import backtest, dataset, parallel, processes
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


def test_a_broken_process_says_what_happened(
    inputs: tuple[pd.DataFrame, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "FEWEST_ROWS", 1)
    monkeypatch.setattr(processes, "cores", lambda: 2)
    features = inputs[0].drop(columns="net_amount_90d")
    with pytest.raises(RuntimeError, match="net_amount_90d"):
        backtest.run(features, inputs[1], AS_OF, HORIZON)
