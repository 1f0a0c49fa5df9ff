"""When the horizon of a served prediction has passed: what it was worth is filled in.

Answered from Dagster's event log alone, as in `retraining`. What the comparison is made of is the
asset's own matter.
"""

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from typing import Any

from dagster import (
    AssetRecordsFilter,
    DagsterInstance,
    RunRequest,
    SensorResult,
    SkipReason,
)

from retail_pipeline.automation.jobs import REALISED
from retail_pipeline.automation.retraining import (
    FEATURES,
    PREDICTIONS,
    landing_at,
    latest,
)

_AT_ONCE = 100
"""Predictions looked at per tick; the rest waits for the next one."""


@dataclass(frozen=True, order=True)
class Open:
    """Predictions whose outcome is not complete: their date (ISO), horizon, generation of data."""

    as_of: str
    horizon_days: int
    generation: int

    @property
    def due(self) -> date:
        """The as-of date from which the outcome is complete."""
        return date.fromisoformat(self.as_of) + timedelta(days=self.horizon_days)


def runs_for_passed_horizons(
    instance: DagsterInstance, cursor: str | None, default_horizon: int
) -> SensorResult:
    """Return a run per horizon whose predictions have come due since the cursor.

    Due is what the features of the warehouse reach: they stand for data that is built and tested.
    Predictions of data that was rebuilt since are gone, and never come due.

    Args:
        instance: Whose event log is read.
        cursor: The last predictions looked at and those that are open, as JSON; None at first.
        default_horizon: Of runs that were given none.
    """
    kept = json.loads(cursor) if cursor else {"seen": 0, "open": []}
    waiting = {Open(*each) for each in kept["open"]}
    found = instance.fetch_materializations(
        AssetRecordsFilter(PREDICTIONS, after_storage_id=kept["seen"]),
        limit=_AT_ONCE,
        ascending=True,
    ).records
    for record in found:
        landed = landing_at(instance, record)
        if landed is not None:
            horizon = _horizon(instance, record.run_id) or default_horizon
            waiting.add(Open(landed.as_of.isoformat(), horizon, landed.generation))
    features = latest(instance, FEATURES)
    now = landing_at(instance, features) if features is not None else None
    if now is None:
        due, left = set(), waiting
    else:
        waiting = {each for each in waiting if each.generation == now.generation}
        due = {each for each in waiting if each.due <= now.as_of}
        left = waiting - due
    seen = found[-1].storage_id if found else kept["seen"]
    written = json.dumps({"seen": seen, "open": [astuple(each) for each in sorted(left)]})
    return SensorResult(
        run_requests=list(_requests(due)),
        skip_reason=None if due else SkipReason(f"no horizon has passed; {len(left)} are open"),
        cursor=written,
    )


def _requests(due: Iterable[Open]) -> Iterable[RunRequest]:
    for horizon in sorted({each.horizon_days for each in due}):
        last = max(each for each in due if each.horizon_days == horizon)
        window = {"horizon_days": horizon}
        yield RunRequest(
            run_key=f"{REALISED}-{last.generation}-{last.as_of}-{horizon}",
            job_name=REALISED,
            run_config={"resources": {"run_window": {"config": window}}},
            tags={"retail/because": f"the {horizon} days after {last.as_of} have passed"},
        )


def _horizon(instance: DagsterInstance, run_id: str) -> int | None:
    run = instance.get_run_by_id(run_id) if run_id else None
    given: Any = run.run_config if run else {}
    for name in ("resources", "run_window", "config"):
        given = given.get(name) or {}
    return given.get("horizon_days")
