"""A run that is terminated over GraphQL, as the UI does it, ends its sync within seconds."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from retail_pipeline.postgres import Database
from retail_pipeline_tests.airbyte_engine.paged_api import KEY, PagedApi, serving, transactions
from retail_pipeline_tests.airbyte_engine.test_sync import wait_until
from retail_pipeline_tests.conftest import end

SECONDS = 10
LOCATION = """
from dagster import AssetSelection, Definitions, define_asset_job, in_process_executor
from retail_pipeline.ingestion import build_ingestion
from retail_pipeline.postgres import open_database
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.settings import Settings

settings = Settings.from_environment()
defs = Definitions.merge(
    build_ingestion(),
    Definitions(
        resources={
            "settings": settings,
            "database": open_database(settings),
            "run_window": RunWindow(),
        },
        jobs=[define_asset_job("sync", AssetSelection.assets(["transactional", "transactions"]))],
        executor=in_process_executor,
    ),
)
"""
WITHOUT_A_QUEUE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""
LAUNCH = """
mutation ($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $selector, runConfigData: {}}) {
    ... on LaunchRunSuccess { run { runId } }
    __typename
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


class HeldApi(PagedApi):
    """An API that never sends its second page but has totals."""

    def answer(self, request: Request) -> Response:
        if request.path_params["stream"] != "totals":
            return super().answer(request)
        names = ("products", "users", "lines", "net_amount", "sales_amount", "returns_amount")
        count = len(self.streams["transactions"])
        return JSONResponse({**dict.fromkeys(names, 0), "transactions": count})


@contextmanager
def webserver(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Yield the address of Dagster's UI over the landing assets."""
    (folder / "location.py").write_text(LOCATION)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("dagster-webserver")), "-f", "location.py"]
    with (folder / "webserver.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port)],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(lambda: answers(port), seconds=60)
            yield f"http://127.0.0.1:{port}"
        finally:
            end(server)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def query(address: str, document: str, **variables: Any) -> Any:
    body = {"query": document, "variables": variables}
    answer = requests.post(f"{address}/graphql", json=body, timeout=30)
    answer.raise_for_status()
    assert "errors" not in answer.json(), answer.text
    [value] = answer.json()["data"].values()
    return value


def processes_with(text: str) -> list[str]:
    """Return the reader processes whose environment has a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"airbyte_engine.fast_reader" in command and text.encode() in environment:
            found.append(folder.name)
    return found


def test_terminating_a_run_ends_its_sync_within_seconds(database: Database, tmp_path: Path) -> None:
    api = HeldApi({"transactions": transactions(300)}, hold=threading.Event())
    temporary = tmp_path / "tmp"
    for folder in (temporary, tmp_path / "dagster"):
        folder.mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(WITHOUT_A_QUEUE)
    with serving(api):
        environment = {
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "RETAIL_HOME": str(tmp_path / "home"),
            "RETAIL_DATABASE_URL": database.url,
            "RETAIL_SOURCE": api.address,
            "RETAIL_API_KEY": KEY,
            "TMPDIR": str(temporary),
        }
        with webserver(tmp_path, environment) as address:
            selector = {
                "repositoryName": "__repository__",
                "repositoryLocationName": "location.py",
                "jobName": "sync",
            }
            launched = query(address, LAUNCH, selector=selector)
            assert "run" in launched, launched
            run_id = launched["run"]["runId"]
            wait_until(lambda: len(api.requests) > 1, seconds=60)
            assert processes_with(str(temporary))
            began = time.monotonic()
            assert query(address, TERMINATE, id=run_id)["__typename"] == "TerminateRunSuccess"
            wait_until(lambda: not processes_with(str(temporary)), seconds=SECONDS)
            wait_until(
                lambda: query(address, STATUS, id=run_id)["status"] == "CANCELED", seconds=SECONDS
            )
            print(f"ended after {time.monotonic() - began:.1f} s")  # noqa: T201
    with database.connect() as session:
        jobs = session.execute("select status, reason from quality.sync_jobs").fetchall()
        rows = session.execute("select count(*) from transactional.transactions").fetchone()
        states = session.execute("select count(*) from quality.sync_states").fetchone()
    assert [status for status, _ in jobs] == ["cancelled"]
    assert (rows, states) == ((0,), (0,))
    assert not list(temporary.glob("airbyte-source-*"))
