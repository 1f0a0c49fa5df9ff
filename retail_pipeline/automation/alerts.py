"""Causes of alerts: what failed in a run, with the reason and the owners.

A cause stays open from its first alert until its subjects are healthy again; an open cause is not
alerted twice. Memory and sending are in `delivery`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from retail_pipeline.errors import FAILED_ASSETS

LONGEST_REASON = 500
_ASSETS_SHOWN = 20
_OWN_ERRORS = "retail_pipeline."
"""How Dagster starts the message of an error class of ours, which says nothing to people."""
_NO_REASON = "the run's process ended without a reason"

Owners = Callable[[dg.AssetKey], Sequence[str]]
"""Looks up the owners of an asset."""


@dataclass(frozen=True)
class Cause:
    """One reason for which something in a run failed or did not pass.

    Attributes:
        assets: The assets concerned, as text; empty where a run failed outside of any asset.
        reason: A sentence.
        owners: The owners of the assets.
        check: The check that did not pass, if it was one.
        is_warning: The check is a warning.
    """

    assets: tuple[str, ...]
    reason: str
    owners: tuple[str, ...]
    check: str | None = None
    is_warning: bool = False

    @property
    def key(self) -> str:
        """The same text for the same cause in another run: numbers in its reason do not count."""
        words = re.sub(r"[0-9a-f]{8,}|\d+", "#", self.reason.lower())
        return "|".join([*self.assets[:1], self.check or words, str(self.is_warning)])

    @property
    def subjects(self) -> list[str]:
        """The names that have to be healthy for the cause to be over; none stands for the job."""
        return [f"{asset}:{self.check}" if self.check else asset for asset in self.assets]


@dataclass(frozen=True)
class Outcome:
    """The causes of one ended run, and its healthy subjects: assets, steps, passed checks, job."""

    job: str
    run_id: str
    causes: tuple[Cause, ...]
    healthy: frozenset[str]

    def document(self, cause: Cause, dagster_url: str, runs_in_a_row: int = 1) -> dict[str, Any]:
        """Return the alert of a cause as webhooks get it; `text` is the whole message."""
        target = cause.assets[0] if cause.assets else f"job {self.job}"
        more = len(cause.assets) - 1
        title = f"{target} and {more} more failed" if more > 0 else f"{target} failed"
        if cause.check is not None:
            ending = "warns" if cause.is_warning else "did not pass"
            title = f"{target}: check {cause.check} {ending}"
        run_url = f"{dagster_url}/runs/{self.run_id}"
        hidden = len(cause.assets) - _ASSETS_SHOWN
        shown = [*cause.assets[:_ASSETS_SHOWN], *([f"{hidden} more"] if hidden > 0 else [])]
        lines = [
            title,
            f"in {runs_in_a_row} runs in a row" if runs_in_a_row > 1 else "",
            cause.reason,
            f"job {self.job}, run {run_url}",
            "assets: " + ", ".join(shown) if more > 0 else "",
            "owner: " + ", ".join(cause.owners) if cause.owners else "",
        ]
        return {
            "text": "\n".join(line for line in lines if line),
            "title": title,
            "assets": list(cause.assets),
            "check": cause.check,
            "cause": cause.reason,
            "owners": list(cause.owners),
            "job": self.job,
            "run_id": self.run_id,
            "run_url": run_url,
        }


@dataclass
class _Log:
    """The events of one run that alerts depend on; of a repeated step the last check counts."""

    planned: dict[str, list[dg.AssetKey]] = field(default_factory=lambda: defaultdict(list))
    made: set[dg.AssetKey] = field(default_factory=set)
    succeeded: set[str] = field(default_factory=set)
    failures: list[Any] = field(default_factory=list)
    checks: dict[Any, tuple[str, Any]] = field(default_factory=dict)
    run_failure: str = ""

    @classmethod
    def read(cls, instance: dg.DagsterInstance, run_id: str) -> "_Log":
        log, types = cls(), dg.DagsterEventType
        for entry in instance.all_logs(run_id, of_type=_EVENT_TYPES):
            event = entry.get_dagster_event()
            step = event.step_key or ""
            if event.event_type is types.ASSET_CHECK_EVALUATION:
                found = event.asset_check_evaluation_data
                log.checks[found.asset_key, found.check_name] = (step, found)
            elif event.event_type is types.ASSET_MATERIALIZATION and event.asset_key:
                log.made.add(event.asset_key)
            elif event.event_type is types.ASSET_MATERIALIZATION_PLANNED and event.asset_key:
                log.planned[step].append(event.asset_key)
            elif event.event_type is types.STEP_SUCCESS:
                log.succeeded.add(step)
            elif event.event_type is types.STEP_FAILURE:
                log.failures.append(event)
            elif event.event_type is types.RUN_FAILURE:
                log.run_failure = event.message or ""
        return log


_EVENT_TYPES = {
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
}


def outcome_of(instance: dg.DagsterInstance, run: dg.DagsterRun, owners: Owners) -> Outcome:
    """Return the causes of an ended run, and what is healthy after it.

    Steps that failed for one reason are one cause. A step that failed because of its own checks is
    the cause of these checks, not a second one, but for the assets that it names as failed.

    Args:
        instance: The instance whose event log is read.
        run: A run that has ended.
        owners: Looks up the owners of an asset.
    """
    log = _Log.read(instance, run.run_id)
    causes = [_check_cause(found, owners) for _, found in log.checks.values() if not found.passed]
    if not run.is_success:
        failed = list(_step_causes(log, owners))
        if not failed and all(cause.is_warning for cause in causes):
            failed = [Cause((), _short(log.run_failure or _NO_REASON), ())]
        causes = [*failed, *causes]
    healthy = {key.to_user_string() for key in log.made} | log.succeeded
    healthy |= {
        f"{found.asset_key.to_user_string()}:{found.check_name}"
        for _, found in log.checks.values()
        if found.passed
    }
    if run.is_success:
        healthy.add(f"job {run.job_name}")
    return Outcome(run.job_name, run.run_id, tuple(causes), frozenset(healthy))


def _step_causes(log: _Log, owners: Owners) -> Iterator[Cause]:
    """Yield a cause for each reason for which steps failed."""
    blamed = {
        step
        for step, found in log.checks.values()
        if not found.passed and found.severity is dg.AssetCheckSeverity.ERROR
    }
    steps_by_reason: dict[str, list[str]] = defaultdict(list)
    for event in log.failures:
        if named := _named_assets(event):
            keys = [dg.AssetKey.from_user_string(name) for name in named]
            reason = _short(" ".join(dict.fromkeys(named.values())))
            yield Cause(tuple(named), reason, _owners(keys, owners))
        elif event.step_key not in blamed:
            steps_by_reason[_reason_of_step(event)].append(str(event.step_key))
    for reason, steps in steps_by_reason.items():
        keys = sorted({key for step in steps for key in log.planned[step]} - log.made)
        names = tuple(key.to_user_string() for key in keys) or tuple(steps)
        yield Cause(names, reason, _owners(keys, owners))


def _named_assets(event: Any) -> dict[str, str]:
    """Return the assets that a failed step names in its metadata, with the reasons."""
    data = event.step_failure_data.user_failure_data
    named = data.metadata.get(FAILED_ASSETS) if data is not None else None
    return dict(sorted(named.value.items())) if named is not None else {}


def _check_cause(found: Any, owners: Owners) -> Cause:
    reason = found.description or "; ".join(
        f"{name}: {value.value}" for name, value in found.metadata.items()
    )
    return Cause(
        (found.asset_key.to_user_string(),),
        _short(reason),
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
