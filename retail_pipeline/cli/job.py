"""The main job run in this process, for `run` and after a change of the served model."""

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from retail_pipeline.cli.instance import dagster_environment, open_instance
from retail_pipeline.cli.progress import RunProgress
from retail_pipeline.cli.terminal import open_console, quiet_output
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import open_database
from retail_pipeline.settings import Settings, TablesSource

if TYPE_CHECKING:
    from dagster import AssetKey, Definitions

JOB = "pipeline"
_FROM_THE_DECISION = 'key:"clv/model"+'


def log_file(settings: Settings) -> Path:
    """Return the path of the log with the output of libraries during the last run."""
    return settings.home / "logs" / "run.log"


_LANDING = ("transactional",)
_DBT = ("staging", "intermediate", "warehouse")
"""The layers that read the source, if another Airbyte fills its tables."""


def execute(
    settings: Settings, window: dict[str, Any], select: str | None, console: Console
) -> RunProgress:
    """Run the main job and return its progress, including the reasons of a failure.

    Args:
        settings: Settings with the source and the folder of state.
        window: Run configuration of the resource `run_window`.
        select: Assets in Dagster's selection syntax; None for all.
        console: Console for the progress.

    Raises:
        UsageError: The selection is invalid or empty, or the window or the source needs assets
            outside of it.
    """
    from retail_pipeline.retail_api import source_id

    started = time.monotonic()
    with console.status("starting …"):
        window = {**window, "source": source_id(settings.source)}
        definitions = _prepare(settings)
        selected = _selected(definitions, select)
        reads_source = _DBT if isinstance(settings.source, TablesSource) else _LANDING
        if selected is not None and not any(key.path[0] in reads_source for key in selected):
            _refuse_new_data(settings, window)
    return _run_job(definitions, settings, window, selected, console, started)


def refresh_serving(settings: Settings, horizon_days: int) -> None:
    """Choose the served model of a horizon again, and materialize `clv/model` and all after it.

    The main job runs on the stored data, without reading the source, and with the discount rate of
    the predictions that it replaces.

    Args:
        settings: Settings with the folder of state.
        horizon_days: The horizon.

    Raises:
        PipelineError: A step failed; the message is its reason.
    """
    from retail_pipeline.clv.evaluation import promotion

    rate = promotion.served_discount_rate(open_database(settings), horizon_days)
    window = {"horizon_days": horizon_days, "discount_rate": rate}
    started = time.monotonic()
    with quiet_output(log_file(settings)) as terminal:
        console, definitions = open_console(terminal), _prepare(settings)
        selected = _selected(definitions, _FROM_THE_DECISION)
        progress = _run_job(definitions, settings, window, selected, console, started)
        if progress.failures:
            raise progress.failures[-1]


def _prepare(settings: Settings) -> "Definitions":
    """Return the definitions, after starting the database's server and preparing the manifest."""
    from retail_pipeline.build import build_definitions
    from retail_pipeline.warehouse.project import prepare_for

    dagster_environment(settings)
    prepare_for(settings)
    return build_definitions(settings)


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
    whole = sorted(key for key in keys if graph.get(key).partitions_def is None)
    if not whole:
        raise UsageError(
            f"--select {select!r} matches no asset of the main job (clv/backtest is partitioned: "
            "select clv/backtest_summary, which updates it, or start a backfill in the UI)"
        )
    return whole


def _refuse_new_data(settings: Settings, window: dict[str, Any]) -> None:
    """Raise a UsageError if a selection without ingestion would ignore a source or full refresh."""
    from retail_pipeline.retail_api import source_id

    if window["full_refresh"]:
        raise UsageError("--full-refresh needs the transactional assets in --select")
    stored, given = read_state(open_database(settings)).source_id, source_id(settings.source)
    if stored != given:
        raise UsageError(
            f"the stored data are of {stored}, but the source of this run is {given}: use the "
            "stored source, or also select the transactional assets"
        )


def _run_job(
    definitions: "Definitions",
    settings: Settings,
    window: dict[str, Any],
    selected: "Sequence[AssetKey] | None",
    console: Console,
    started: float,
) -> RunProgress:
    from retail_pipeline.dagster_support.dead_runs import held_by_this_process
    from retail_pipeline.dagster_support.local_run import execute_here

    run_id, job = str(uuid.uuid4()), definitions.resolve_job_def(JOB)
    progress = RunProgress(console, len(list(selected or job.asset_layer.executable_asset_keys)))
    locks = settings.home / "dagster" / "at_work"
    with (
        progress.bar,
        open_instance(settings) as instance,
        held_by_this_process(instance, locks, run_id),
    ):
        instance.add_event_listener(run_id, progress.on_entry)
        progress.seconds["set-up"] = time.monotonic() - started
        run_config = {
            "resources": {"run_window": {"config": window}},
            "loggers": {"console": {"config": {"log_level": "WARNING"}}},
        }
        succeeded = execute_here(job, instance, run_id, run_config, selected)
    if not succeeded and not progress.failures:
        progress.failures.append(PipelineError("the run failed and gave no reason"))
    return progress
