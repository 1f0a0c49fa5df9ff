"""Which alerts the ended runs call for: one per cause, to the owners of what failed.

A cause is what failed, with its reason; it is open from its first alert until what failed goes well
again, and an open cause is not alerted twice. Sending is `delivery`'s.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import (
    AssetCheckSeverity,
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    EventLogEntry,
)

from retail_pipeline.errors import FAILED_ASSETS

ALERT_AFTER = {"failed": 1, AssetCheckSeverity.ERROR.value: 1, AssetCheckSeverity.WARN.value: 3}
"""How many runs in a row bear a cause before it is alerted: a warning may pass by itself."""

LONGEST_REASON = 500
_HITS_SHOWN = 20
_OWN_ERRORS = "retail_pipeline."
"""How Dagster starts the message of an error class of ours, which says nothing to people."""

Owners = Callable[[AssetKey], Sequence[str]]
"""Looks up whose an asset is."""


@dataclass(frozen=True)
class Cause:
    """One reason why things in one run went wrong.

    Attributes:
        assets: What it hit, as text; empty where a run failed outside of any asset.
        what: `failed`, or the severity of a check.
        check: The check that did not pass, if it was one.
        reason: In words.
        owners: Whose the assets are.
    """

    assets: tuple[str, ...]
    what: str
    check: str | None
    reason: str
    owners: tuple[str, ...]

    @property
    def key(self) -> str:
        """The cause as the same one in another run: numbers in its words do not count."""
        words = re.sub(r"[0-9a-f]{8,}|\d+", "#", self.reason.lower())
        first = self.assets[0] if self.assets else ""
        return "|".join([first, self.what, self.check or words])


@dataclass(frozen=True)
class Alert:
    """What a person is told."""

    cause: Cause
    job: str
    run_id: str
    run_url: str
    runs_in_a_row: int = 1

    @property
    def title(self) -> str:
        """One line: what, and what happened to it."""
        target = self.cause.assets[0] if self.cause.assets else f"job {self.job}"
        if len(self.cause.assets) > 1:
            target += f" and {len(self.cause.assets) - 1} more"
        if self.cause.check is None:
            return f"{target} failed"
        kind = "warns" if self.cause.what == AssetCheckSeverity.WARN.value else "did not pass"
        return f"{target}: check {self.cause.check} {kind}"

    @property
    def text(self) -> str:
        """The whole message."""
        lines = [self.title, self.cause.reason, f"job {self.job}, run {self.run_url}"]
        if self.runs_in_a_row > 1:
            lines.insert(1, f"in {self.runs_in_a_row} runs in a row")
        if len(self.cause.assets) > 1:
            more = len(self.cause.assets) - _HITS_SHOWN
            hit = [*self.cause.assets[:_HITS_SHOWN], *([f"{more} more"] if more > 0 else [])]
            lines.append("hit: " + ", ".join(hit))
        if self.cause.owners:
            lines.append("owner: " + ", ".join(self.cause.owners))
        return "\n".join(line for line in lines if line)


@dataclass(frozen=True)
class Outcome:
    """What a run says about causes: those it bears, and what has gone well in it.

    Attributes:
        causes: Those that it bears.
        well: Assets that were made, and keys of steps that succeeded.
        passed: Checks that passed, as asset and name.
    """

    causes: tuple[Cause, ...]
    well: frozenset[str]
    passed: frozenset[tuple[str, str]]


def outcome_of(instance: DagsterInstance, run: DagsterRun, owners: Owners) -> Outcome:
    """Return the causes of an ended run, and what went well in it.

    Steps that failed for one reason are one cause; a step that failed because of its own checks is
    these checks' cause, not a second one, but for assets that it says have failed. Of a step that
    was repeated, a check's last word counts.

    Args:
        instance: Whose event log is read.
        run: A run that has ended.
        owners: Whose an asset is.
    """
    events = _events(instance, run.run_id)
    assets_of_step = _assets_of_steps(events)
    evaluations = _last_evaluations(events)
    checks = [_check_cause(data, owners) for _, data in evaluations if not data.passed]
    blamed = {
        step
        for step, data in evaluations
        if not data.passed and data.severity is AssetCheckSeverity.ERROR
    }
    failures = [] if run.is_success else list(_failures(events, blamed, assets_of_step, owners))
    if not run.is_success and not failures and not blamed:
        failures = [Cause((), "failed", None, _reason_of_run(events), ())]
    passed = {
        (data.asset_key.to_user_string(), data.check_name) for _, data in evaluations if data.passed
    }
    return Outcome((*failures, *checks), frozenset(_went_well(events)), frozenset(passed))


def _events(instance: DagsterInstance, run_id: str) -> list[EventLogEntry]:
    return list(
        instance.all_logs(
            run_id,
            of_type={
                DagsterEventType.STEP_FAILURE,
                DagsterEventType.STEP_SUCCESS,
                DagsterEventType.RUN_FAILURE,
                DagsterEventType.ASSET_CHECK_EVALUATION,
                DagsterEventType.ASSET_MATERIALIZATION,
                DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            },
        )
    )


def _last_evaluations(events: Iterable[EventLogEntry]) -> list[tuple[str, Any]]:
    """Return each check's last evaluation with its step."""
    found: dict[tuple[AssetKey, str], tuple[str, Any]] = {}
    for event in (entry.get_dagster_event() for entry in events):
        if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            data = event.asset_check_evaluation_data
            found[data.asset_key, data.check_name] = (event.step_key or "", data)
    return list(found.values())


