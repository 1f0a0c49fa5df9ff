"""The command `run`: the main job in this process, its progress, and the summary at the end."""

import dataclasses
import logging
import os
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console

from retail_pipeline.cli.summary import open_console, print_summary
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.settings import (
    FileSource,
    Settings,
    parse_as_of,
    parse_horizon,
    parse_source,
)

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterEvent, Definitions, EventLogEntry

JOB = "pipeline"
_FROM_THE_DECISION = 'key:"clv/model"+'
_OWN_ERRORS = "retail_pipeline."
"""How Dagster starts the message of an error class of ours."""


@dataclass
class Progress:
    """Prints one line per finished asset and adds up the seconds of each stage."""

    console: Console
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failures: list[PipelineError] = field(default_factory=list)
    failed_checks: list[str] = field(default_factory=list)
    warned_checks: list[str] = field(default_factory=list)
    _stage_of_step: dict[str, str] = field(default_factory=dict)

    def on_entry(self, entry: "EventLogEntry") -> None:
        """Take one entry of the run's log: an event, or words that an asset logged."""
        if entry.dagster_event is not None:
            self._on_event(entry.dagster_event)
        elif entry.level == logging.WARNING:
            self.console.print(f"  [yellow]![/] {entry.user_message}", highlight=False)

    def _on_event(self, event: "DagsterEvent") -> None:
        if event.is_step_materialization and event.asset_key and event.partition is None:
            self._materialized(event)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            self._checked(event)
        elif event.is_step_success:
            stage = self._stage_of_step.get(str(event.step_key), "other")
            self.seconds[stage] += event.step_success_data.duration_ms / 1000
        elif event.is_step_failure:
            self.failures.append(_failure(event))

    def _materialized(self, event: "DagsterEvent") -> None:
        assert event.asset_key is not None
        stage, name = event.asset_key.path[0], event.asset_key.path[-1]
        self._stage_of_step[str(event.step_key)] = (
            "dbt" if stage in ("staging", "intermediate", "warehouse") else stage
        )
        metadata = event.step_materialization_data.materialization.metadata
        rows = metadata.get("dagster/row_count")
        count = f"{rows.value:>12,} rows" if rows is not None else ""
        if synced := metadata.get("rows_synced"):
            count += f", {synced.value:,} synced"
        self.console.print(f"  [green]✓[/] {f'{stage}/{name}':<42}{count}", highlight=False)

    def _checked(self, event: "DagsterEvent") -> None:
        check: Any = event.asset_check_evaluation_data
        if check.passed:
            return
        name = f"{check.asset_key.to_user_string()}: {check.check_name}"
        warned = check.severity.value == "WARN"
        (self.warned_checks if warned else self.failed_checks).append(name)


