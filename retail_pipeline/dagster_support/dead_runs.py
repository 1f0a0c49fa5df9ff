"""Ending of runs whose process has died, which also frees their slots in pools.

Dagster's default launcher cannot check whether a run's process is alive. Run monitoring would end
such a run only after its maximum runtime, and needs the daemon, which may not run on a laptop.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retail_pipeline.files import usable_file, usable_folder

if TYPE_CHECKING:
    from dagster import DagsterInstance

_LAUNCHED_BY = "dagster/grpc_info"
"""The run tag with the address of the code location that started the run's process."""


@contextmanager
def held_by_this_process(instance: "DagsterInstance", folder: Path, run_id: str) -> Iterator[None]:
    """End the runs whose file lock is free, then hold this run's lock until the block ends.

    The operating system releases a lock when its process ends, even if it was killed.

    Args:
        instance: The Dagster instance.
        folder: The folder of the lock files, created if missing.
        run_id: The run of this process.
    """
    usable_folder(folder)
    for path in folder.glob("*.lock"):
        _end_if_dead(instance, usable_file(path))
    own = folder / f"{run_id}.lock"
    with own.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            own.unlink(missing_ok=True)


def end_runs_of_code_location(instance: "DagsterInstance", host: str, port: int) -> None:
    """Report the unfinished runs of a restarted code location as failed.

    Its runs were processes in its container, which ended with the container.

    Args:
        instance: The Dagster instance.
        host: The code location's host, as configured for the webserver and the daemon.
        port: The code location's port.
    """
    from dagster import DagsterRunStatus, RunsFilter

    unfinished = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    for run in instance.get_runs(RunsFilter(statuses=unfinished)):
        launched_by = json.loads(run.tags.get(_LAUNCHED_BY, "{}"))
        if (launched_by.get("host"), launched_by.get("port")) == (host, port):
            _end(instance, run.run_id, "the code location was started again during this run")


def _end_if_dead(instance: "DagsterInstance", path: Path) -> None:
    try:
        with path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _end(instance, path.stem, "the process of this run was killed, or crashed")
            path.unlink(missing_ok=True)
    except (BlockingIOError, FileNotFoundError):
        return  # the run's process is alive, or has just ended


def _end(instance: "DagsterInstance", run_id: str, reason: str) -> None:
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, reason)
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
