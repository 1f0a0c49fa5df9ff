"""Models in the database: parameters as JSON, versions, the decision on which one serves, pins.

A stored model cannot run code when it is loaded: it is numbers for a class of `estimators.MODELS`.
No fitting and no choice here.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import pandas as pd
import psycopg
from psycopg.types.json import Jsonb

from retail_pipeline.clv.evaluation.candidates import Candidate
from retail_pipeline.clv.evaluation.metrics import METRICS
from retail_pipeline.clv.evaluation.selection import Decision
from retail_pipeline.clv.models.registry import (
    MODELS,
    ValueModel,
)
from retail_pipeline.clv.models.terms import (
    TERM_COLUMNS,
    terms,
)
from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
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
    """Where, when and on how many models were trained: what their versions have in common.

    `is_extrapolated` tells that no past outcome was as long as the horizon; `one_customer_in` is 1
    where they learned from everybody (`buckets`).
    """

    as_of: date
    horizon_days: int
    data_version: str
    trained_at: datetime
    code_version: str = ""
    is_extrapolated: bool = False
    one_customer_in: int = 1


@dataclass(frozen=True)
class ServingRecord:
    """What serves, why, how large it is and how long it takes to load."""

    model_version: str
    model_name: str
    validated: bool
    is_pinned: bool
    reason: str
    artifact_bytes: int
    load_seconds: float


@dataclass(frozen=True)
class Pin:
    """A version that a person has put in charge of its horizon."""

    model_version: str
    model_name: str
    validated: bool
    pinned_at: datetime


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
        PipelineError: The model's name is not known to this version of the project, or its
            parameters are of a form that another version wrote.
    """
    name = content["model_name"]
    if name not in MODELS:
        raise PipelineError(
            f"the stored model {name!r} is not known here: materialize clv/candidates and clv/model"
        )
    try:
        return MODELS[name](int(content["horizon_days"])).restore(content["parameters"])
    except (KeyError, TypeError, ValueError):
        raise PipelineError(
            f"the stored model {version_of(content)} is of another release of the project and "
            "cannot be loaded: `retail-pipeline run` trains new ones; if it is pinned, unpin it "
            "first (`retail-pipeline model unpin`)"
        ) from None


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
    versions = candidate_versions(database, as_of, horizon_days)
    rows = database.read(
        "clv.model_artifacts",
        ["model_version", "content"],
        where="model_version = any(%s)",
        params=[list(versions.values())],
    )
    contents = dict(zip(rows["model_version"], rows["content"], strict=True))
    return {
        name: StoredModel(version, restore(json.loads(contents[version])))
        for name, version in versions.items()
    }


