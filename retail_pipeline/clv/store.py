"""Models in the database: parameters as JSON, versions, the decision on which one serves.

A stored model cannot run code when it is loaded: it is numbers for a class of `estimators.MODELS`.
No fitting and no choice here.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from retail_pipeline.clv.backtest import Candidate
from retail_pipeline.clv.estimators import MODELS, ValueModel
from retail_pipeline.clv.metrics import METRICS
from retail_pipeline.clv.selection import INCUMBENT, Decision
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

_DIGEST_LENGTH = 16
_PROMOTION_LOCK = 7_405_001
"""Key of the advisory lock that lets one promotion happen at a time."""


@dataclass(frozen=True)
class StoredModel:
    """A fitted model with its version."""

    model_version: str
    model: ValueModel


@dataclass(frozen=True)
class Training:
    """Where and when models were trained: what their versions have in common."""

    as_of: date
    horizon_days: int
    data_version: str
    trained_at: datetime


def content_of(model: ValueModel, as_of: date) -> dict[str, Any]:
    """Return everything that makes a model what it is, as JSON values."""
    return {
        "model_name": model.name,
        "horizon_days": model.horizon_days,
        "as_of_date": as_of.isoformat(),
        "parameters": model.parameters(),
    }


def version_of(content: Mapping[str, Any]) -> str:
    """Return the version that a content has: its model's name and a digest.

    Raises:
        ValueError: A parameter is not a finite number.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{content['model_name']}-{digest}"


def restore(content: Mapping[str, Any]) -> ValueModel:
    """Return the model of a content; it predicts what the original did, to the bit.

    Raises:
        PipelineError: The model's name is not known to this version of the project.
    """
    name = content["model_name"]
    if name not in MODELS:
        raise PipelineError(
            f"the stored model {name!r} is not known here: materialize clv/candidates and clv/model"
        )
    return MODELS[name](int(content["horizon_days"])).restore(content["parameters"])


def save_candidates(
    database: Database, candidates: list[Candidate], training: Training
) -> dict[str, str]:
    """Store the fitted candidates in one transaction; a new version starts as a challenger.

    Returns:
        The version of each fitted model, by model name.
    """
    versions = {}
    with database.connect() as connection:
        connection.execute(
            "delete from clv.abstentions where as_of_date = %s and horizon_days = %s",
            [training.as_of, training.horizon_days],
        )
        for candidate in candidates:
            if candidate.model is not None:
                content = content_of(candidate.model, training.as_of)
                versions[candidate.model_name] = version_of(content)
                _save(connection, candidate, content, training)
            else:
                connection.execute(
                    "insert into clv.abstentions (model_name, as_of_date, horizon_days, reason) "
                    "values (%s, %s, %s, %s)",
                    [
                        *(candidate.model_name, training.as_of, training.horizon_days),
                        str(candidate.abstention),
                    ],
                )
    return versions


def load_candidates(database: Database, as_of: date, horizon_days: int) -> dict[str, StoredModel]:
    """Return the models of the latest training at a date and horizon, by model name.

    Raises:
        PipelineError: None was trained.
    """
    rows = database.query(
        "select model_version, model_name, content from clv.model_versions "
        "join clv.model_artifacts using (model_version, model_name) "
        "where trained_at = (select max(trained_at) from clv.model_versions "
        "where as_of_date = %(as_of)s and horizon_days = %(horizon)s) "
        "and as_of_date = %(as_of)s and horizon_days = %(horizon)s order by model_name",
        {"as_of": as_of, "horizon": horizon_days},
    )
    if rows.empty:
        raise PipelineError(
            f"no model is trained as of {as_of} for {horizon_days} days: "
            "materialize clv/candidates first"
        )
    return {
        row["model_name"]: StoredModel(row["model_version"], restore(json.loads(row["content"])))
        for row in rows.to_dict("records")
    }


def abstentions_at(database: Database, as_of: date, horizon_days: int) -> dict[str, str]:
    """Return the models that could not be fitted at a date and horizon, with the reasons."""
    rows = database.read(
        "clv.abstentions",
        ["model_name", "reason"],
        where="as_of_date = %s and horizon_days = %s order by model_name",
        params=[as_of, horizon_days],
    )
    return dict(zip(rows["model_name"], rows["reason"], strict=True))


