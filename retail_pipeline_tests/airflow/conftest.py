"""Airflow on SQLite, without a server and without an open port, against the Dagster of a home."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.end_to_end.local_ui import LocalUi

DAGS = PROJECT_ROOT / "deploy" / "airflow"
_RUNS = """{runsOrError(limit: 50) {... on Runs {results {
  jobName runId status runConfig tags {key value}}}}}"""


class Airflow:
    """An Airflow with a database of its own, in an environment of its own.

    Args:
        environment: The folder of the environment.
        folder: The folder of all state.
        ui: Dagster, which the DAGs use.
    """

    def __init__(self, environment: Path, folder: Path, ui: LocalUi) -> None:
        self.python = environment / "bin" / "python"
        self.ui = ui
        dags = folder / "dags"
        dags.mkdir(parents=True)
        for source in (DAGS / "retail_dags.py", Path(__file__).with_name("small_dags.py")):
            shutil.copy(source, dags)
        self.variables = {
            **ui.environment,
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "PYTHONPATH": str(DAGS),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_RETAIL_DAGSTER": f"http://127.0.0.1:{ui.port}",
        }
        self.run("db", "migrate")

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command of Airflow; its output is one stream."""
        return subprocess.Popen(
            [str(self.python.with_name("airflow")), *arguments],
            env={**self.variables, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Return code and output of a command of Airflow."""
        process = self.start(*arguments, **variables)
        output, _ = process.communicate(timeout=540)
        return process.returncode, output

    def runs(self, dag: str | None) -> list[dict[str, Any]]:
        """Return the Dagster runs of a DAG, oldest first; of no DAG, those of the command line."""
        found = self.ui.ask(_RUNS)["results"]
        for run in found:
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            run["tags"] = {k[8:]: v for k, v in tags.items() if k.startswith("airflow/")}
        return [run for run in reversed(found) if run["tags"].get("dag_id") == dag]

    def wait_for(self, dag: str | None, *statuses: str) -> None:
        """Wait until the latest run of a DAG has one of the statuses."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if [run["status"] in statuses for run in self.runs(dag)[-1:]] == [True]:
                return
            time.sleep(0.3)
        raise AssertionError(f"{dag}: {self.runs(dag)}")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    environment = os.environ.get("RETAIL_TEST_AIRFLOW")
    if not environment:
        pytest.skip("Airflow is not named: make airflow-env, RETAIL_TEST_AIRFLOW=ITS FOLDER")
    folder = tmp_path_factory.mktemp("airflow")
    ui = LocalUi(folder, RETAIL_SOURCE="simulator:?customers=80&seed=3")
    try:
        with ui.serving("dev", port=ui.port):
            yield Airflow(Path(environment).absolute(), folder / "airflow", ui)
    finally:
        ui.server.remove()


@contextmanager
def loses_an_answer(ui: LocalUi) -> Iterator[str]:
    """Yield an address of Dagster where the first question after the launch gets no answer."""
    asked: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            is_lost = bool(asked) and b"launchRun" in asked[-1]
            asked.append(body)
            if is_lost:
                self.send_error(502)
                return
            sent = {"content-type": "application/json"}
            url = f"http://127.0.0.1:{ui.port}/graphql"
            answer = httpx.post(url, content=body, headers=sent, timeout=60)
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