def candidate_versions(database: Database, as_of: date, horizon_days: int) -> dict[str, str]:
    """Return the versions of the latest training at a date and horizon, by model name.

    Raises:
        PipelineError: None was trained.
    """
    rows = database.query(
        "select model_version, model_name from clv.model_versions "
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
    return dict(zip(rows["model_name"], rows["model_version"], strict=True))


def training_report(database: Database, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return one row per model of the latest training, abstentions included.

    Returns:
        `model`, `version` (null for an abstention), `training rows`, `fit seconds`, `KiB` (of its
        JSON), `abstained` (the reason).
    """
    return database.query(
        'select model_name as model, model_version as version, training_rows as "training rows", '
        'fit_seconds as "fit seconds", artifact_bytes / 1024.0::float8 as "KiB", '
        "null as abstained from clv.model_versions where as_of_date = %(as_of)s "
        "and horizon_days = %(horizon)s and trained_at = (select max(trained_at) "
        "from clv.model_versions where as_of_date = %(as_of)s and horizon_days = %(horizon)s) "
        "union all select model_name, null, null, null, null, reason from clv.abstentions "
        "where as_of_date = %(as_of)s and horizon_days = %(horizon)s order by model",
        {"as_of": as_of, "horizon": horizon_days},
    )


def serving_record(database: Database, as_of: date, horizon_days: int) -> ServingRecord:
    """Return what serves and why, after loading it once, as every prediction does.

    Raises:
        PipelineError: No decision was made.
    """
    started = time.perf_counter()
    serving = load_serving(database, as_of, horizon_days)
    seconds = time.perf_counter() - started
    row = database.query(
        "select d.validated, d.reason, jsonb_exists(d.numbers, 'pinned') as is_pinned, "
        "coalesce(v.artifact_bytes, 0) as artifact_bytes from clv.model_decisions as d "
        "left join clv.model_versions as v using (model_version) "
        "where d.as_of_date <= %s and d.horizon_days = %s "
        "order by d.as_of_date desc, d.decided_at desc limit 1",
        [as_of, horizon_days],
    ).iloc[0]
    return ServingRecord(
        serving.model_version,
        serving.model.name,
        bool(row["validated"]),
        bool(row["is_pinned"]),
        str(row["reason"]),
        int(row["artifact_bytes"]),
        seconds,
    )


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


def promote(
    database: Database,
    decision: Decision,
    versions: Mapping[str, str],
    as_of: date,
    horizon_days: int,
    decided_at: datetime,
) -> str:
    """Put the decision into force: one transaction, one champion before and after it.

    The chosen candidate becomes champion, the others challengers, every other version retires. A
    pin of the horizon overrules the choice; the row says so, and what the rule would have chosen.

    Args:
        database: Where models are kept.
        decision: The rule's.
        versions: The candidates' versions by model name.
        as_of: The date that it is for.
        horizon_days: The horizon that it is for.
        decided_at: When it was made.

    Returns:
        The champion's version.
    """
    numbers = decision.numbers() | {"abstentions": abstentions_at(database, as_of, horizon_days)}
    with database.connect() as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [_PROMOTION_LOCK])
        pin = _pin_of(connection, horizon_days)
        champion, served = versions[decision.model_name], decision
        if pin is not None:
            numbers |= {
                "pinned": {"model_version": pin.model_version, "since": pin.pinned_at.isoformat()},
                "rule": {"model_name": decision.model_name, "reason": decision.reason},
            }
            champion, served = pin.model_version, overruled(decision, pin)
        connection.execute(
            "update clv.model_versions set status = 'retired' where status <> 'retired'"
        )
        for name, version in versions.items():
            _judge(connection, version, "challenger", *_record(decision, name))
        connection.execute(
            "update clv.model_versions set status = 'champion' where model_version = %s", [champion]
        )
        connection.execute(
            "insert into clv.model_decisions (as_of_date, horizon_days, decided_at, model_name, "
            "model_version, validated, reason, numbers) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                *(as_of, horizon_days, decided_at, served.model_name, champion),
                *(served.validated, served.reason, Jsonb(numbers)),
            ],
        )
    return champion


def overruled(decision: Decision, pin: Pin) -> Decision:
    """Return the decision as it is where a person has pinned a version."""
    return replace(
        decision,
        model_name=pin.model_name,
        validated=pin.validated,
        reason=f"{pin.model_version} is pinned since {pin.pinned_at:%Y-%m-%d %H:%M} UTC; "
        f"the rule says: {decision.reason}",
    )


def list_versions(database: Database) -> pd.DataFrame:
    """Return the versions, the latest training first: what people choose a version from.

    Returns:
        `model_version, model_name, status, is_pinned, validated, is_extrapolated, as_of_date,
        horizon_days, trained_at, training_rows, artifact_bytes, tweedie_deviance, last_served_at`
        (null where it never served).
    """
    return database.query(
        "select v.model_version, v.model_name, v.status, p.model_version is not null as is_pinned, "
        "v.validated, v.is_extrapolated, v.as_of_date, v.horizon_days, v.trained_at, "
        "v.training_rows, v.artifact_bytes, "
        "(v.metrics ->> 'tweedie_deviance')::float8 as tweedie_deviance, "
        "(select max(decided_at) from clv.model_decisions as d "
        "where d.model_version = v.model_version) as last_served_at "
        "from clv.model_versions as v left join clv.model_pins as p "
        "using (model_version, horizon_days) "
        "order by v.as_of_date desc, v.horizon_days, v.trained_at desc, v.status, v.model_name"
    )


def pin(database: Database, model_version: str, pinned_at: datetime) -> int:
    """Put a version in charge of its horizon until it is unpinned.

    Returns:
        The horizon.

    Raises:
        UsageError: There is no such version.
    """
    with database.connect() as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [_PROMOTION_LOCK])
        row = connection.execute(
            "insert into clv.model_pins (horizon_days, model_version, pinned_at) "
            "select horizon_days, model_version, %s from clv.model_versions "
            "join clv.model_artifacts using (model_version, model_name) where model_version = %s "
            "on conflict (horizon_days) do update set model_version = excluded.model_version, "
            "pinned_at = excluded.pinned_at returning horizon_days",
            [pinned_at, model_version],
        ).fetchone()
    if row is None:
        raise UsageError(
            f"there is no model version {model_version!r}: `retail-pipeline model list` shows them"
        )
    return int(row[0])


def unpin(database: Database, horizon_days: int | None = None) -> list[int]:
    """Let the rule choose again, for one horizon or for all.

    Returns:
        The horizons that had a pin.
    """
    with database.connect() as connection:
        rows = connection.execute(
            "delete from clv.model_pins where horizon_days = coalesce(%s::integer, horizon_days) "
            "returning horizon_days",
            [horizon_days],
        ).fetchall()
    return sorted(days for (days,) in rows)


def served_horizon(database: Database) -> int:
    """Return the horizon of the latest decision.

    Raises:
        PipelineError: No decision was made.
    """
    rows = database.query(
        "select horizon_days from clv.model_decisions order by decided_at desc limit 1"
    )
    if rows.empty:
        raise PipelineError("no model serves yet: materialize clv/model first")
    return int(rows["horizon_days"].iloc[0])


def served_discount_rate(database: Database, horizon_days: int) -> float | None:
    """Return the rate of a horizon's latest predictions; None where there are none."""
    rows = database.query(
        "select discount_rate from clv.predictions where horizon_days = %s "
        "order by as_of_date desc, predicted_at desc limit 1",
        [horizon_days],
    )
    rate = rows["discount_rate"].max()
    return None if pd.isna(rate) else float(rate)


def previous_version(database: Database, horizon_days: int) -> str:
    """Return the version that served a horizon before the one that serves it now.

    Raises:
        PipelineError: There is none.
    """
    rows = database.query(
        "select model_version from clv.model_decisions where horizon_days = %s "
        "order by decided_at desc",
        [horizon_days],
    )
    served = rows["model_version"].tolist()
    for version in served:
        if version != served[0]:
            return str(version)
    raise PipelineError(f"no other version has served {horizon_days} days before: nothing to undo")


def _pin_of(connection: psycopg.Connection, horizon_days: int) -> Pin | None:
    row = connection.execute(
        "select model_version, model_name, validated, pinned_at from clv.model_pins "
        "join clv.model_versions using (model_version, horizon_days) where horizon_days = %s",
        [horizon_days],
    ).fetchone()
    return None if row is None else Pin(*row)


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
    _save_terms(connection, version, candidate)
    # An equal model that serves goes on serving: its status is left alone.
    connection.execute(
        "insert into clv.model_versions (model_version, model_name, status, trained_at, "
        "training_rows, data_version, as_of_date, horizon_days, fit_seconds, artifact_bytes, "
        "code_version, is_extrapolated, one_customer_in) "
        "values (%s, %s, 'challenger', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "on conflict (model_version) do update set trained_at = excluded.trained_at, "
        "training_rows = excluded.training_rows, data_version = excluded.data_version, "
        "fit_seconds = excluded.fit_seconds, artifact_bytes = excluded.artifact_bytes, "
        "code_version = excluded.code_version, is_extrapolated = excluded.is_extrapolated, "
        "one_customer_in = excluded.one_customer_in",
        [
            *(version, candidate.model_name, training.trained_at, candidate.training_rows),
            *(training.data_version, training.as_of, training.horizon_days, candidate.seconds),
            *(len(json.dumps(content)), training.code_version, training.is_extrapolated),
            training.one_customer_in,
        ],
    )


def _save_terms(connection: psycopg.Connection, version: str, candidate: Candidate) -> None:
    if candidate.model is None:
        return
    rows = terms(candidate.model).astype(object).replace({float("nan"): None})
    names = ", ".join(["model_version", "model_name", *TERM_COLUMNS])
    marks = ", ".join(["%s"] * (len(TERM_COLUMNS) + 2))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"insert into clv.model_terms ({names}) values ({marks}) on conflict do nothing",
            [[version, candidate.model_name, *row] for row in rows.to_numpy().tolist()],
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
