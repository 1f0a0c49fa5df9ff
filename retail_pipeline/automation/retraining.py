"""New features: is a model trained anew, are predictions refreshed, or is nothing to be done?

Answered from Dagster's event log alone: what the landing tables held when the model was last
trained, and what they hold now. Nothing is read from the warehouse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    EventLogRecord,
    RunRequest,
    SensorResult,
    SkipReason,
)

from retail_pipeline.automation.jobs import (
    CLV,
    SCORE,
)
from retail_pipeline.settings import TODAY

LANDED = AssetKey(["transactional", "transactions"])
FEATURES = AssetKey(["warehouse", "customer_features"])
MODEL = AssetKey(["clv", "model"])
PREDICTIONS = AssetKey(["clv", "predictions"])

RETRAIN_GROWTH = 0.05
"""Transactions since the training, as a share of those it knew, from which models are trained anew
within a month. A new month brings a new cut-off, and so always does."""

_AT_ONCE = 100
"""Materializations looked at per tick, the latest ones: earlier ones are outdated anyway."""


class Work(StrEnum):
    """What new features call for; the value is the job that does it."""

    RETRAIN = CLV
    REFRESH = SCORE


@dataclass(frozen=True)
class Landing:
    """What a sync left behind: its as-of date, the generation of the data, the transactions."""

    as_of: date
    generation: int
    transactions: int


def runs_for_new_features(instance: DagsterInstance, cursor: str | None) -> SensorResult:
    """Return the run that the features since the cursor call for: one, for the latest of them.

    However many were made while nobody looked, only the latest is worth a model. The cursor is the
    storage id of the last materialization looked at. A sensor that was never evaluated before
    starts with the latest one: history is no news.

    Args:
        instance: Whose event log is read.
        cursor: What the last evaluation returned; None at the first one.
    """
    found = _up_to_the_first_at_work(instance, _new_materializations(instance, cursor))
    if not found:
        return _nothing("there are no new features since the last look", cursor or "0")
    seen = str(found[-1].storage_id)
    usable = [record for record in found if _ended_well(instance, record.run_id)]
    if not usable:
        return _nothing("the runs with new features failed", seen)
    newest = usable[-1]
    work, reason = work_for(instance, newest)
    if work is None:
        return _nothing(reason, seen)
    return SensorResult(run_requests=[_request(instance, newest, work, reason)], cursor=seen)


def work_for(instance: DagsterInstance, features: EventLogRecord) -> tuple[Work | None, str]:
    """Return what a materialization of the features calls for, and why."""
    trained, predicted = latest(instance, MODEL), latest(instance, PREDICTIONS)
    if trained is not None and trained.storage_id > features.storage_id:
        return None, "a model was trained on these features"
    now = landing_at(instance, features)
    then = landing_at(instance, trained) if trained is not None else None
    if (reason := reason_to_retrain(now, then)) is not None:
        return Work.RETRAIN, reason
    if predicted is not None and predicted.storage_id > features.storage_id:
        return None, "predictions were made on these features"
    return Work.REFRESH, "the features are new, but neither of a new month nor by many transactions"


def reason_to_retrain(now: Landing | None, then: Landing | None) -> str | None:
    """Return why a model trained on what had landed `then` is too old for what has landed now."""
    if now is None or then is None:
        return "no model was trained yet, or it is not known on what"
    if now.generation != then.generation:
        return "the data is of another source or was rebuilt"
    if now.as_of.replace(day=1) != then.as_of.replace(day=1):
        return f"the features have a new month: {now.as_of:%Y-%m}"
    growth = now.transactions / max(then.transactions, 1) - 1
    if growth >= RETRAIN_GROWTH:
        return f"transactions have grown by {growth:.1%} since the training"
    return None


def landing_at(instance: DagsterInstance, record: EventLogRecord) -> Landing | None:
    """Return what the landing table of transactions held when something was made; None if unknown.

    Args:
        instance: Whose event log is read.
        record: The materialization of what was made.
    """
    landed = latest(instance, LANDED, before=record.storage_id)
    made = landed.asset_materialization if landed else None
    if made is None:
        return None
    try:
        return Landing(
            date.fromisoformat(str(made.metadata["as_of"].value)),
            int(str(made.metadata["generation"].value)),
            int(str(made.metadata["dagster/row_count"].value)),
        )
    except (KeyError, ValueError):
        return None


def _nothing(reason: str, cursor: str) -> SensorResult:
    return SensorResult(skip_reason=SkipReason(reason), cursor=cursor)


def latest(
    instance: DagsterInstance, key: AssetKey, before: int | None = None
) -> EventLogRecord | None:
    """Return an asset's latest materialization, of those before an id of the event log if given."""
    wanted = AssetRecordsFilter(key, before_storage_id=before)
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def _new_materializations(instance: DagsterInstance, cursor: str | None) -> list[EventLogRecord]:
    if cursor is None:
        return list(instance.fetch_materializations(FEATURES, limit=1).records)
    after = AssetRecordsFilter(FEATURES, after_storage_id=int(cursor))
    return list(reversed(instance.fetch_materializations(after, limit=_AT_ONCE).records))


def _up_to_the_first_at_work(
    instance: DagsterInstance, records: list[EventLogRecord]
) -> list[EventLogRecord]:
    """Return the records before the first whose run is not over: its tests may still fail."""
    for position, record in enumerate(records):
        run = instance.get_run_by_id(record.run_id) if record.run_id else None
        if run is not None and not run.is_finished:
            return records[:position]
    return records


def _ended_well(instance: DagsterInstance, run_id: str) -> bool:
    # A materialization that was reported by hand has no run that could have failed.
    run = instance.get_run_by_id(run_id) if run_id else None
    return run is None or run.is_success


def _request(
    instance: DagsterInstance, record: EventLogRecord, work: Work, reason: str
) -> RunRequest:
    # A materialization that was reported by hand has no run; its own id stands in.
    cause = record.run_id or f"reported-{record.storage_id}"
    return RunRequest(
        run_key=cause,
        job_name=work.value,
        run_config=_same_window(instance, record.run_id),
        tags={"retail/features_from": cause, "retail/because": reason},
    )


def _same_window(instance: DagsterInstance, run_id: str) -> Mapping[str, Any]:
    """Return the window that the features' run was given, as run configuration.

    Not its full refresh: nothing that the CLV job does should empty a layer. Not `today`, which may
    be another day by now.
    """
    run = instance.get_run_by_id(run_id) if run_id else None
    given: Any = run.run_config if run else {}
    for name in ("resources", "run_window", "config"):
        given = given.get(name) or {}
    names = ("as_of", "horizon_days", "discount_rate")
    window = {name: given[name] for name in names if given.get(name) not in (None, TODAY)}
    return {"resources": {"run_window": {"config": window}}} if window else {}
