"""Runs whose process has ended without reporting it."""

import json

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from retail_pipeline.dagster_support.dead_runs import end_runs_of_code_location

GRPC_INFO_TAG = "dagster/grpc_info"
STARTED, FAILED = DagsterRunStatus.STARTED, DagsterRunStatus.FAILURE


def launched_by(host: str, port: int) -> dict[str, str]:
    return {GRPC_INFO_TAG: json.dumps({"host": host, "port": port})}


def test_a_code_location_that_starts_again_ends_its_own_runs_and_no_others() -> None:
    runs = {
        "its own": (STARTED, launched_by("code-location", 4000)),
        "ended": (DagsterRunStatus.SUCCESS, launched_by("code-location", 4000)),
        "of another server": (STARTED, launched_by("elsewhere", 4000)),
        "of a laptop": (STARTED, {GRPC_INFO_TAG: json.dumps({"host": "x", "socket": "/tmp/s"})}),
        "of the command line": (STARTED, {}),
    }
    with DagsterInstance.ephemeral() as instance:
        for name, (status, tags) in runs.items():
            instance.add_run(DagsterRun("pipeline", name, status=status, tags=tags))
        end_runs_of_code_location(instance, "code-location", 4000)
        found = {run.run_id: run.status for run in instance.get_runs()}
    assert found == {name: status for name, (status, _) in runs.items()} | {"its own": FAILED}
