"""The command `run`: the main job, its progress, and the summary at the end."""

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from retail_pipeline.cli.progress import RunProgress
from retail_pipeline.cli.summary import open_console, print_summary
from retail_pipeline.errors import (
    PipelineError,
    StoppedError,
    UsageError,
)
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import open_database
from retail_pipeline.report.summary import read_summary
from retail_pipeline.settings import (
    FileSource,
    Settings,
    parse_as_of,
    parse_discount_rate,
    parse_horizon,
    parse_source,
)

if TYPE_CHECKING:
    from dagster import AssetKey, Definitions

JOB = "pipeline"
_FROM_THE_DECISION = 'key:"clv/model"+'


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
    discount_rate: Annotated[
        float | None,
        typer.Option(help="Yearly rate of discounted values, 0 to below 1: 0.1 is 10 % a year."),
    ] = None,
    select: Annotated[
        str | None, typer.Option(help="Assets in Dagster's selection syntax: 'group:figures'.")
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Rebuild every layer from the source.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON; progress goes to stderr.")
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
    if discount_rate is not None:
        window["discount_rate"] = parse_discount_rate(discount_rate, "--discount-rate")
    outcome: dict[str, Any] = {}
    try:
        with _quiet_output(settings, to_stderr=as_json) as terminal:
            console = open_console(terminal)
            progress, prepared = _execute(settings, window, select, console)
            seconds = {"set-up": prepared, **progress.seconds}
            if as_json:
                outcome = _outcome(settings, progress, seconds)
            _conclude(settings, progress, seconds, time.monotonic() - started, console)
    except PipelineError as error:
        if as_json:
            _print_json({"status": "failed", "error": str(error), **outcome})
        raise
    if as_json:
        _print_json({"status": "done", "error": None, **outcome})


def refresh_serving(settings: Settings, horizon_days: int) -> None:
    """Decide anew which model serves a horizon, and make all that follows from it.

    In the main job, from `clv/model` on, on the data that is there and at the discount rate of the
    predictions that are replaced; its source is not asked.

    Args:
        settings: Where state is kept.
        horizon_days: The horizon.

    Raises:
        PipelineError: A step failed; the message is its reason.
    """
    from retail_pipeline.clv.evaluation import promotion

    rate = promotion.served_discount_rate(open_database(settings), horizon_days)
    window: dict[str, Any] = {"horizon_days": horizon_days, "discount_rate": rate}
    with _quiet_output(settings) as terminal:
        console = open_console(terminal)
        progress, _ = _execute(settings, window, _FROM_THE_DECISION, console, any_source=True)
        if progress.failures:
            raise progress.failures[-1]


def _settings(transactions: Path | None, source: str | None) -> Settings:
    if transactions is not None and source is not None:
        raise UsageError("--transactions and --source name two sources: give one of them")
    settings = Settings.from_environment()
    if transactions is not None:
        return settings.model_copy(update={"source": FileSource(transactions.absolute())})
    if source is not None:
        return settings.model_copy(update={"source": parse_source(source)})
    return settings


def _check_source(settings: Settings, as_of: str | None) -> None:
    """Refuse a source that cannot be used before anything is touched."""
    from retail_pipeline.retail_api import open_dataset

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
) -> tuple[RunProgress, float]:
    """Run the main job in this process; return its progress and the seconds before its start."""
    from retail_pipeline.cli.instance import open_instance
    from retail_pipeline.dagster_support.dead_runs import held_by_this_process

    started, progress = time.monotonic(), RunProgress(console)
    with progress.bar:
        definitions = _prepare(settings)
        selected = _selected(definitions, select)
        ingests = selected is None or any(key.path[0] == "transactional" for key in selected)
        if not ingests and not any_source:
            _refuse_new_data(settings, window)
        run_id, job = str(uuid.uuid4()), definitions.resolve_job_def(JOB)
        progress.begin(len(list(selected or job.asset_layer.executable_asset_keys)))
        locks = settings.home / "dagster" / "at_work"
        with (
            open_instance(settings) as instance,
            held_by_this_process(instance, locks, run_id),
        ):
            instance.add_event_listener(run_id, progress.on_entry)
            prepared = time.monotonic() - started
            result = job.execute_in_process(
                run_config={
                    "resources": {"run_window": {"config": window}},
                    "loggers": {"console": {"config": {"log_level": "WARNING"}}},
                },
                instance=instance,
                run_id=run_id,
                asset_selection=selected,
                raise_on_error=False,
            )
    if not result.success and not progress.failures:
        progress.failures.append(PipelineError("the run failed and gave no reason"))
    return progress, prepared


