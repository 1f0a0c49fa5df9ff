"""Causes of alerts: the failures of a run, with the reason and the owners.

A cause stays open from its first alert until its subjects are healthy again; an open cause is not
alerted twice. `delivery` stores the open causes and sends the alerts.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from retail_pipeline.errors import FAILED_ASSETS

LONGEST_REASON = 500
_ASSETS_SHOWN = 20
_OWN_ERRORS = "retail_pipeline."
"""The beginning of Dagster's messages for this project's error classes, which is removed."""
_NO_REASON = "the run's process ended without a reason"

Owners = Callable[[dg.AssetKey], Sequence[str]]
"""A function that returns the owners of an asset."""

_Events = Mapping[dg.DagsterEventType, Sequence[Any]]


@dataclass(frozen=True)
class Cause:
    """A reason for which assets, a check or a run failed.

    Attributes:
        job: The job of the run.
        assets: The keys of the assets concerned; empty if a run failed outside of any asset.
        reason: The reason, as a sentence.
        owners: The owners of the assets.
        check: The name of the check, if a check did not pass.
        is_warning: Whether the check's severity is a warning.
        ending: The end of the title's sentence, after the name of the asset or job.
    """

    job: str
    assets: tuple[str, ...]
    reason: str
    owners: tuple[str, ...] = ()
    check: str | None = None
    is_warning: bool = False
    ending: str = "failed"

    @property
    def key(self) -> str:
        """The identity of the cause across runs; numbers in the reason are ignored."""
        words = re.sub(r"[0-9a-f]{8,}|\d+", "#", self.reason.lower())
        return "|".join([self.subjects[0], "" if self.check else words, str(self.is_warning)])

    @property
    def subjects(self) -> list[str]:
        """The names of the assets, check or job; the cause is closed when all are healthy."""
        names = self.assets or (f"job {self.job}",)
        return [f"{name}:{self.check}" if self.check else name for name in names]

    @property
    def title(self) -> str:
        """The first line of the alert, with the asset or job and the kind of failure."""
        name, more = (self.assets or (f"job {self.job}",))[0], len(self.assets) - 1
        if self.check is not None:
            return f"{name}: check {self.check} {'warns' if self.is_warning else 'did not pass'}"
        return f"{name} and {more} more {self.ending}" if more > 0 else f"{name} {self.ending}"


@dataclass(frozen=True)
class Outcome:
    """The causes of a run that has ended, and its healthy subjects: assets, steps, checks, job."""

    run_id: str
    causes: tuple[Cause, ...]
    healthy: frozenset[str] = frozenset()

    def document(self, cause: Cause, dagster_url: str, runs_in_a_row: int = 1) -> dict[str, Any]:
        """Return the JSON document of a cause's alert; `text` is the whole message."""
        run_url = f"{dagster_url}/runs/{self.run_id}"
        hidden = len(cause.assets) - _ASSETS_SHOWN
        shown = [*cause.assets[:_ASSETS_SHOWN], *([f"{hidden} more"] if hidden > 0 else [])]
        lines = [
            cause.title,
            f"in {runs_in_a_row} runs in a row" if runs_in_a_row > 1 else "",
            cause.reason,
            f"job {cause.job}, run {run_url}",
            "assets: " + ", ".join(shown) if len(cause.assets) > 1 else "",
            "owner: " + ", ".join(cause.owners) if cause.owners else "",
        ]
        return {
            "text": "\n".join(line for line in lines if line),
            "title": cause.title,
            "assets": list(cause.assets),
            "check": cause.check,
            "cause": cause.reason,
            "owners": list(cause.owners),
            "job": cause.job,
            "run_id": self.run_id,
            "run_url": run_url,
        }


_TYPES = dg.DagsterEventType
_READ = {
    _TYPES.STEP_FAILURE,
    _TYPES.STEP_SUCCESS,
    _TYPES.RUN_FAILURE,
    _TYPES.ASSET_CHECK_EVALUATION,
    _TYPES.ASSET_MATERIALIZATION,
    _TYPES.ASSET_MATERIALIZATION_PLANNED,
}


def outcome_of(instance: dg.DagsterInstance, run: dg.DagsterRun, owners: Owners) -> Outcome:
    """Return the causes and the healthy subjects of a run that has ended.

    Steps that failed for the same reason are one cause. A step that failed because of its own
    checks is no additional cause, unless its metadata names failed assets. A log that cannot be
    read is a cause, because it may contain failures.

    Args:
        instance: The instance with the event log.
        run: A run that has ended.
        owners: Returns the owners of an asset.
    """
    try:
        return _outcome(run, _events(instance, run.run_id), owners)
    except Exception as error:  # no error may stop the alerts of other runs
        reason = _short(f"{type(error).__name__}: {error}")
        ending = "has ended, but its log cannot be read"
        return Outcome(run.run_id, (Cause(run.job_name, (), reason, ending=ending),))


