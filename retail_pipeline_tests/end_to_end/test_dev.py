"""`retail-pipeline dev`: the reviewed graph, runs of the command line, and nothing left behind."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from retail_pipeline.dagster_support.local_run import LOCATION, REPOSITORY
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import open_database
from retail_pipeline.retail_api import source_id
from retail_pipeline.settings import PROJECT_ROOT, Settings, parse_source
from retail_pipeline_tests.end_to_end.local_ui import (
    PATIENCE_SECONDS,
    LocalUi,
    wait_for_end_of_group,
)
from retail_pipeline_tests.end_to_end.test_services import reviewed, shown

SOURCE, OTHER_SOURCE = "simulator:?customers=50&seed=1", "simulator:?customers=60&seed=1"

GRAPH = "{assetNodes{assetKey{path} groupName dependencyKeys{path}}}"
JOB_RUNS = """query($job: PipelineSelector!) {
    pipelineOrError(params: $job) { ... on Pipeline { runs { runId } } } }"""
EXECUTE_AGAIN = """mutation($parent: String!) {
    launchRunReexecution(reexecutionParams: {parentRunId: $parent, strategy: ALL_STEPS}) {
        ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
ENDED = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
FAILURES = """query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
    ... on ExecutionStepFailureEvent { error { message } } } } } }"""


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[LocalUi]:
    ui = LocalUi(tmp_path, RETAIL_SOURCE=SOURCE)
    yield ui
    ui.server.remove()


def test_both_workspaces_have_the_code_location_of_the_command_lines_runs() -> None:
    for path in ("workspace.yaml", "deploy/workspace.yaml"):
        [location] = yaml.safe_load((PROJECT_ROOT / path).read_text())["load_from"]
        [entry] = location.values()
        assert entry["location_name"] == LOCATION


def test_dev_is_protected_shows_runs_and_leaves_nothing_running(ui: LocalUi) -> None:
    for source in (SOURCE, OTHER_SOURCE):
        done = ui.run("run", "--source", source, "--select", 'key:"transactional/products"')
        assert done.returncode == 0, done.stderr
    with ui.serving("dev", port=ui.port) as dev:
        assert shown(ui.ask(GRAPH)) == reviewed()
        address = f"http://127.0.0.1:{ui.port}/"
        assert httpx.get(address, headers={"host": "evil.example"}).status_code == 400
        second = ui.run("dev", "--port", str(ui.port))
        assert (second.returncode, f"port {ui.port} on 127.0.0.1" in second.stderr) == (2, True)
        _execute_again(ui)
        dev.send_signal(signal.SIGINT)
        assert dev.wait(60) == 0
        wait_for_end_of_group(dev.pid)


def test_a_killed_dev_ends_its_children_too(ui: LocalUi) -> None:
    with ui.serving("dev", port=ui.port) as dev:
        dev.send_signal(signal.SIGTERM)
        dev.wait(60)
        wait_for_end_of_group(dev.pid)


def _execute_again(ui: LocalUi) -> None:
    """Execute the two runs of the command line again; the one of another source has to fail."""
    job = {"repositoryName": REPOSITORY, "repositoryLocationName": LOCATION}
    found = ui.ask(JOB_RUNS, job={**job, "pipelineName": "pipeline"})
    ends = {}
    for parent in (run["runId"] for run in reversed(found["runs"])):
        run = ui.ask(EXECUTE_AGAIN, parent=parent)["run"]["runId"]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (ended := ui.ask(ENDED, run=run))["status"] not in ("SUCCESS", "FAILURE"):
            assert time.monotonic() < deadline, ended
            time.sleep(1)
        ends[run] = ended["status"]
    assert list(ends.values()) == ["SUCCESS", "FAILURE"]
    reason = "this run is for the source simulator:customers=60&seed=1"
    assert reason in json.dumps(ui.ask(FAILURES, run=run))
    database = open_database(Settings(database_url=ui.url))
    assert read_state(database).source_id == source_id(parse_source(SOURCE))