def _prepare(settings: Settings) -> "Definitions":
    """Return the definitions; dbt's manifest is parsed and the database's server is started."""
    from retail_pipeline.cli.instance import dagster_environment

    # On first use the server takes seconds to be made, in a process of its own.
    with ThreadPoolExecutor(1) as beside:
        database = beside.submit(dagster_environment, settings)

        from retail_pipeline.build import build_definitions
        from retail_pipeline.warehouse.project import prepare_for

        prepare_for(settings)
        definitions = build_definitions(settings)
    database.result()
    return definitions


def _selected(definitions: "Definitions", select: str | None) -> "list[AssetKey] | None":
    if select is None:
        return None
    from dagster import AssetSelection

    try:
        graph = definitions.resolve_asset_graph()
        keys = AssetSelection.from_string(select).resolve(graph)
    except Exception as error:
        raise UsageError(
            f"--select {select!r} is not a selection of assets: {error}. "
            "Examples: 'group:figures', 'key:\"clv/predictions\"', '+key:\"clv/model\"'"
        ) from None
    if not keys:
        raise UsageError(f"--select {select!r} matches no asset")
    whole = [key for key in keys if graph.get(key).partitions_def is None]
    if not whole:
        names = ", ".join(sorted(key.to_user_string() for key in keys))
        raise UsageError(
            f"{names} is made by partition, by a backfill in the UI (`retail-pipeline dev`); "
            "a run brings it up to date with clv/backtest_summary"
        )
    return sorted(whole)


def _refuse_new_data(settings: Settings, window: dict[str, Any]) -> None:
    """Refuse a source or a full refresh that a selection without ingestion would pass over."""
    from retail_pipeline.retail_api import source_id

    if window["full_refresh"]:
        raise UsageError("--full-refresh needs the transactional assets in --select")
    stored, asked = read_state(open_database(settings)).source_id, source_id(settings.source)
    if stored != asked:
        raise UsageError(
            f"the stored data is of {stored}, this run's source is {asked}: give the stored "
            "source, or select the transactional assets as well"
        )


def _outcome(
    settings: Settings, progress: RunProgress, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Return the run's outcome for `--json`; of a failed run without the tables' contents."""
    outcome = {
        "seconds": {stage: round(spent, 2) for stage, spent in seconds.items()},
        "assets": sorted(progress.assets),
        "failed_checks": progress.failed_checks,
        "warned_checks": progress.warned_checks,
        "figures": str(settings.home / "figures"),
    }
    if progress.failures:
        return outcome
    database = open_database(settings)
    state = read_state(database)
    about = {"source": state.source_id, "as_of": state.as_of.isoformat()}
    return {**about, **outcome, **read_summary(database)}


def _print_json(outcome: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(outcome, indent=1) + "\n")


def _conclude(
    settings: Settings,
    progress: RunProgress,
    seconds: Mapping[str, float],
    total: float,
    console: Console,
) -> None:
    if progress.failures:
        *others, first = reversed(progress.failures)
        if isinstance(first, StoppedError):
            raise first
        log = settings.home / "logs" / "run.log"
        console.print(
            f"the run failed; its log is {escape(str(log))}", soft_wrap=True, highlight=False
        )
        for other in reversed(others):
            console.print(f"[red]✗[/] {escape(str(other))}", highlight=False)
        raise first
    print_summary(settings, seconds, total, console)
    for name in progress.warned_checks:
        console.print(f"[yellow]warning[/] check {escape(name)}")
    if progress.failed_checks:
        raise PipelineError("checks failed: " + "; ".join(progress.failed_checks))


@contextmanager
def _quiet_output(settings: Settings, *, to_stderr: bool = False) -> Iterator[TextIO]:
    """Send what libraries and child processes print to a log; yield the real terminal."""
    log = settings.home / "logs" / "run.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminals = os.dup(1), os.dup(2)
    with log.open("w") as file, os.fdopen(os.dup(2 if to_stderr else 1), "w") as terminal:
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