def run(
    transactions: Annotated[
        Path | None, typer.Option(help="A Parquet or CSV file with one row per order line.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="simulator:?customers=N&seed=N, file:PATH or https://…")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Data before this date counts: YYYY-MM-DD or today.")
    ] = None,
    horizon_days: Annotated[
        int | None, typer.Option(help="Days ahead whose value is predicted, 1 to 1095.")
    ] = None,
    select: Annotated[
        str | None, typer.Option(help="Assets in Dagster's selection syntax: 'group:figures'.")
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Rebuild every layer from the source.")
    ] = False,
) -> None:
    """Run the pipeline: API, Airbyte, PostgreSQL, dbt, model, predictions, figures."""
    started = time.monotonic()
    settings = _settings(transactions, source)
    _check_source(settings, as_of)
    window: dict[str, Any] = {"full_refresh": full_refresh}
    if as_of is not None:
        window["as_of"] = parse_as_of(as_of, "--as-of").isoformat()
    if horizon_days is not None:
        window["horizon_days"] = parse_horizon(horizon_days, "--horizon-days")
    with _quiet_output(settings.home / "logs" / "run.log") as terminal:
        console = open_console(terminal)
        with console.status("starting …"):
            progress, seconds = _execute(settings, window, select, console)
        _conclude(settings, progress, seconds, time.monotonic() - started, console)


def refresh_serving(settings: Settings, horizon_days: int) -> None:
    """Decide anew which model serves a horizon, and make all that follows from it.

    In the main job, from `clv/model` on, on the data that is there; its source is not asked.

    Args:
        settings: Where state is kept.
        horizon_days: The horizon.

    Raises:
        PipelineError: A step failed; the message is its reason.
    """
    window: dict[str, Any] = {"horizon_days": horizon_days}
    with _quiet_output(settings.home / "logs" / "run.log") as terminal:
        console = open_console(terminal)
        with console.status("deciding …"):
            progress, _ = _execute(settings, window, _FROM_THE_DECISION, console, any_source=True)
        if progress.failures:
            raise progress.failures[-1]


def _settings(transactions: Path | None, source: str | None) -> Settings:
    if transactions is not None and source is not None:
        raise UsageError("--transactions and --source name two sources: give one of them")
    settings = Settings.from_environment()
    if transactions is not None:
        return dataclasses.replace(settings, source=FileSource(transactions.absolute()))
    if source is not None:
        return dataclasses.replace(settings, source=parse_source(source))
    return settings


def _check_source(settings: Settings, as_of: str | None) -> None:
    """Refuse a source that cannot be used before anything is touched."""
    from retail_pipeline.retail_api.source import open_dataset

    if isinstance(settings.source, FileSource):
        clock = parse_as_of(as_of, "--as-of") if as_of else settings.as_of
        open_dataset(settings.source, clock)


def _execute(
    settings: Settings,
    window: dict[str, Any],
    select: str | None,
    console: Console,
    *,
    any_source: bool = False,
) -> tuple[Progress, float]:
    from retail_pipeline.cli.instance import at_work, open_instance
    from retail_pipeline.cli.preparation import prepare

    began = time.monotonic()
    definitions = prepare(settings, syncs=select is None)
    selected = _selected(definitions, select)
    ingests = selected is None or any(key.path[0] == "transactional" for key in selected)
    if not ingests and not any_source:
        _refuse_new_data(settings, window)
    progress, run_id = Progress(console), str(uuid.uuid4())
    with open_instance(settings) as instance, at_work(instance, settings, run_id):
        instance.add_event_listener(run_id, progress.on_entry)
        prepared = time.monotonic() - began
        definitions.resolve_job_def(JOB).execute_in_process(
            instance=instance,
            run_id=run_id,
            asset_selection=selected,
            raise_on_error=False,
            run_config={
                "resources": {"run_window": {"config": window}},
                "loggers": {"console": {"config": {"log_level": "WARNING"}}},
            },
        )
    return progress, prepared


def _selected(definitions: "Definitions", select: str | None) -> "list[AssetKey] | None":
    if select is None:
        return None
    from dagster import AssetSelection

    try:
        keys = AssetSelection.from_string(select).resolve(definitions.resolve_asset_graph())
    except Exception as error:
        raise UsageError(
            f"--select {select!r} is not a selection of assets: {error}. "
            "Examples: 'group:figures', 'key:\"clv/predictions\"', '+key:\"clv/model\"'"
        ) from None
    if not keys:
        raise UsageError(f"--select {select!r} matches no asset")
    return sorted(keys)


def _refuse_new_data(settings: Settings, window: dict[str, Any]) -> None:
    """Refuse a source or a full refresh that a selection without ingestion would pass over."""
    from retail_pipeline.postgres import open_database
    from retail_pipeline.retail_api.source import source_id
    from retail_pipeline.state import read_state

    if window["full_refresh"]:
        raise UsageError("--full-refresh needs the transactional assets in --select")
    stored, asked = read_state(open_database(settings)).source_id, source_id(settings.source)
    if stored != asked:
        raise UsageError(
            f"the stored data is of {stored}, this run's source is {asked}: give the stored "
            "source, or select the transactional assets as well"
        )


def _failure(event: "DagsterEvent") -> PipelineError:
    """The innermost cause of a step's failure, as the error that the command line would raise."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return PipelineError(f"{event.step_key} failed and gave no reason")
    kind = UsageError if error.cls_name == UsageError.__name__ else PipelineError
    words = error.message.strip()
    if words.startswith(_OWN_ERRORS):
        words = words.partition(": ")[2]
    return kind(f"{event.step_key}: {words}")


def _conclude(
    settings: Settings, progress: Progress, prepared: float, total: float, console: Console
) -> None:
    if progress.failures:
        *others, first = reversed(progress.failures)
        log = settings.home / "logs" / "run.log"
        console.print(f"the run failed; its log is {log}", soft_wrap=True, highlight=False)
        for other in reversed(others):
            console.print(f"[red]✗[/] {other}", highlight=False)
        raise first
    print_summary(settings, {"set-up": prepared, **progress.seconds}, total, console)
    for name in progress.warned_checks:
        console.print(f"[yellow]warning[/] check {name}")
    if progress.failed_checks:
        raise PipelineError("checks failed: " + "; ".join(progress.failed_checks))


@contextmanager
def _quiet_output(log: Path) -> Iterator[TextIO]:
    """Send what libraries and child processes print to a log; yield the real terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminals = os.dup(1), os.dup(2)
    with log.open("w") as file, os.fdopen(os.dup(1), "w") as terminal:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, kept in zip((1, 2), terminals, strict=True):
                os.dup2(kept, number)
                os.close(kept)
