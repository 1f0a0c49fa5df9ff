"""What a run shows while it is at work: a line per finished asset, how far it is, what is left.

How long the rest takes is judged by when each asset was ready in an earlier run on this machine.
"""

import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from retail_pipeline.errors import (
    PipelineError,
    StoppedError,
    UsageError,
)

if TYPE_CHECKING:
    from dagster import DagsterEvent, EventLogEntry
    from dagster._utils.error import SerializableErrorInfo

Verdict = Literal["passed", "warned", "failed"]

_OWN_ERRORS = "retail_pipeline."
"""How Dagster starts the message of an error class of ours."""
_STOPPED = "INTERRUPT"
"""How Dagster calls the source of a failure that is a Ctrl-C or SIGTERM."""
_TERMINATED = "UNEXPECTED_TERMINATION"
"""How Dagster calls the reason of a run that was stopped between two steps."""
_CANCELED = "PIPELINE_CANCELED"
_RUN_ENDS = ("PIPELINE_FAILURE", _CANCELED)
_END = "end"
_BEGINNINGS = ("STEP_START", "STEP_RESTARTED")
_ENDS = ("STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY")
_LEAST_PACE, _MOST_PACE = 0.3, 3.0
"""How much faster or slower than the earlier run this one is thought to go on."""


