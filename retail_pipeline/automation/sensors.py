"""The sensors: runs after new features, runs after passed horizons, and alerts.

`retraining` decides on the runs, `alerts` finds the causes of alerts, and `delivery` sends them.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import dagster as dg
import pydantic

from retail_pipeline.automation.alerts import Owners, outcome_of
from retail_pipeline.automation.delivery import Memory, deliver, take
from retail_pipeline.automation.environments import Starter, status
from retail_pipeline.automation.jobs import CLV, REALISED, SCORE
from retail_pipeline.automation.retraining import runs_for_new_features, runs_for_passed_horizons
from retail_pipeline.settings import Settings

_AT_ONCE = 50
"""Most ended runs that are read in one tick; the rest wait for the next tick."""
_ENDS: Final = (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE)

_LOG = logging.getLogger("retail_pipeline.alerts")


def build_sensors(settings: Settings, jobs: Sequence[Any]) -> list[dg.SensorDefinition]:
    """Return the sensors with their default status in the environment.

    Args:
        settings: The settings with the environment and the addresses of alerts.
        jobs: The jobs, including those that sensors start.
    """

    def sensor(
        name: Starter,
        tick: Callable[[dg.SensorEvaluationContext], dg.SensorResult],
        description: str,
        started: Sequence[str] = (),
    ) -> dg.SensorDefinition:
        return dg.SensorDefinition(
            name=name.value,
            evaluation_fn=tick,
            jobs=[job for job in jobs if job.name in started],
            minimum_interval_seconds=30,
            default_status=dg.DefaultSensorStatus[status(name, settings)],
            description=description,
        )

    return [
        sensor(
            Starter.CLV_AFTER_NEW_FEATURES,
            lambda context: runs_for_new_features(context.instance, context.cursor),
            "After new features: trains and chooses a model if there is a new month or enough new "
            "transactions; otherwise refreshes predictions with the champion model.",
            [CLV, SCORE],
        ),
        sensor(
            Starter.REALISED_AFTER_HORIZON,
            lambda context: runs_for_passed_horizons(
                context.instance, context.cursor, settings.horizon_days
            ),
            "Compares served predictions with the actual values when their horizon has passed, "
            "in one run per horizon.",
            [REALISED],
        ),
        sensor(
            Starter.ALERTS,
            lambda context: send_alerts(
                context.instance, context.cursor, settings, _owners_in(context)
            ),
            "Alerts the owners of failed runs and checks, once per cause; an alert that was not "
            "delivered is sent again in the next tick.",
        ),
    ]


def send_alerts(
    instance: dg.DagsterInstance, cursor: str | None, settings: Settings, owners: Owners
) -> dg.SensorResult:
    """Send the alerts of the runs that ended since the last tick, and the waiting alerts.

    Dagster's run failure sensor is not used: it reads no checks, and after an alert that was not
    delivered it continues with the next run.

    Args:
        instance: The instance with the runs.
        cursor: The memory. Without one, only later runs cause alerts; if it is invalid, the latest
            runs are read again.
        settings: The settings with the addresses.
        owners: Returns the owners of an asset.
    """
    memory = _memory(instance, cursor)
    ended = _ended_runs(instance, memory.seen)
    alerts = 0
    for record in ended:
        memory.seen = record.storage_id
        if (run := instance.get_run_by_id(record.run_id)) is not None:
            alerts += take(memory, outcome_of(instance, run, owners), settings)
    failed = deliver(memory, settings)
    done = f"{len(ended)} runs ended, {alerts} new alerts"
    if memory.waiting:
        done += f"; {len(memory.waiting)} alerts wait"
    if failed:
        done += f": {'; '.join(failed)}"
        _LOG.error("%s", done)
    return dg.SensorResult(skip_reason=dg.SkipReason(done), cursor=memory.model_dump_json())


def _memory(instance: dg.DagsterInstance, cursor: str | None) -> Memory:
    """Return the memory of a cursor; without a cursor, it starts after the runs so far."""
    if cursor is None:
        return Memory(seen=max(_latest_ends(instance), default=0))
    try:
        return Memory.model_validate_json(cursor)
    except pydantic.ValidationError:
        _LOG.error("the memory of alerts is damaged: the latest runs are read again")
        return Memory(seen=min(_latest_ends(instance), default=1) - 1)


def _latest_ends(instance: dg.DagsterInstance) -> list[int]:
    return [
        record.storage_id
        for kind in _ENDS
        for record in instance.fetch_run_status_changes(kind, limit=_AT_ONCE).records
    ]


def _ended_runs(instance: dg.DagsterInstance, seen: int) -> Sequence[dg.EventLogRecord]:
    """Return the events of runs that ended after a storage id, oldest first."""
    found = [
        instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(kind, after_storage_id=seen),  # type: ignore[arg-type]
            limit=_AT_ONCE,
            ascending=True,
        ).records
        for kind in _ENDS
    ]
    records = sorted((r for each in found for r in each), key=lambda record: record.storage_id)
    # If one kind has more events than were read, later events of the other kind must wait.
    full = [each[-1].storage_id for each in found if len(each) == _AT_ONCE]
    return [each for each in records if not full or each.storage_id <= min(full)]


def _owners_in(context: dg.SensorEvaluationContext) -> Owners:
    graph = context.repository_def.asset_graph if context.repository_def else None

    def owners(key: dg.AssetKey) -> Sequence[str]:
        return graph.get(key).owners if graph is not None and graph.has(key) else ()

    return owners