def _went_well(events: Iterable[EventLogEntry]) -> Iterator[str]:
    for event in (entry.get_dagster_event() for entry in events):
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
            yield event.asset_key.to_user_string()
        elif event.event_type is DagsterEventType.STEP_SUCCESS and event.step_key:
            yield event.step_key


def _assets_of_steps(events: Iterable[EventLogEntry]) -> dict[str, list[AssetKey]]:
    """Return what each step was to make; what it made before it failed is not hit."""
    planned: dict[str, list[AssetKey]] = defaultdict(list)
    made = set()
    for event in (entry.get_dagster_event() for entry in events):
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION_PLANNED and event.asset_key:
            planned[event.step_key or ""].append(event.asset_key)
        elif event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            made.add(event.asset_key)
    return {step: [key for key in keys if key not in made] for step, keys in planned.items()}


def _failures(
    events: Iterable[EventLogEntry],
    blamed: set[str],
    assets_of_step: dict[str, list[AssetKey]],
    owners: Owners,
) -> Iterator[Cause]:
    """Yield a cause for each reason for which steps failed."""
    steps_by_reason: dict[str, list[str]] = defaultdict(list)
    for entry in events:
        event = entry.get_dagster_event()
        if event.event_type is not DagsterEventType.STEP_FAILURE:
            continue
        if failed := _failed_assets(event):
            keys = [AssetKey.from_user_string(name) for name in failed]
            reason = _short(" ".join(dict.fromkeys(failed.values())))
            yield Cause(tuple(failed), "failed", None, reason, _owners(keys, owners))
        elif event.step_key not in blamed:
            steps_by_reason[_reason_of_step(event)].append(str(event.step_key))
    for reason, steps in steps_by_reason.items():
        keys = sorted({key for step in steps for key in assets_of_step.get(step, [])})
        names = tuple(key.to_user_string() for key in keys) or tuple(steps)
        yield Cause(names, "failed", None, reason, _owners(keys, owners))


def _failed_assets(event: Any) -> dict[str, str]:
    """Return the assets that a step says have failed, with the reasons; mostly it does not say."""
    data = event.step_failure_data.user_failure_data
    said = data.metadata.get(FAILED_ASSETS) if data is not None else None
    return dict(sorted(said.value.items())) if said is not None else {}


def _check_cause(evaluation: Any, owners: Owners) -> Cause:
    key = evaluation.asset_key
    reason = evaluation.description or "; ".join(
        f"{name}: {value.value}" for name, value in evaluation.metadata.items()
    )
    return Cause(
        (key.to_user_string(),),
        evaluation.severity.value,
        evaluation.check_name,
        _short(reason),
        _owners([key], owners),
    )


def _owners(keys: Iterable[AssetKey], owners: Owners) -> tuple[str, ...]:
    return tuple(sorted({owner for key in keys for owner in owners(key)}))


def _reason_of_step(event: Any) -> str:
    data = event.step_failure_data
    described = data.user_failure_data.description if data.user_failure_data else None
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    words = described or (error.message if error else "it gave no reason")
    return _short(words.partition(": ")[2] if words.startswith(_OWN_ERRORS) else words)


def _reason_of_run(events: Iterable[EventLogEntry]) -> str:
    for entry in events:
        event = entry.get_dagster_event()
        if event.event_type is DagsterEventType.RUN_FAILURE:
            return _short(event.message or "the run's process ended without a word")
    return "the run's process ended without a word"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_REASON else words[: LONGEST_REASON - 1] + "…"
