"""What starts because something else happened: the CLV job after new features."""

from collections.abc import Mapping
from typing import Any

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DefaultSensorStatus,
    EventLogRecord,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from retail_pipeline.automation.jobs import CLV
from retail_pipeline.settings import Environment

FEATURES = AssetKey(["warehouse", "customer_features"])
MODEL = AssetKey(["clv", "model"])

_AT_ONCE = 25
"""Materializations looked at per tick; the rest waits for the next one."""

_STATUS = {
    # A laptop must not start work by itself; the UI can switch the sensor on.
    Environment.LOCAL: DefaultSensorStatus.STOPPED,
    Environment.STAGING: DefaultSensorStatus.RUNNING,
    Environment.PRODUCTION: DefaultSensorStatus.RUNNING,
}


def build_sensors(environment: Environment) -> list[SensorDefinition]:
    """Return the sensors with the status that the environment gives them.

    Raises:
        KeyError: An environment was added and nobody decided what runs in it.
    """

    @sensor(
        name="clv_after_new_features",
        job_name=CLV,
        minimum_interval_seconds=30,
        default_status=_STATUS[environment],
        description="Starts the CLV job when warehouse/customer_features was materialized by a run "
        "that ended well and did not itself go on to clv/model: one run per materialization.",
    )
    def clv_after_new_features(context: SensorEvaluationContext) -> SensorResult:
        return runs_for_new_features(context.instance, context.cursor)

    return [clv_after_new_features]


def runs_for_new_features(instance: DagsterInstance, cursor: str | None) -> SensorResult:
    """Return the CLV runs that materializations of the features after the cursor call for.

    Dagster's own asset sensor looks at the latest materialization alone; this one looks at each, so
    that none is lost behind a later one of a run that goes on to the model. The cursor is the
    storage id of the last one looked at. A sensor that was never evaluated before starts with the
    latest one: history is no news.

    Args:
        instance: Whose event log is read.
        cursor: What the last evaluation returned; None at the first one.
    """
    records = _up_to_the_first_at_work(instance, _new_materializations(instance, cursor))
    if not records:
        return SensorResult(
            skip_reason=SkipReason("there are no new features since the last look"),
            cursor=cursor or "0",
        )
    requests = [
        _request(instance, record)
        for record in records
        if _ended_well(instance, record.run_id)
        and not _goes_on_to_the_model(instance, record.run_id)
    ]
    return SensorResult(
        run_requests=requests,
        skip_reason=None
        if requests
        else SkipReason("the runs with new features failed or do the rest"),
        cursor=str(records[-1].storage_id),
    )


def _new_materializations(instance: DagsterInstance, cursor: str | None) -> list[EventLogRecord]:
    if cursor is None:
        return list(instance.fetch_materializations(FEATURES, limit=1).records)
    after = AssetRecordsFilter(FEATURES, after_storage_id=int(cursor))
    return list(instance.fetch_materializations(after, limit=_AT_ONCE, ascending=True).records)


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


def _goes_on_to_the_model(instance: DagsterInstance, run_id: str) -> bool:
    # A run's selection is None where it is its whole job; what it plans is recorded either way.
    if not run_id:
        return False
    planned = instance.get_records_for_run(
        run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    ).records
    events = (record.event_log_entry.dagster_event for record in planned)
    return any(event is not None and event.asset_key == MODEL for event in events)


def _request(instance: DagsterInstance, record: EventLogRecord) -> RunRequest:
    # A materialization that was reported by hand has no run; its own id stands in.
    cause = record.run_id or f"reported-{record.storage_id}"
    return RunRequest(
        run_key=cause,
        run_config=_same_window(instance, record.run_id),
        tags={"retail/features_from": cause},
    )


def _same_window(instance: DagsterInstance, run_id: str) -> Mapping[str, Any]:
    """Return the as-of date and horizon that the features' run was given, as run configuration.

    Not its full refresh: nothing that the CLV job does should empty a layer.
    """
    run = instance.get_run_by_id(run_id) if run_id else None
    given: Any = run.run_config if run else {}
    for name in ("resources", "run_window", "config"):
        given = given.get(name) or {}
    window = {name: given[name] for name in ("as_of", "horizon_days") if given.get(name)}
    return {"resources": {"run_window": {"config": window}}} if window else {}
