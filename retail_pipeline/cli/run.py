"""The command `run`: the main job, its progress, and the summary at the end."""

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from retail_pipeline.cli import file_options
from retail_pipeline.cli.job import execute, log_file
from retail_pipeline.cli.progress import RunProgress
from retail_pipeline.cli.summary import print_summary
from retail_pipeline.cli.terminal import open_console, print_json, print_line, quiet_output
from retail_pipeline.errors import PipelineError, StoppedError, UsageError
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import open_database
from retail_pipeline.report.summary import read_summary
from retail_pipeline.settings import (
    LONGEST_HORIZON_DAYS,
    FileSource,
    Settings,
    parse_as_of,
    parse_discount_rate,
    parse_file,
    parse_source,
    with_reading,
)


def run(
    transactions: Annotated[
        str | None,
        typer.Option(help="A file with one row per order line: CSV, Parquet, Excel, JSON."),
    ] = None,
    columns: file_options.Columns = None,
    profile: file_options.Profile = None,
    date_order: file_options.DateOrderOption = None,
    decimal: file_options.Decimal = None,
    accept_loss: file_options.AcceptLoss = None,
    missing_customer_words: file_options.MissingCustomerWords = None,
    source: Annotated[
        str | None, typer.Option(help="simulator:?customers=N&seed=N, file:PATH or https://…")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Use data before this date: YYYY-MM-DD or today.")
    ] = None,
    horizon_days: Annotated[
        int | None,
        typer.Option(min=1, max=LONGEST_HORIZON_DAYS, help="Number of days to predict."),
    ] = None,
    discount_rate: Annotated[
        float | None,
        typer.Option(help="Yearly discount rate, from 0 to below 1: 0.1 is 10 % a year."),
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
    """Run the pipeline: API, Airbyte, PostgreSQL, dbt, model, predictions, figures.

    A small shop: `retail-pipeline run --source 'simulator:?customers=500&seed=1'`

    Your own order lines: `retail-pipeline run --transactions sales.csv --as-of 2011-06-01`

    A shop's export: `retail-pipeline run --transactions orders_export.csv --profile shopify`

    Only the figures, from stored data: `retail-pipeline run --select 'group:figures'`
    """
    started = time.monotonic()
    settings = _settings(
        transactions,
        source,
        columns=columns,
        profile=profile,
        date_order=date_order,
        decimal=decimal,
        accept_loss=accept_loss,
        missing_customer_words=missing_customer_words,
    )
    window: dict[str, Any] = {"full_refresh": full_refresh}
    if as_of is not None:
        window["as_of"] = parse_as_of(as_of, "--as-of", settings.time_zone).isoformat()
    if horizon_days is not None:
        window["horizon_days"] = horizon_days
    if discount_rate is not None:
        window["discount_rate"] = parse_discount_rate(discount_rate, "--discount-rate")
    _check_source(settings, as_of)
    outcome: dict[str, Any] = {}
    try:
        with quiet_output(log_file(settings), to_stderr=as_json) as terminal:
            console = open_console(terminal)
            progress = execute(settings, window, select, console)
            if as_json:
                outcome = _outcome(settings, progress)
            _conclude(settings, progress, time.monotonic() - started, console)
    except PipelineError as error:
        if as_json:
            print_json({"status": "failed", "error": str(error), **outcome})
        raise
    if as_json:
        print_json({"status": "done", "error": None, **outcome})


def _settings(transactions: str | None, source: str | None, **reading: str | None) -> Settings:
    if transactions is not None and source is not None:
        raise UsageError("--transactions and --source both name a source: use one of them")
    settings = Settings.from_environment()
    chosen = settings.source
    if transactions is not None:
        chosen = parse_file(transactions, "--transactions")
    elif source is not None:
        chosen = parse_source(source)
    given = [f"--{name.replace('_', '-')}" for name, text in reading.items() if text is not None]
    if isinstance(chosen, FileSource):
        chosen = with_reading(chosen, **reading)
    elif given:
        raise UsageError(f"{', '.join(given)} is about reading a file: give --transactions FILE")
    return settings.model_copy(update={"source": chosen})


def _check_source(settings: Settings, as_of: str | None) -> None:
    """Raise a UsageError for an unusable file before anything is changed."""
    from retail_pipeline.retail_api import open_dataset

    if isinstance(settings.source, FileSource):
        day = parse_as_of(as_of, "--as-of", settings.time_zone) if as_of else settings.as_of
        open_dataset(settings.source, day, settings.time_zone)


def _outcome(settings: Settings, progress: RunProgress) -> dict[str, Any]:
    """Return the run's outcome for `--json`; for a failed run, without contents of tables."""
    outcome = {
        "seconds": {stage: round(spent, 2) for stage, spent in progress.seconds.items()},
        "assets": sorted(progress.assets),
        "failed_checks": progress.checks("failed"),
        "warned_checks": progress.checks("warned"),
        "figures": str(settings.home / "figures"),
    }
    if progress.failures:
        return outcome
    database = open_database(settings)
    state = read_state(database)
    about = {"source": state.source_id, "as_of": state.as_of.isoformat()}
    return {**about, **outcome, **read_summary(database)}


def _conclude(settings: Settings, progress: RunProgress, total: float, console: Console) -> None:
    """Print the summary and the warnings, or print the failures and raise the first one."""
    if progress.failures:
        *others, first = reversed(progress.failures)
        if isinstance(first, StoppedError):
            raise first
        print_line(console, f"the run failed; its log is {escape(str(log_file(settings)))}")
        for other in reversed(others):
            print_line(console, f"[red]✗[/] {escape(str(other))}")
        raise first
    print_summary(settings, progress.seconds, total, console)
    for name in progress.checks("warned"):
        finding = ": ".join(filter(None, [name, progress.findings[name]]))
        print_line(console, f"[yellow]warning[/] {escape(finding)}")
    if failed := progress.checks("failed"):
        raise PipelineError("checks failed: " + "; ".join(failed))