def _events(instance: dg.DagsterInstance, run_id: str) -> _Events:
    events = defaultdict(list)
    for entry in instance.all_logs(run_id, of_type=_READ):
        event = entry.get_dagster_event()
        events[event.event_type].append(event)
    return events


def _outcome(run: dg.DagsterRun, events: _Events, owners: Owners) -> Outcome:
    # If a step was retried, its last evaluation of a check replaces earlier ones.
    checks = {
        (found.asset_key.to_user_string(), found.check_name): (event.step_key, found)
        for event in events[_TYPES.ASSET_CHECK_EVALUATION]
        for found in [event.asset_check_evaluation_data]
    }
    wrong = [(step, found) for step, found in checks.values() if not found.passed]
    causes = [_check_cause(run.job_name, found, owners) for _, found in wrong]
    if not run.is_success:
        error = dg.AssetCheckSeverity.ERROR
        blamed = {step for step, found in wrong if found.severity is error}
        failed = list(_step_causes(run.job_name, events, blamed, owners))
        if not failed and all(cause.is_warning for cause in causes):
            messages = [event.message for event in events[_TYPES.RUN_FAILURE] if event.message]
            failed = [Cause(run.job_name, (), _short([_NO_REASON, *messages][-1]))]
        causes = [*failed, *causes]
    healthy = {key.to_user_string() for key in _made(events)}
    healthy |= {event.step_key for event in events[_TYPES.STEP_SUCCESS]}
    healthy |= {f"{asset}:{name}" for (asset, name), (_, found) in checks.items() if found.passed}
    healthy |= {f"job {run.job_name}"} if run.is_success else set()
    return Outcome(run.run_id, tuple(causes), frozenset(healthy))


def _step_causes(job: str, events: _Events, blamed: set[str], owners: Owners) -> Iterator[Cause]:
    """Yield a cause per reason of failed steps, except `blamed` steps, which failed by checks."""
    planned = defaultdict(set)
    for event in events[_TYPES.ASSET_MATERIALIZATION_PLANNED]:
        planned[event.step_key].add(event.asset_key)
    steps_by_reason: dict[str, list[str]] = defaultdict(list)
    for event in events[_TYPES.STEP_FAILURE]:
        if named := _named_assets(event):
            keys = [dg.AssetKey.from_user_string(name) for name in named]
            reason = _short(" ".join(dict.fromkeys(named.values())))
            yield Cause(job, tuple(named), reason, _owners(keys, owners))
        elif event.step_key not in blamed:
            steps_by_reason[_reason_of_step(event)].append(event.step_key)
    for reason, steps in steps_by_reason.items():
        keys = sorted({key for step in steps for key in planned[step]} - _made(events))
        names = tuple(key.to_user_string() for key in keys) or tuple(steps)
        yield Cause(job, names, reason, _owners(keys, owners))


def _made(events: _Events) -> set[dg.AssetKey]:
    return {event.asset_key for event in events[_TYPES.ASSET_MATERIALIZATION]}


def _named_assets(event: Any) -> dict[str, str]:
    """Return the assets that a failed step's metadata names, with the reasons."""
    data = event.step_failure_data.user_failure_data
    named = data.metadata.get(FAILED_ASSETS) if data is not None else None
    return dict(sorted(named.value.items())) if named is not None else {}


def _check_cause(job: str, found: Any, owners: Owners) -> Cause:
    numbers = [f"{name}: {value.value}" for name, value in found.metadata.items()]
    return Cause(
        job,
        (found.asset_key.to_user_string(),),
        _short(found.description or "; ".join(numbers)),
        _owners([found.asset_key], owners),
        found.check_name,
        is_warning=found.severity is dg.AssetCheckSeverity.WARN,
    )


def _owners(keys: Sequence[dg.AssetKey], owners: Owners) -> tuple[str, ...]:
    return tuple(sorted({owner for key in keys for owner in owners(key)}))


def _reason_of_step(event: Any) -> str:
    data = event.step_failure_data
    described = data.user_failure_data.description if data.user_failure_data else None
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    words = described or (error.message if error else "it gave no reason")
    return _short(words.partition(": ")[2] if words.startswith(_OWN_ERRORS) else words)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_REASON else words[: LONGEST_REASON - 1] + "…"
