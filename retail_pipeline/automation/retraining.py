"""Work that new features call for: a new model, new predictions, or actual values of past ones.

Decided from Dagster's event log alone: the metadata of the landing tables when a model was last
trained or predictions were made, and now. Nothing is read from the warehouse. Conditions of Dagster
know which assets are newer, but no numbers; hence sensors.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg

from retail_pipeline.automation.jobs import CLV, REALISED, SCORE
from retail_pipeline.settings import TODAY

LANDED = dg.AssetKey(["transactional", "transactions"])
FEATURES = dg.AssetKey(["warehouse", "customer_features"])
MODEL = dg.AssetKey(["clv", "model"])
PREDICTIONS = dg.AssetKey(["clv", "predictions"])

RETRAIN_GROWTH = 0.05
"""Transactions since the training, as a share of those it used, from which models are trained anew
within a month. A new month brings a new cut-off, and so always does."""

_AT_ONCE = 100
"""Materializations that are read in one tick; the rest waits for the next one."""


@dataclass(frozen=True)
class Landing:
    """The as-of date, the generation of the data and the transactions that a sync has landed."""

    as_of: date
    generation: int
    transactions: int


@dataclass(frozen=True, order=True)
class OpenHorizon:
    """Predictions whose outcome is not complete: their date (ISO), horizon, generation of data."""

    as_of: str
    horizon_days: int
    generation: int

    @property
    def due(self) -> date:
        """The as-of date from which the outcome is complete."""
        return date.fromisoformat(self.as_of) + timedelta(days=self.horizon_days)


def runs_for_new_features(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    """Return the run that the features since the cursor call for: one, for the latest of them.

    However many were made since the last look, only the latest is worth a model. A sensor that was
    never evaluated before starts with the latest one.

    Args:
        instance: The instance whose event log is read.
        cursor: The storage id of the last materialization that was read; None at first.
    """
    found = _before_a_run_at_work(instance, _new_features(instance, cursor))
    if not found:
        return _nothing("there are no new features since the last look", cursor or "0")
    seen = str(found[-1].storage_id)
    usable = [record for record in found if _ended_well(instance, record.run_id)]
    if not usable:
        return _nothing("the runs with new features failed", seen)
    newest = usable[-1]
    if cursor is not None and _repeats_what_was_seen(instance, newest, found[0]):
        return _nothing("the features are those of the last look", seen)
    job, reason = job_for(instance, newest)
    if job is None:
        return _nothing(reason, seen)
    # A materialization that was reported by hand has no run; its own id stands in.
    cause = newest.run_id or f"reported-{newest.storage_id}"
    given = _window(instance, newest.run_id)
    # Neither a full refresh, as the job should empty no layer, nor `today`, which may have passed.
    names = ("as_of", "horizon_days", "discount_rate")
    window = {name: given[name] for name in names if given.get(name) not in (None, TODAY)}
    request = dg.RunRequest(
        run_key=cause,
        job_name=job,
        run_config=_run_config(window),
        tags={"retail/features_from": cause, "retail/because": reason},
    )
    return dg.SensorResult(run_requests=[request], cursor=seen)


def job_for(instance: dg.DagsterInstance, features: dg.EventLogRecord) -> tuple[str | None, str]:
    """Return the job that a materialization of the features calls for, and the reason."""
    trained, predicted = _latest(instance, MODEL), _latest(instance, PREDICTIONS)
    if trained is not None and trained.storage_id > features.storage_id:
        return None, "a model was trained on these features"
    then = _landing_at(instance, trained) if trained is not None else None
    if (reason := reason_to_retrain(_landing_at(instance, features), then)) is not None:
        return CLV, reason
    if predicted is not None and predicted.storage_id > features.storage_id:
        return None, "predictions were made on these features"
    return SCORE, "the features are new, but neither of a new month nor by many transactions"


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


def runs_for_passed_horizons(
    instance: dg.DagsterInstance, cursor: str | None, default_horizon: int
) -> dg.SensorResult:
    """Return a run per horizon whose predictions have come due since the cursor.

    They are due once the features of the warehouse reach past the horizon: these stand for data
    that is built and tested. Predictions of data that was rebuilt since never come due.

    Args:
        instance: The instance whose event log is read.
        cursor: The last predictions that were read and those that are open, as JSON; None at first.
        default_horizon: The horizon of runs that were given none, in days.
    """
    kept = json.loads(cursor) if cursor else {"seen": 0, "open": []}
    waiting = {OpenHorizon(*each) for each in kept["open"]}
    after = dg.AssetRecordsFilter(PREDICTIONS, after_storage_id=kept["seen"])
    found = instance.fetch_materializations(after, limit=_AT_ONCE, ascending=True).records
    for record in found:
        if (landed := _landing_at(instance, record)) is not None:
            horizon = _window(instance, record.run_id).get("horizon_days") or default_horizon
            waiting.add(OpenHorizon(landed.as_of.isoformat(), horizon, landed.generation))
    features = _latest(instance, FEATURES)
    now = _landing_at(instance, features) if features is not None else None
    due: set[OpenHorizon] = set()
    if now is not None:
        waiting = {each for each in waiting if each.generation == now.generation}
        due = {each for each in waiting if each.due <= now.as_of}
    left = sorted(waiting - due)
    seen = found[-1].storage_id if found else kept["seen"]
    return dg.SensorResult(
        run_requests=[_realised_request(last) for last in _latest_of_each_horizon(due)],
        skip_reason=None if due else dg.SkipReason(f"no horizon has passed; {len(left)} are open"),
        cursor=json.dumps({"seen": seen, "open": [astuple(each) for each in left]}),
    )


def _latest_of_each_horizon(due: set[OpenHorizon]) -> list[OpenHorizon]:
    latest = {each.horizon_days: each for each in sorted(due)}
    return [latest[days] for days in sorted(latest)]


def _realised_request(last: OpenHorizon) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{REALISED}-{last.generation}-{last.as_of}-{last.horizon_days}",
        job_name=REALISED,
        run_config=_run_config({"horizon_days": last.horizon_days}),
        tags={"retail/because": f"the {last.horizon_days} days after {last.as_of} have passed"},
    )


def _landing_at(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> Landing | None:
    """Return what had landed when something was materialized; None where that is not known."""
    landed = _latest(instance, LANDED, before=record.storage_id)
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


def _latest(
    instance: dg.DagsterInstance, key: dg.AssetKey, before: int | None = None
) -> dg.EventLogRecord | None:
    """Return an asset's latest materialization, of those before an id of the event log if given."""
    wanted = dg.AssetRecordsFilter(key, before_storage_id=before)
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def _new_features(instance: dg.DagsterInstance, cursor: str | None) -> list[dg.EventLogRecord]:
    if cursor is None:
        return list(instance.fetch_materializations(FEATURES, limit=1).records)
    after = dg.AssetRecordsFilter(FEATURES, after_storage_id=int(cursor))
    return list(reversed(instance.fetch_materializations(after, limit=_AT_ONCE).records))


