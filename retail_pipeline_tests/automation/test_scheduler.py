"""Dagster's scheduler after a downtime of five nights starts one run."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dagster import DagsterInstance
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

WORLD = Path(__file__).with_name("production_world.py")
QUEUED = {
    "run_coordinator": {
        "module": "dagster._core.run_coordinator.queued_run_coordinator",
        "class": "QueuedRunCoordinator",
    }
}


def test_five_nights_without_a_daemon_are_one_run(tmp_path: Path) -> None:
    switched_on = datetime(2024, 6, 10, 12, tzinfo=UTC)
    started: dict[datetime, list[str]] = {}
    target = PythonFileTarget(str(WORLD), None, str(WORLD.parent), "world")
    with (
        DagsterInstance.local_temp(str(tmp_path), overrides=QUEUED) as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):
        logger = logging.getLogger("scheduler")
        for now in (
            switched_on,
            switched_on + timedelta(days=1),
            switched_on + timedelta(days=6),
            switched_on + timedelta(days=6, minutes=1),
        ):
            before = {run.run_id for run in instance.get_runs()}
            with freeze_time(now):
                list(launch_scheduled_runs(workspace, logger, now, {}))
            started[now] = [run.job_name for run in instance.get_runs() if run.run_id not in before]
    nights = [jobs.count("ingestion") for jobs in started.values()]
    assert nights == [0, 1, 1, 0]