def load_serving(database: Database, as_of: date, horizon_days: int) -> StoredModel:
    """Return the model that the latest decision up to `as_of` put in charge of a horizon.

    Raises:
        PipelineError: No decision was made.
    """
    rows = database.query(
        "select model_version, content from clv.model_decisions "
        "join clv.model_artifacts using (model_version) "
        "where as_of_date <= %s and horizon_days = %s order by as_of_date desc, decided_at desc "
        "limit 1",
        [as_of, horizon_days],
    )
    if rows.empty:
        raise PipelineError(
            f"no model serves {horizon_days} days as of {as_of}: materialize clv/model first"
        )
    row = rows.iloc[0]
    return StoredModel(row["model_version"], restore(json.loads(row["content"])))


def incumbent_of(database: Database, as_of: date, horizon_days: int) -> str:
    """Return the model that served this horizon at the latest earlier date, or the default.

    Decisions of the same date do not count: a repeated run meets the same incumbent and decides the
    same.
    """
    rows = database.query(
        "select model_name from clv.model_decisions where as_of_date < %s and horizon_days = %s "
        "and validated order by as_of_date desc, decided_at desc limit 1",
        [as_of, horizon_days],
    )
    return INCUMBENT if rows.empty else str(rows.iloc[0]["model_name"])


def promote(
    database: Database,
    decision: Decision,
    candidates: Mapping[str, StoredModel],
    as_of: date,
    horizon_days: int,
    decided_at: datetime,
) -> str:
    """Put the decision into force: one transaction, one champion before and after it.

    The chosen candidate becomes champion, the others challengers, every other version retires.

    Returns:
        The champion's version.
    """
    champion = candidates[decision.model_name].model_version
    numbers = decision.numbers() | {"abstentions": abstentions_at(database, as_of, horizon_days)}
    with database.connect() as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [_PROMOTION_LOCK])
        connection.execute(
            "update clv.model_versions set status = 'retired' where status <> 'retired'"
        )
        for name, stored in candidates.items():
            status = "champion" if stored.model_version == champion else "challenger"
            _judge(connection, stored.model_version, status, *_record(decision, name))
        connection.execute(
            "insert into clv.model_decisions (as_of_date, horizon_days, decided_at, model_name, "
            "model_version, validated, reason, numbers) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                *(as_of, horizon_days, decided_at, decision.model_name, champion),
                *(decision.validated, decision.reason, Jsonb(numbers)),
            ],
        )
    return champion


def _save(
    connection: psycopg.Connection,
    candidate: Candidate,
    content: dict[str, Any],
    training: Training,
) -> None:
    version = version_of(content)
    connection.execute(
        "insert into clv.model_artifacts (model_version, model_name, content) "
        "values (%s, %s, %s) on conflict (model_version) do nothing",
        [version, candidate.model_name, Jsonb(content)],
    )
    # An equal model that serves goes on serving: its status is left alone.
    connection.execute(
        "insert into clv.model_versions (model_version, model_name, status, trained_at, "
        "training_rows, data_version, as_of_date, horizon_days, fit_seconds) "
        "values (%s, %s, 'challenger', %s, %s, %s, %s, %s, %s) on conflict (model_version) "
        "do update set trained_at = excluded.trained_at, training_rows = excluded.training_rows, "
        "data_version = excluded.data_version, fit_seconds = excluded.fit_seconds",
        [
            *(version, candidate.model_name, training.trained_at, candidate.training_rows),
            *(training.data_version, training.as_of, training.horizon_days, candidate.seconds),
        ],
    )


def _judge(
    connection: psycopg.Connection,
    version: str,
    status: str,
    validated: bool,
    metrics: dict[str, float | None] | None,
) -> None:
    connection.execute(
        "update clv.model_versions set status = %s, validated = %s, metrics = %s "
        "where model_version = %s",
        [status, validated, None if metrics is None else Jsonb(metrics), version],
    )


def _record(decision: Decision, model_name: str) -> tuple[bool, dict[str, float | None] | None]:
    """Return whether a model met the rule, and its mean metrics where it was tested."""
    for row in decision.numbers()["leaderboard"]:
        if row["model_name"] == model_name:
            return bool(row["eligible"]), {name: row[name] for name in METRICS}
    return False, None