class Course:
    """When each asset was ready, in seconds from the start; how long the rest will take.

    Args:
        names: The assets that are to be made.
        earlier: The same of an earlier run, with its end; empty where there was none.
    """

    def __init__(
        self, names: Collection[str] = (), earlier: Mapping[str, float] | None = None
    ) -> None:
        self.names = set(names)
        self.ready_after: dict[str, float] = {}
        self._earlier = earlier or {}
        self._started = time.monotonic()
        self._latest = ""

    @property
    def elapsed(self) -> float:
        """Seconds from the start."""
        return time.monotonic() - self._started

    def reached(self, name: str) -> None:
        """Take down that an asset is ready."""
        self.ready_after[name] = self.elapsed
        self._latest = name

    def remaining(self) -> float | None:
        """Return the seconds that are thought to be left; None where nothing tells."""
        if _END not in self._earlier or self._latest not in self._earlier:
            return None
        then = self._earlier[self._latest]
        pace = min(max(self.ready_after[self._latest] / max(then, 0.1), _LEAST_PACE), _MOST_PACE)
        since = self.elapsed - self.ready_after[self._latest]
        return max((self._earlier[_END] - then) * pace - since, 0.0)

    def words(self) -> str:
        """Return how far the run is."""
        done = f"{len(self.ready_after)} of {len(self.names)} assets, {self.elapsed:.0f} s"
        left = self.remaining()
        return done if left is None else f"{done}, about {left:.0f} s left"

    def write(self, path: Path) -> None:
        """Keep it for the next run."""
        path.write_text(json.dumps({**self.ready_after, _END: self.elapsed}, indent=1))

    @staticmethod
    def read(path: Path) -> dict[str, float]:
        """Return what an earlier run kept; nothing where none did, or it cannot be read."""
        try:
            return {str(k): float(v) for k, v in json.loads(path.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


class Spent:
    """The wall time of each step: of a second in which two are at work, each has half.

    So the steps' seconds add up to those in which anything was at work.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._at_work: set[str] = set()
        self._since = 0.0

    def begins(self, step: str) -> None:
        """Take down that a step begins now."""
        self._share_out()
        self._at_work.add(step)

    def ends(self, step: str) -> None:
        """Take down that it ends now."""
        self._share_out()
        self._at_work.discard(step)

    def _share_out(self) -> None:
        now = time.monotonic()
        for step in self._at_work:
            self.seconds[step] += (now - self._since) / len(self._at_work)
        self._since = now


class Progress:
    """Prints one line per finished asset, adds up the seconds of each stage, keeps what failed.

    As a rich renderable it is the line that says how far the run is. Entries may come from several
    threads.
    """

    def __init__(self, console: Console, doing: str) -> None:
        self.console = console
        self.course = Course()
        self.failures: list[PipelineError] = []
        self._verdicts: dict[str, Verdict] = {}
        self._doing = doing
        self._spent = Spent()
        self._stage_of_step: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def failed_checks(self) -> list[str]:
        """The checks that failed when they were evaluated last."""
        return [name for name, verdict in self._verdicts.items() if verdict == "failed"]

    @property
    def warned_checks(self) -> list[str]:
        """The checks that warned when they were evaluated last."""
        return [name for name, verdict in self._verdicts.items() if verdict == "warned"]

    @property
    def seconds(self) -> dict[str, float]:
        """The wall time of each stage so far, which adds up to the time of all steps."""
        stages: dict[str, float] = defaultdict(float)
        for step, seconds in self._spent.seconds.items():
            stages[self._stage_of_step.get(step, "other")] += seconds
        return dict(stages)

    def __rich__(self) -> Text:
        """Return the line as it is now."""
        return Text(self.course.words() if self.course.names else self._doing)

    def on_entry(self, entry: "EventLogEntry") -> None:
        """Take one entry of the run's log: an event, or words that an asset logged."""
        with self._lock:
            if entry.dagster_event is not None:
                self._on_event(entry.dagster_event)
            elif entry.level == logging.WARNING:
                self.console.print(f"  [yellow]![/] {escape(entry.user_message)}", highlight=False)

    def _on_event(self, event: "DagsterEvent") -> None:
        if event.is_step_materialization and event.asset_key and event.partition is None:
            self._materialized(event)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            self._checked(event)
        elif event.event_type_value in _BEGINNINGS:
            self._spent.begins(str(event.step_key))
        elif event.event_type_value in _ENDS:
            self._spent.ends(str(event.step_key))
            if event.is_step_failure:
                self.failures.append(_failure(event))
        elif event.event_type_value in _RUN_ENDS and not self.failures:
            self.failures.append(_failure_of_run(event))

    def _materialized(self, event: "DagsterEvent") -> None:
        assert event.asset_key is not None
        stage, name = event.asset_key.path[0], event.asset_key.path[-1]
        self._stage_of_step[str(event.step_key)] = (
            "dbt" if stage in ("staging", "intermediate", "warehouse") else stage
        )
        self.course.reached(f"{stage}/{name}")
        metadata = event.step_materialization_data.materialization.metadata
        rows = metadata.get("dagster/row_count")
        count = f"{rows.value:>12,} rows" if rows is not None else ""
        if synced := metadata.get("rows_synced"):
            count += f", {synced.value:,} synced"
        total = len(self.course.names)
        at = f"{len(self.course.ready_after):>{len(str(total))}}/{total}"
        self.console.print(
            f"  [green]✓[/] [dim]{at}[/] {f'{stage}/{name}':<42}{count}", highlight=False
        )

    def _checked(self, event: "DagsterEvent") -> None:
        check: Any = event.asset_check_evaluation_data
        name = f"{check.asset_key.to_user_string()}: {check.check_name}"
        severe = check.severity.value != "WARN"
        self._verdicts[name] = "passed" if check.passed else "failed" if severe else "warned"


def _failure(event: "DagsterEvent") -> PipelineError:
    """The innermost cause of a step's failure, as the error that the command line would raise."""
    source = event.step_failure_data.error_source
    if source is not None and source.value == _STOPPED:
        return _stopped(f"while {event.step_key} was at work")
    return _innermost(str(event.step_key), event.step_failure_data.error)


def _failure_of_run(event: "DagsterEvent") -> PipelineError:
    """What ended a run in which no step failed."""
    data = None if event.event_type_value == _CANCELED else event.job_failure_data
    reason = data.failure_reason if data is not None else None
    if data is None or (reason is not None and reason.value == _TERMINATED):
        return _stopped("between two steps")
    return _innermost("the run", data.error)


def _stopped(when: str) -> StoppedError:
    return StoppedError(f"stopped {when}; what was done before is kept: run again for the rest")


def _innermost(what: str, error: "SerializableErrorInfo | None") -> PipelineError:
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return PipelineError(f"{what} failed and gave no reason")
    kind = UsageError if error.cls_name == UsageError.__name__ else PipelineError
    words = error.message.strip()
    if words.startswith(_OWN_ERRORS):
        words = words.partition(": ")[2]
    return kind(f"{what}: {words}")
