"""The end of runs whose process is gone, and of the places in pools that they hold.

Dagster's default launcher cannot see whether a run's process is alive: run monitoring would end a
dead run only when its longest time is over, and on a laptop no daemon need be there to do so.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterInstance

_LAUNCHED_BY = "dagster/grpc_info"
"""The tag of a run that names the code location which started its process."""


@contextmanager
def held_by_this_process(instance: "DagsterInstance", folder: Path, run_id: str) -> Iterator[None]:
    """Hold a run's file lock for the block, after ending the runs whose lock nobody holds.

    The system gives up the lock of a process that ends, however it ends.

    Args:
        instance: Where runs are recorded.
        folder: Of the lock files; made if absent.
        run_id: The run of this process.
    """
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


def end_runs_of_code_location(instance: "DagsterInstance", host: str, port: int) -> None:
    """Report as failed the unfinished runs of a code location that is being started again.

    Its runs were processes in its container and ended with it.

    Args:
        instance: Where runs are recorded.
        host: Of the code location, as the webserver and the daemon know it.
        port: Its port.
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
        return  # its process is alive, or has ended meanwhile


def _end(instance: "DagsterInstance", run_id: str, reason: str) -> None:
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, reason)
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
