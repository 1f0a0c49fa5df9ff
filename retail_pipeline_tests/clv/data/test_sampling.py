"""The training sample follows one rule in SQL and pandas and is stable while a shop grows."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from retail_pipeline.clv.data import dataset, sampling
from retail_pipeline.clv.data.sampling import TrainingSample
from retail_pipeline.clv.evaluation.selection import WITH_SEASON
from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.clv.serving import valuation
from retail_pipeline.clv.serving.score import score
from retail_pipeline.postgres import Database
from retail_pipeline_tests.clv import world

AS_OF = date(2021, 3, 1)
HORIZON = 90


def test_a_sample_is_one_customer_in_a_power_of_two() -> None:
    most = sampling.MOST_CUSTOMERS
    sizes = (0, 1, most, most + 1, 2 * most, 2 * most + 1, 10 * most)
    assert [TrainingSample.of(size).one_customer_in for size in sizes] == [1, 1, 1, 2, 2, 4, 16]


def test_sql_and_pandas_choose_the_same_customers(database: Database) -> None:
    ids = pd.DataFrame({"customer_id": [f"Ümlaut-{n:05d}" for n in range(500)]})
    database.publish("clv.ids", ids, ["customer_id"], create=True)
    for count in (1, 4):
        here = TrainingSample(count).chosen(ids)["customer_id"].tolist()
        there = database.read("clv.ids", where=f"{TrainingSample(count).condition()} order by 1")
        assert there["customer_id"].tolist() == here
        assert 0.7 < count * len(here) / len(ids) < 1.3


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    ids = pd.DataFrame({"customer_id": [f"c{n}" for n in range(400)]})
    half, quarter = (set(TrainingSample(n).chosen(ids)["customer_id"]) for n in (2, 4))
    assert quarter < half
    assert 60 < len(quarter) < 140


@pytest.fixture(scope="module")
def marts() -> tuple[pd.DataFrame, pd.DataFrame]:
    entries = world.entries(customers=400)
    features = world.features(entries, world.month_starts(AS_OF, months=8))
    return dataset.prepare_features(features), dataset.prepare_entries(entries)


@pytest.fixture(scope="module")
def valued(marts: tuple[pd.DataFrame, pd.DataFrame]) -> valuation.Valuation:
    return valuation.value_customers(*marts, AS_OF, HORIZON)


def test_everybody_is_scored_by_models_of_a_sample(
    marts: tuple[pd.DataFrame, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_CUSTOMERS", 250)
    found = valuation.value_customers(*marts, AS_OF, HORIZON)
    everybody = dataset.population(marts[0], AS_OF)["customer_id"]
    assert found.predictions["customer_id"].tolist() == everybody.tolist()
    sampled = set(found.training_set["customer_id"])
    assert sampled < set(everybody)
    assert set(found.backtest.predictions["customer_id"]) == sampled
    assert found.predictions["clv_decile"].value_counts().between(30, 50).all()


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(WITH_SEASON.values())))
def test_parts_score_as_the_whole_does(
    valued: valuation.Valuation, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = next(c.model for c in valued.candidates if c.model_name == name)
    assert model is not None
    past = valued.backtest.predictions
    whole = score(model, valued.population, past, AS_OF)
    monkeypatch.setattr(sampling, "MOST_CUSTOMERS", 100)
    parts = score(model, valued.population, past, AS_OF)
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-12)
    assert np.array_equal(parts["clv_decile"], whole["clv_decile"])
