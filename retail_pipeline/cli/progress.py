"""The progress of a run on the terminal: one line per finished asset, a bar, and failures."""

import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from retail_pipeline.errors import PipelineError, StoppedError, UsageError

if TYPE_CHECKING:
    from dagster import DagsterEvent, EventLogEntry

CheckResult = Literal["passed", "warned", "failed"]

_OWN_ERRORS = "retail_pipeline."
"""Prefix that Dagster puts before the message of an error class of this package."""
_INTERRUPTED = "INTERRUPT"
"""Dagster's error source of a step that was stopped by Ctrl-C or SIGTERM."""
_TERMINATED = "UNEXPECTED_TERMINATION"
"""Dagster's failure reason of a run that was stopped between two steps."""
_CANCELED = "PIPELINE_CANCELED"
_RUN_ENDS = ("PIPELINE_FAILURE", _CANCELED)
_STEP_STARTS = ("STEP_START", "STEP_RESTARTED")
_STEP_ENDS = ("STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY")


class RunProgress:
    """Prints the events of a run and records its outcome; `on_entry` listens to the event log.

    Args:
        console: Console for the output.
        total: Number of assets of the run.

    Attributes:
        assets: The finished assets in order.
        seconds: Duration of each stage's steps in seconds.
        failures: Reasons of the failed steps, or of the run's failure if no step failed.
        findings: The description of each check's latest evaluation, by its name; may be empty.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.assets: list[str] = []
        self.seconds: dict[str, float] = defaultdict(float)
        self.failures: list[PipelineError] = []
        self.bar = Progress(
            TextColumn("assets"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.findings: dict[str, str] = {}
        self._check_results: dict[str, CheckResult] = {}
        self._task = self.bar.add_task("assets", total=total)
        self._total = total
        self._step_started = time.monotonic()
        self._stage = "other"

    def checks(self, result: CheckResult) -> list[str]:
        """Return the checks whose latest evaluation had this result."""
        return [name for name, found in self._check_results.items() if found == result]

    def on_entry(self, entry: "EventLogEntry") -> None:
        """Print and record one entry of the run's log: an event, or a message of an asset."""
        if entry.dagster_event is not None:
            self._on_event(entry.dagster_event)
        elif entry.level == logging.WARNING:
            self.console.print(f"  [yellow]![/] {escape(entry.user_message)}", highlight=False)

    def _on_event(self, event: "DagsterEvent") -> None:
        if event.is_step_materialization and event.asset_key and event.partition is None:
            self._materialized(event)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            self._checked(event)
        elif event.event_type_value in _STEP_STARTS:
            self._step_started, self._stage = time.monotonic(), "other"
        elif event.event_type_value in _STEP_ENDS:
            self.seconds[self._stage] += time.monotonic() - self._step_started
            if event.is_step_failure:
                self.failures.append(_step_failure(event))
        elif event.event_type_value in _RUN_ENDS and not self.failures:
            self.failures.append(_run_failure(event))

    def _materialized(self, event: "DagsterEvent") -> None:
        assert event.asset_key is not None
        stage, name = event.asset_key.path[0], event.asset_key.path[-1]
        self._stage = "dbt" if stage in ("staging", "intermediate", "warehouse") else stage
        self.assets.append(f"{stage}/{name}")
        self.bar.update(self._task, completed=len(self.assets))
        metadata = event.step_materialization_data.materialization.metadata
        rows = metadata.get("dagster/row_count")
        count = f"{rows.value:>12,} rows" if rows is not None else ""
        if synced := metadata.get("rows_synced"):
            count += f", {synced.value:,} synced"
        at = f"{len(self.assets):>{len(str(self._total))}}/{self._total}"
        self.console.print(
            f"  [green]✓[/] [dim]{at}[/] {f'{stage}/{name}':<42}{count}", highlight=False
        )

    def _checked(self, event: "DagsterEvent") -> None:
        check: Any = event.asset_check_evaluation_data
        name = f"{check.asset_key.to_user_string()}: {check.check_name}"
        failed: CheckResult = "warned" if check.severity.value == "WARN" else "failed"
        self._check_results[name] = "passed" if check.passed else failed
        self.findings[name] = check.description or ""


def _step_failure(event: "DagsterEvent") -> PipelineError:
    """Return the innermost cause of a step's failure as an error for the command line."""
    source = event.step_failure_data.error_source
    if source is not None and source.value == _INTERRUPTED:
        return _stopped(f"during {event.step_key}")
    return _innermost(str(event.step_key), event.step_failure_data.error)


def _run_failure(event: "DagsterEvent") -> PipelineError:
    """Return the reason of a run's failure if no step failed."""
    data = None if event.event_type_value == _CANCELED else event.job_failure_data
    reason = data.failure_reason if data is not None else None
    if data is None or (reason is not None and reason.value == _TERMINATED):
        return _stopped("between two steps")
    return _innermost("the run", data.error)


def _stopped(when: str) -> StoppedError:
    return StoppedError(f"stopped {when}; finished steps are kept: run again for the rest")


def _innermost(subject: str, error: Any) -> PipelineError:
    """Return the last cause in a chain of Dagster's serialized errors."""
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return PipelineError(f"{subject} failed and gave no reason")
    kind = UsageError if error.cls_name == UsageError.__name__ else PipelineError
    message = error.message.strip()
    if message.startswith(_OWN_ERRORS):
        message = message.partition(": ")[2]
    return kind(f"{subject}: {message}")
