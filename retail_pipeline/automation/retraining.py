"""The decisions of two sensors: the runs after new features, and after passed horizons.

New features lead to a new model, to new predictions or to no run. A passed horizon leads to a
comparison of its predictions with the actual values. The decisions use the metadata of Dagster's
materializations, which automation conditions cannot compare; the warehouse is not read.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg

from retail_pipeline.automation.jobs import CLV, PREDICTIONS, REALISED, SCORE
from retail_pipeline.settings import TODAY

TRANSACTIONS = dg.AssetKey(["warehouse", "fct_transactions"])
FEATURES = dg.AssetKey(["warehouse", "customer_features"])
MODEL = dg.AssetKey(["clv", "model"])

RETRAIN_GROWTH = 0.05
"""Growth of the transactions since the training, as a share, that leads to a new training within a
month. A new month always does, because it adds a cut-off."""

_AT_ONCE = 100
"""Most materializations that are read in one tick; the rest wait for the next tick."""


@dataclass(frozen=True)
class Data:
    """The as-of date, the generation and the number of transactions of a warehouse build."""

    as_of: date
    generation: int
    transactions: int


@dataclass(frozen=True, order=True)
class OpenHorizon:
    """Predictions with an incomplete outcome: their as-of date (ISO), horizon and generation."""

    as_of: str
    horizon_days: int
    generation: int

    @property
    def due(self) -> date:
        """The as-of date from which the outcome is complete."""
        return date.fromisoformat(self.as_of) + timedelta(days=self.horizon_days)


def runs_for_new_features(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    """Return the run request for the latest features; none if they were already handled.

    Args:
        instance: The instance with the event log.
        cursor: The version of the features that were handled last; None in the first tick.
    """
    latest = _latest(instance, FEATURES)
    if latest is None:
        return _nothing("there are no features yet", cursor)
    run = instance.get_run_by_id(latest.run_id) if latest.run_id else None
    if run is not None and not run.is_success:
        state = "failed" if run.is_finished else "is unfinished: its tests may still fail"
        return _nothing(f"the run with the latest features {state}", cursor)
    version = _version(latest)
    if version == cursor:
        return _nothing("the features have not changed since the last tick", cursor)
    job, reason = job_for(instance, latest)
    if job is None:
        return _nothing(reason, version)
    # A materialization that was reported by hand has no run; its storage id is used instead.
    cause = latest.run_id or f"reported-{latest.storage_id}"
    given = _window_of(run) if run is not None else {}
    # Not `full_refresh`, which would empty the layers, and not `today`, which may have passed.
    names = ("as_of", "horizon_days", "discount_rate")
    window = {name: given[name] for name in names if given.get(name) not in (None, TODAY)}
    request = dg.RunRequest(
        run_key=cause,
        job_name=job,
        run_config=_run_config(window) if window else {},
        tags={"retail/features_from": cause, "retail/because": reason},
    )
    return dg.SensorResult(run_requests=[request], cursor=version)


def job_for(instance: dg.DagsterInstance, features: dg.EventLogRecord) -> tuple[str | None, str]:
    """Return the job to run after a materialization of the features, or None, and the reason."""
    trained, predicted = _latest(instance, MODEL), _latest(instance, PREDICTIONS)
    if trained is not None and trained.storage_id > features.storage_id:
        return None, "a model was trained on these features"
    then = _data_of(instance, trained) if trained is not None else None
    if (reason := reason_to_retrain(_data_of(instance, features), then)) is not None:
        return CLV, reason
    if predicted is not None and predicted.storage_id > features.storage_id:
        return None, "predictions were made on these features"
    return SCORE, "the features are new, but there is no new month and few new transactions"


def reason_to_retrain(now: Data | None, then: Data | None) -> str | None:
    """Return the reason to replace a model that was trained on the data `then`, or None."""
    if now is None or then is None:
        return "no model was trained yet, or its training data is not known"
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
    """Return a run request per horizon whose predictions have become due since the last tick.

    Predictions are due when the as-of date of the latest features reaches the end of their horizon.
    Predictions of an earlier generation of the data never become due.

    Args:
        instance: The instance with the event log.
        cursor: The last materialization of predictions that was read and the open horizons, as
            JSON; None in the first tick.
        default_horizon: The horizon, in days, of runs whose configuration sets none.
    """
    kept = json.loads(cursor) if cursor else {"seen": 0, "open": []}
    waiting = {OpenHorizon(*each) for each in kept["open"]}
    after = dg.AssetRecordsFilter(PREDICTIONS, after_storage_id=kept["seen"])
    found = instance.fetch_materializations(after, limit=_AT_ONCE, ascending=True).records
    for record in found:
        if (data := _data_of(instance, record)) is not None:
            run = instance.get_run_by_id(record.run_id)
            horizon = (_window_of(run) if run else {}).get("horizon_days") or default_horizon
            waiting.add(OpenHorizon(data.as_of.isoformat(), horizon, data.generation))
    features = _latest(instance, FEATURES)
    now = _data_of(instance, features) if features is not None else None
    due: dict[int, OpenHorizon] = {}
    if now is not None:
        waiting = {each for each in waiting if each.generation == now.generation}
        # One run per horizon handles all dates, so the latest date is enough.
        due = {each.horizon_days: each for each in sorted(waiting) if each.due <= now.as_of}
        waiting = {each for each in waiting if each.due > now.as_of}
    seen = found[-1].storage_id if found else kept["seen"]
    return dg.SensorResult(
        run_requests=[_realised_request(due[days]) for days in sorted(due)],
        skip_reason=None if due else f"no horizon has passed; {len(waiting)} are open",
        cursor=json.dumps({"seen": seen, "open": [astuple(each) for each in sorted(waiting)]}),
    )


def _realised_request(last: OpenHorizon) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{REALISED}-{last.generation}-{last.as_of}-{last.horizon_days}",
        job_name=REALISED,
        run_config=_run_config({"horizon_days": last.horizon_days}),
        tags={"retail/because": f"the {last.horizon_days} days after {last.as_of} have passed"},
    )


def _data_of(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> Data | None:
    """Return the warehouse data before a materialization, or None if its metadata is incomplete."""
    built = _latest(instance, TRANSACTIONS, before=record.storage_id)
    try:
        return Data(
            date.fromisoformat(_metadata_text(built, "as_of")),
            int(_metadata_text(built, "generation")),
            int(_metadata_text(built, "dagster/row_count")),
        )
    except ValueError:
        return None


def _version(features: dg.EventLogRecord) -> str:
    """Return the version of the features, which changes with their rows or their generation."""
    made = features.asset_materialization
    # Without a data version (reported by hand), each materialization has its own version.
    tags = (made.tags if made else None) or {}
    rows = tags.get("dagster/data_version", str(features.storage_id))
    return f"{_metadata_text(features, 'generation')}:{rows}"


def _metadata_text(record: dg.EventLogRecord | None, name: str) -> str:
    """Return a value of a materialization's metadata as text; empty if it is missing."""
    made = record.asset_materialization if record is not None else None
    value = made.metadata.get(name) if made is not None else None
    return str(value.value) if value is not None else ""


def _latest(
    instance: dg.DagsterInstance, key: dg.AssetKey, before: int | None = None
) -> dg.EventLogRecord | None:
    """Return an asset's latest materialization, or the latest before a storage id."""
    wanted = dg.AssetRecordsFilter(key, before_storage_id=before)
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def _window_of(run: dg.DagsterRun) -> Mapping[str, Any]:
    """Return a run's configuration of `run_window`; empty if it has none."""
    given: Any = run.run_config
    for name in ("resources", "run_window", "config"):
        given = given.get(name) or {}
    return given


def _run_config(window: Mapping[str, Any]) -> dict[str, Any]:
    return {"resources": {"run_window": {"config": dict(window)}}}


def _nothing(reason: str, cursor: str | None) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=cursor)
