"""Stored models and the one that serves: equal bits, versions by content, one champion."""

import json
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import psycopg
import pytest

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import promotion
from retail_pipeline.clv.evaluation.selection import (
    INCUMBENT,
    Decision,
)
from retail_pipeline.clv.models import registry
from retail_pipeline.clv.models.baselines import Mean
from retail_pipeline.clv.models.candidates import fit_candidates
from retail_pipeline.clv.models.registry import Candidate
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline_tests.clv import world

AS_OF = date(2021, 6, 1)
NOW = datetime(2021, 6, 1, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def today() -> pd.DataFrame:
    entries = world.entries(customers=120)
    features = world.features(entries, [date(2021, 1, 1), AS_OF])
    return dataset.prepare_features(features)


@pytest.fixture(scope="module")
def candidates(today: pd.DataFrame) -> list[Candidate]:
    entries = dataset.prepare_entries(world.entries(customers=120))
    labeled = dataset.training_set(today, entries, AS_OF, 90)
    return fit_candidates(labeled, dataset.population(today, AS_OF), 90)


def training(as_of: date = AS_OF, at: datetime = NOW) -> registry.Training:
    return registry.Training(as_of, 90, "test@2021-06-01#1", at)


def decision(name: str, validated: bool = True) -> Decision:
    return Decision(name, validated, "Because.", (), pd.DataFrame(columns=["model_name"]))


def statuses(database: Database) -> dict[str, str]:
    rows = database.query("select model_name, status from clv.model_versions")
    return dict(zip(rows["model_name"], rows["status"], strict=True))


def test_a_stored_model_predicts_the_same_bits(
    database: Database, candidates: list[Candidate], today: pd.DataFrame
) -> None:
    registry.save_candidates(database, candidates, training())
    versions = registry.candidate_versions(database, AS_OF, 90)
    stored = database.read("clv.model_artifacts").set_index("model_version")["content"]
    assert set(versions) >= {"random_forest", "boosted_pareto_nbd"}
    for candidate in candidates:
        if candidate.model is None:
            assert candidate.model_name not in versions
            continue
        again = registry.restore(json.loads(stored[versions[candidate.model_name]]))
        pd.testing.assert_frame_equal(
            again.predict(today), candidate.model.predict(today), check_exact=True
        )


def test_a_version_names_its_content(candidates: list[Candidate]) -> None:
    model = candidates[0].model
    assert model is not None
    content = registry.content_of(model, AS_OF)
    assert registry.version_of(content) == registry.version_of(json.loads(json.dumps(content)))
    assert registry.version_of(content) != registry.version_of(
        registry.content_of(model, date(2021, 7, 1))
    )
    with pytest.raises(ValueError, match="JSON compliant"):
        registry.version_of(content | {"parameters": {"value": np.nan}})


def test_a_promotion_leaves_one_champion_and_the_reason(
    database: Database, candidates: list[Candidate]
) -> None:
    registry.save_candidates(database, candidates, training())
    fitted = registry.candidate_versions(database, AS_OF, 90)
    promotion.promote(database, decision("linear_regression"), fitted, AS_OF, 90, NOW)
    promotion.promote(database, decision(INCUMBENT), fitted, AS_OF, 90, NOW.replace(hour=9))
    found = statuses(database)
    assert found[INCUMBENT] == "champion"
    assert set(found.values()) == {"champion", "challenger"}
    assert promotion.load_serving(database, AS_OF, 90).model.name == INCUMBENT
    later = [Candidate("mean", Mean(90).fit(_one_row()), None, 1, 0.0)]
    july = date(2021, 7, 1)
    registry.save_candidates(database, later, training(july, NOW.replace(month=7)))
    assert statuses(database)[INCUMBENT] == "champion", "a single challenger changes no champion"
    promotion.promote(
        database, decision("mean"), registry.candidate_versions(database, july, 90), july, 90, NOW
    )
    table = database.read("clv.model_versions", ["status"])["status"].value_counts()
    assert table.to_dict() == {"retired": len(fitted), "champion": 1}


def test_a_promotion_that_fails_changes_nothing(
    database: Database, candidates: list[Candidate]
) -> None:
    registry.save_candidates(database, candidates, training())
    fitted = registry.candidate_versions(database, AS_OF, 90)
    promotion.promote(database, decision("mean"), fitted, AS_OF, 90, NOW)
    with pytest.raises(psycopg.errors.UniqueViolation):  # a second decision at one instant
        promotion.promote(database, decision(INCUMBENT), fitted, AS_OF, 90, NOW)
    assert statuses(database)["mean"] == "champion"


def test_abstentions_are_kept_with_their_reasons(database: Database) -> None:
    abstained = Candidate("mean", None, "no reason at all", 0, 0.0)
    registry.save_candidates(database, [abstained], training())
    assert registry.abstentions_at(database, AS_OF, 90) == {"mean": "no reason at all"}
    with pytest.raises(PipelineError, match="clv/candidates first"):
        registry.candidate_versions(database, AS_OF, 90)
    with pytest.raises(PipelineError, match="clv/model first"):
        promotion.load_serving(database, AS_OF, 90)


def test_a_model_of_another_time_is_refused() -> None:
    with pytest.raises(PipelineError, match="'oracle' is not known"):
        registry.restore({"model_name": "oracle", "horizon_days": 90, "parameters": {}})
    old = {"pareto_nbd": {"r": 1.0}, "gamma_gamma": {"p": 1.0}}
    with pytest.raises(PipelineError, match="another release"):
        registry.restore({"model_name": INCUMBENT, "horizon_days": 90, "parameters": old})


def _one_row() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "as_of_date": [pd.Timestamp("2021-07-01")],
            "future_value": [np.nan],
            "future_orders": [np.nan],
            "age_days": [10.0],
            "total_net_amount": [5.0],
            "purchase_days": [1.0],
        }
    )
