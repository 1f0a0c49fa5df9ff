"""Dagster's instance for the command line and `make dev`: its home, its storage in PostgreSQL."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retail_pipeline.files import replaced_whole
from retail_pipeline.postgres.open import dagster_database_url
from retail_pipeline.settings import (
    PROJECT_ROOT,
    Settings,
)

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

STORAGE_VARIABLE = "DAGSTER_POSTGRES_URL"

_CONFIGURATION = PROJECT_ROOT / "deploy" / "dagster.yaml"


def dagster_environment(settings: Settings) -> dict[str, str]:
    """Return the variables under which Dagster finds its home; writes the home's `dagster.yaml`."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    wanted = _CONFIGURATION.read_text()
    if not configuration.exists() or configuration.read_text() != wanted:
        with replaced_whole(configuration) as draft:  # several services start at once
            draft.write_text(wanted)
    return {"DAGSTER_HOME": str(home), STORAGE_VARIABLE: dagster_database_url(settings)}


@contextmanager
def open_instance(settings: Settings) -> Iterator["DagsterInstance"]:
    """Open the instance that `make dev` shows, so that its UI lists the command line's runs."""
    from dagster import DagsterInstance

    os.environ.update(dagster_environment(settings))
    with DagsterInstance.get() as instance:
        yield instance


@contextmanager
def at_work(instance: "DagsterInstance", settings: Settings, run_id: str) -> Iterator[None]:
    """Hold a file's lock while this process is at work on a run, and end runs whose process died.

    The system gives up the lock of a process that was killed: a run that nobody holds any more is
    called failed here, and its places in pools are free for the next one.
    """
    folder = settings.home / "dagster" / "at_work"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.lock"):
        _end_if_dead(instance, path)
    own = folder / f"{run_id}.lock"
    with own.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            own.unlink(missing_ok=True)


def end_runs_of_earlier_server(instance: "DagsterInstance", host: str, port: int) -> None:
    """Call failed what the code location at an address was at work on before it was started again.

    Its runs were processes of its own and ended with it; nothing else would notice before their
    longest time is over, and their places in pools would be taken until then.

    Args:
        instance: Where runs are recorded.
        host: Of the code location, as the webserver and the daemon know it.
        port: Its port.
    """
    from dagster import DagsterRunStatus, RunsFilter
    from dagster._core.storage.tags import GRPC_INFO_TAG

    at_work = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    for run in instance.get_runs(RunsFilter(statuses=at_work)):
        launched_by = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
        if (launched_by.get("host"), launched_by.get("port")) == (host, port):
            _end(instance, run, "the code location was started again while this run was at work")


def _end(instance: "DagsterInstance", run: "DagsterRun", why: str) -> None:
    instance.report_run_failed(run, why)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _end_if_dead(instance: "DagsterInstance", path: Path) -> None:
    try:
        with path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            run = instance.get_run_by_id(path.stem)
            if run is not None and not run.is_finished:
                instance.report_run_failed(
                    run, "the process of this run ended without a word: it was killed, or crashed"
                )
            instance.event_log_storage.free_concurrency_slots_for_run(path.stem)
            path.unlink(missing_ok=True)
    except (BlockingIOError, FileNotFoundError):
        return  # at work, or ended meanwhile
