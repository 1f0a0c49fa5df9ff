"""The model version that serves: decisions applied, pins by people, earlier versions.

The rule is in `selection`, stored models are in `models.registry`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import pandas as pd
import psycopg
from psycopg.types.json import Jsonb

from retail_pipeline.clv.evaluation.metrics import METRICS
from retail_pipeline.clv.evaluation.selection import Decision
from retail_pipeline.clv.models.base import ValueModel
from retail_pipeline.clv.models.registry import abstentions_at, restore
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.postgres import Database

_PROMOTION_LOCK = 7_405_001
"""Key of the advisory lock that serializes promotions."""


@dataclass(frozen=True)
class StoredModel:
    """A fitted model with its version."""

    model_version: str
    model: ValueModel


@dataclass(frozen=True)
class Served:
    """The version that serves after a decision, and the reason.

    Attributes:
        model_version: The version.
        decision: The rule's decision; if a version is pinned, with that version's model and reason.
        is_pinned: Whether a person has pinned the version.
    """

    model_version: str
    decision: Decision
    is_pinned: bool


def load_serving(database: Database, as_of: date, horizon_days: int) -> StoredModel:
    """Return the model that serves a horizon by the latest decision up to `as_of`.

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
) -> Served:
    """Apply the decision in one transaction and return the version that serves.

    The chosen candidate becomes champion and the others challengers; every other version retires.
    A pin of the horizon overrules the choice, and the stored decision then holds both.

    Args:
        database: The database, with the scientist's role.
        decision: The rule's decision.
        versions: The candidates' versions by model name.
        as_of: The as-of date of the decision.
        horizon_days: The horizon of the decision.
        decided_at: Time of the decision.
    """
    numbers = decision.numbers() | {"abstentions": abstentions_at(database, as_of, horizon_days)}
    with database.connect() as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [_PROMOTION_LOCK])
        served, pinned = _in_charge(connection, decision, versions, horizon_days)
        connection.execute(
            "update clv.model_versions set status = 'retired' where status <> 'retired'"
        )
        _note_tests(connection, versions, numbers["leaderboard"])
        connection.execute(
            "update clv.model_versions set status = 'champion' where model_version = %s",
            [served.model_version],
        )
        connection.execute(
            "insert into clv.model_decisions (as_of_date, horizon_days, decided_at, model_name, "
            "model_version, validated, reason, numbers) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                *(as_of, horizon_days, decided_at, served.decision.model_name),
                *(served.model_version, served.decision.validated, served.decision.reason),
                Jsonb(numbers | pinned),
            ],
        )
    return served


def _note_tests(
    connection: psycopg.Connection, versions: Mapping[str, str], leaderboard: list[dict[str, Any]]
) -> None:
    """Make the candidates challengers, and store the mean metrics of those that were tested."""
    tested = {row["model_name"]: row for row in leaderboard}
    for name, version in versions.items():
        row = tested.get(name)
        connection.execute(
            "update clv.model_versions set status = 'challenger', validated = %s, metrics = %s "
            "where model_version = %s",
            [
                bool(row and row["eligible"]),
                row and Jsonb({k: row[k] for k in METRICS}),
                version,
            ],
        )


def _in_charge(
    connection: psycopg.Connection,
    decision: Decision,
    versions: Mapping[str, str],
    horizon_days: int,
) -> tuple[Served, dict[str, Any]]:
    """Return the version that serves, and the pin's numbers for the decision (empty if none)."""
    pin = connection.execute(
        "select model_version, model_name, validated, pinned_at from clv.model_pins "
        "join clv.model_versions using (model_version, horizon_days) where horizon_days = %s",
        [horizon_days],
    ).fetchone()
    if pin is None:
        return Served(versions[decision.model_name], decision, is_pinned=False), {}
    version, name, validated, since = pin
    reason = f"{version} is pinned since {since:%Y-%m-%d %H:%M} UTC; the rule says: "
    overruled = replace(
        decision, model_name=name, validated=validated, reason=reason + decision.reason
    )
    return Served(version, overruled, is_pinned=True), {
        "pinned": {"model_version": version, "since": since.isoformat()},
        "rule": {"model_name": decision.model_name, "reason": decision.reason},
    }


def list_versions(database: Database) -> pd.DataFrame:
    """Return all model versions, the latest training first.

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
    """Pin a version: it serves its horizon until it is unpinned.

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
    """Remove the pin of one horizon or of all, so that the rule chooses again.

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
    """Return the discount rate of a horizon's latest predictions; None without predictions."""
    rows = database.query(
        "select discount_rate from clv.predictions where horizon_days = %s "
        "order by as_of_date desc, predicted_at desc limit 1",
        [horizon_days],
    )
    rate = rows["discount_rate"].max()
    return None if pd.isna(rate) else float(rate)


def previous_version(database: Database, horizon_days: int) -> str:
    """Return the version that served a horizon before the present one.

    Raises:
        PipelineError: There is none.
    """
    rows = database.query(
        "select model_version from clv.model_decisions where horizon_days = %s "
        "order by decided_at desc",
        [horizon_days],
    )
    others = rows["model_version"].drop_duplicates().tolist()[1:]
    if not others:
        raise PipelineError(
            f"no other version has served {horizon_days} days before: nothing to undo"
        )
    return str(others[0])
