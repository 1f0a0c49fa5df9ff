"""What starts because something else happened: work after new features, alerts after runs.

Only the wiring: what new features call for is decided in `retraining` and `horizons`, what deserves
an alert in `alerts`, how it is sent in `delivery`.
"""

from collections.abc import Sequence
from functools import partial

from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    EventLogRecord,
    RunStatusChangeRecordsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from retail_pipeline.automation.alerts import (
    Alert,
    Owners,
    outcome_of,
)
from retail_pipeline.automation.delivery import (
    Book,
    deliver,
    post,
)
from retail_pipeline.automation.environments import (
    ALERTS,
    CLV_AFTER_NEW_FEATURES,
    REALISED_AFTER_HORIZON,
    sensor_status,
)
from retail_pipeline.automation.horizons import runs_for_passed_horizons
from retail_pipeline.automation.jobs import (
    CLV,
    REALISED,
    SCORE,
    Job,
)
from retail_pipeline.automation.retraining import runs_for_new_features
from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import Settings

_AT_ONCE = 50
"""Ended runs looked at per tick; the rest waits for the next one."""

_ENDS = (DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE)


def build_sensors(settings: Settings, jobs: Sequence[Job]) -> list[SensorDefinition]:
    """Return the sensors with the status that the environment gives them.

    Args:
        settings: Its environment decides what runs unasked.
        jobs: Those that sensors start are among them.

    Raises:
        KeyError: An environment was added and nobody decided what runs in it.
    """

    @sensor(
        name=CLV_AFTER_NEW_FEATURES,
        jobs=[job for job in jobs if job.name in (CLV, SCORE)],
        minimum_interval_seconds=30,
        default_status=sensor_status(CLV_AFTER_NEW_FEATURES, settings.environment),
        description="After new features: trains and chooses a model anew when they have a new "
        "month or enough new transactions, else refreshes predictions with the model that serves.",
    )
    def clv_after_new_features(context: SensorEvaluationContext) -> SensorResult:
        return runs_for_new_features(context.instance, context.cursor)

    @sensor(
        name=REALISED_AFTER_HORIZON,
        jobs=[job for job in jobs if job.name == REALISED],
        minimum_interval_seconds=60,
        default_status=sensor_status(REALISED_AFTER_HORIZON, settings.environment),
        description="Compares served predictions with what came, once the data reaches past their "
        "horizon: one run per horizon.",
    )
    def realised_after_horizon(context: SensorEvaluationContext) -> SensorResult:
        return runs_for_passed_horizons(context.instance, context.cursor, settings.horizon_days)

    @sensor(
        name=ALERTS,
        minimum_interval_seconds=30,
        default_status=sensor_status(ALERTS, settings.environment),
        description="Tells the owners of failed runs and checks, once per cause; what could not be "
        "sent waits for the next tick.",
    )
    def alerts(context: SensorEvaluationContext) -> SkipReason:
        return SkipReason(send_alerts(context.instance, settings, _owners_in(context)))

    return [clv_after_new_features, realised_after_horizon, alerts]


def send_alerts(instance: DagsterInstance, settings: Settings, owners: Owners) -> str:
    """Alert what the runs ended since the last call call for, and what waits from earlier calls.

    Args:
        instance: Whose runs are looked at.
        settings: The addresses, and the home in which the book of alerts is kept.
        owners: Whose an asset is.

    Returns:
        What was done, in words.

    Raises:
        PipelineError: A channel did not take an alert; nothing is lost, the next call repeats it.
    """
    path = settings.home / "alerts" / "book.json"
    book = Book.read(path)
    ended = _ended_runs(instance, book)
    alerts: list[Alert] = []
    for run in (instance.get_run_by_id(record.run_id) for record in ended):
        if run is not None:
            url = f"{settings.dagster_url}/runs/{run.run_id}"
            alert = partial(Alert, job=run.job_name, run_id=run.run_id, run_url=url)
            alerts += book.take(outcome_of(instance, run, owners), alert)
    post(book, alerts, settings)
    # Before anything is sent: whatever happens then, nothing is forgotten.
    book.write(path)
    failed = deliver(book, settings)
    book.write(path)
    if failed:
        raise PipelineError(
            f"{len(book.outbox)} alerts wait to be sent again at the next tick; "
            + "; ".join(failed)
        )
    return f"{len(ended)} runs ended, {len(alerts)} alerts"


def _ended_runs(instance: DagsterInstance, book: Book) -> Sequence[EventLogRecord]:
    """Return the ends of runs since the last look, in order; a first look starts with none."""
    from dagster._core.storage.runs import SqlRunStorage  # it imports SQLAlchemy and Alembic

    runs = instance.run_storage
    assert isinstance(runs, SqlRunStorage)  # as every storage of Dagster's is
    storage = runs.get_run_storage_id()
    if storage not in book.seen:
        latest = [_ends(instance, kind, None, newest=True) for kind in _ENDS]
        book.seen[storage] = max((r.storage_id for records in latest for r in records), default=0)
        return []
    found = [_ends(instance, kind, book.seen[storage]) for kind in _ENDS]
    # Where one kind has more to come, the other must not run ahead of it.
    full = [records[-1].storage_id for records in found if len(records) == _AT_ONCE]
    records = sorted((r for each in found for r in each), key=lambda record: record.storage_id)
    if full:
        records = [record for record in records if record.storage_id <= min(full)]
    if records:
        book.seen[storage] = records[-1].storage_id
    return records


def _ends(
    instance: DagsterInstance, kind: DagsterEventType, after: int | None, *, newest: bool = False
) -> Sequence[EventLogRecord]:
    wanted = RunStatusChangeRecordsFilter(kind, after_storage_id=after)  # type: ignore[arg-type]
    limit = 1 if newest else _AT_ONCE
    return instance.fetch_run_status_changes(wanted, limit=limit, ascending=not newest).records


def _owners_in(context: SensorEvaluationContext) -> Owners:
    graph = context.repository_def.asset_graph if context.repository_def else None

    def owners(key: AssetKey) -> Sequence[str]:
        return graph.get(key).owners if graph is not None and graph.has(key) else ()

    return owners