def _repeats_what_was_seen(
    instance: dg.DagsterInstance, newest: dg.EventLogRecord, first_new: dg.EventLogRecord
) -> bool:
    """Return whether a build made the rows of the last good one before the new ones.

    Not of the build right before it: that may be as new as it is, and nothing has followed it yet.
    """
    earlier = dg.AssetRecordsFilter(FEATURES, before_storage_id=first_new.storage_id)
    records = instance.fetch_materializations(earlier, limit=_AT_ONCE).records
    seen = next((each for each in records if _ended_well(instance, each.run_id)), None)
    return seen is not None and _data_version(seen) == _data_version(newest)


def _data_version(record: dg.EventLogRecord) -> str | None:
    made = record.asset_materialization
    # One that was reported by hand has no version, and is never the same as another.
    return (made.tags or {}).get("dagster/data_version", str(record.storage_id)) if made else None


def _before_a_run_at_work(
    instance: dg.DagsterInstance, records: list[dg.EventLogRecord]
) -> list[dg.EventLogRecord]:
    """Return the records before the first whose run is not over: its tests may still fail."""
    for position, record in enumerate(records):
        run = instance.get_run_by_id(record.run_id) if record.run_id else None
        if run is not None and not run.is_finished:
            return records[:position]
    return records


def _ended_well(instance: dg.DagsterInstance, run_id: str) -> bool:
    # A materialization that was reported by hand has no run that could have failed.
    run = instance.get_run_by_id(run_id) if run_id else None
    return run is None or run.is_success


def _window(instance: dg.DagsterInstance, run_id: str) -> Mapping[str, Any]:
    """Return the configuration of `run_window` that a run was given; empty where it had none."""
    run = instance.get_run_by_id(run_id) if run_id else None
    given: Any = run.run_config if run else {}
    for name in ("resources", "run_window", "config"):
        given = given.get(name) or {}
    return given


def _run_config(window: Mapping[str, Any]) -> dict[str, Any]:
    return {"resources": {"run_window": {"config": dict(window)}}} if window else {}


def _nothing(reason: str, cursor: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=cursor)
