"""The duration of whole commands: a run, the start of the UI, one changed model.

For each number of customers it measures, in a copy of the checkout without manifest and state:

- whole run: the wall time of `retail-pipeline run`.
- code location: importing the definitions, compared with importing the three libraries that they
  use, without the interpreter's start and end.
- ready: from the start of `retail-pipeline dev` until the UI lists the assets, compared with
  `dagster dev` with a single asset.
- one changed model: from a change of its SQL to its table, by `run --select`, compared with
  `dbt build`.
"""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import measured
from benchmarks.results import Result
from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import PROJECT_ROOT

SIZES = (10_000,)
"""Customers."""

WHOLE, LOAD, READY, CHANGE = "whole run", "code location", "ready", "one changed model"
_COPIED = ("airbyte", "benchmarks", "database", "dbt_project", "deploy", "retail_pipeline")
_LIBRARIES = "import dagster, dagster_dbt, dagster_airbyte"
_PRINTED = "print(time.perf_counter() - began)"
_DEFINITIONS = "from retail_pipeline.definitions import defs"
_REPETITIONS = 5
_MODEL = "cohort_retention"
_READY_SECONDS = 120
_ONE_ASSET = "import dagster\n\n\n@dagster.asset\ndef one() -> None: ...\n"
_QUESTION = json.dumps({"query": "{ assetNodes { id } }"}).encode()

Note = Callable[[Result], None]


def run(sizes: Sequence[int], *, note: Note) -> list[Result]:
    """Return one measurement per size, case and command.

    Raises:
        PipelineError: A run failed, or the UI did not list its assets within two minutes.
    """
    results: list[Result] = []
    for size in sizes:
        with TemporaryDirectory(prefix="bench-") as folder:
            for result in _measure(_Checkout(Path(folder)), size):
                note(result)
                results.append(result)
    return results


class _Checkout:
    """A copy of the project without derived files, with folders of state (homes) beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self._homes = folder
        for name in _COPIED:
            ignored = shutil.ignore_patterns("target", ".prepared", "logs", ".user.yml")
            shutil.copytree(PROJECT_ROOT / name, self.folder / name, ignore=ignored)
        shutil.copy(PROJECT_ROOT / "workspace.yaml", self.folder)

    def environment(self, home: str) -> dict[str, str]:
        """Return the environment of a process that uses the copy and a home."""
        own = {k: v for k, v in os.environ.items() if not k.startswith(("RETAIL_", "AIRBYTE_"))}
        return {
            **own,
            "PYTHONPATH": str(self.folder),
            "PYTHONSAFEPATH": "1",  # no imports from the current folder
            "RETAIL_HOME": str(self._homes / home),
            "DAGSTER_DISABLE_TELEMETRY": "true",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }

    def cli(self, home: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """Return a command of the copy's command line and its environment."""
        command = [sys.executable, "-m", "retail_pipeline.cli", *arguments]
        return command, self.environment(home)

    @contextmanager
    def home(self, name: str) -> Iterator[str]:
        """Yield the name of a home; its server is stopped at the end of the block."""
        try:
            yield name
        finally:
            command, environment = self.cli(name, "down")
            subprocess.run(command, env=environment, capture_output=True, check=False)


def _measure(checkout: _Checkout, customers: int) -> Iterator[Result]:
    source = f"simulator:?customers={customers}&seed=7"
    with checkout.home("whole") as home:
        ran = measured(*checkout.cli(home, "run", "--source", source))
        yield Result.of(
            "pipeline", WHOLE, customers, "retail-pipeline run", ran.seconds, ran.peak_mib
        )
        yield from _code_location(checkout.environment(home))
        yield from _ready(checkout, home)
        yield from _change(checkout, home, source)


def _code_location(environment: Mapping[str, str]) -> Iterator[Result]:
    seconds: dict[str, list[float]] = {_DEFINITIONS: [], _LIBRARIES: []}
    for _ in range(_REPETITIONS):
        for code, times in seconds.items():
            timed = f"import time; began = time.perf_counter(); {code}; {_PRINTED}"
            done = measured([sys.executable, "-c", timed], environment)
            times.append(float(done.output.splitlines()[-1]))
    for code, times in seconds.items():
        yield Result.of("pipeline", LOAD, 1, code, statistics.median(times))


def _ready(checkout: _Checkout, home: str) -> Iterator[Result]:
    port = _free_port()
    command, environment = checkout.cli(home, "dev", "--port", str(port))
    yield Result.of("pipeline", READY, 1, "retail-pipeline dev", _up(command, environment, port))
    with TemporaryDirectory(prefix="one-asset-") as folder:
        (Path(folder) / "one.py").write_text(_ONE_ASSET)
        port, dagster = _free_port(), str(Path(sys.executable).with_name("dagster"))
        command = [dagster, "dev", "-f", "one.py", "-h", "127.0.0.1", "-p", str(port)]
        alone = {**environment, "DAGSTER_HOME": folder}
        seconds = _up(command, alone, port, cwd=folder)
    yield Result.of("pipeline", READY, 1, "dagster dev, one asset", seconds)


def _up(
    command: Sequence[str], environment: Mapping[str, str], port: int, cwd: str | None = None
) -> float:
    """Return the seconds from the start of a UI until it lists assets; the UI is then stopped."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _lists_assets(port):
            if process.poll() is not None or time.perf_counter() - began > _READY_SECONDS:
                raise PipelineError(f"{command[0]} did not list its assets")
            time.sleep(0.05)
        return time.perf_counter() - began
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _lists_assets(port: int) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=_QUESTION,
        headers={"Content-Type": "application/json"},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=5) as answer:
            return bool(json.load(answer)["data"]["assetNodes"])
    except (OSError, urllib.error.URLError, ValueError, KeyError, TypeError):
        return False


def _change(checkout: _Checkout, home: str, source: str) -> Iterator[Result]:
    model = next((checkout.folder / "dbt_project" / "models").rglob(f"{_MODEL}.sql"))
    sql = model.read_text()
    model.write_text(f"{sql}\n-- changed once\n")
    select = f'key:"warehouse/{_MODEL}"'
    ran = measured(*checkout.cli(home, "run", "--source", source, "--select", select))
    yield Result.of("pipeline", CHANGE, 1, "retail-pipeline run --select", ran.seconds)

    model.write_text(f"{sql}\n-- changed twice\n")
    build = (
        "import sys; from retail_pipeline.postgres import open_database; "
        "from retail_pipeline.settings import Settings; "
        "from retail_pipeline.warehouse.run import dbt_build; "
        "dbt_build(open_database(Settings.from_environment()).url, select=sys.argv[1])"
    )
    built = measured([sys.executable, "-c", build, _MODEL], checkout.environment(home))
    yield Result.of("pipeline", CHANGE, 1, "dbt build --select", built.seconds)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
