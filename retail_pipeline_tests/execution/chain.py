"""A small job: a chain of steps for a worker, beside one that keeps the run's process busy.

Run as `python -m retail_pipeline_tests.execution.chain HOME` it is a run's process of its own.
"""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from dagster import (
    AssetsDefinition,
    DagsterInstance,
    Definitions,
    EventLogEntry,
    asset,
    define_asset_job,
)
from rich.console import Console

from retail_pipeline.cli.progress import Progress
from retail_pipeline.dagster_support.retrying import retried
from retail_pipeline.errors import (
    PipelineError,
    UnavailableError,
)
from retail_pipeline.execution import FOR_A_WORKER
from retail_pipeline.execution.executor import execute
from retail_pipeline.settings import Settings

JOB = "chain"
PATIENCE_SECONDS = 60


def build(settings: Settings) -> Definitions:
    home = settings.home

    @asset
    def busy() -> None:
        """Keeps the process busy until a file is there, by default that of the last marked step."""
        said = home / "busy_until"
        until = home / (said.read_text() if said.exists() else "three")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until.exists():
            assert time.monotonic() < deadline, f"{until.name} did not come"
            time.sleep(0.02)

    one, two, three = (
        _marked(home, "one", []),
        _marked(home, "two", ["one"]),
        _marked(home, "three", ["two"]),
    )

    @asset(deps=["busy", "three"])
    def last() -> None:
        (home / "last").write_text(str(os.getpid()))

    assets = [busy, one, two, three, last]
    return Definitions(assets=assets, jobs=[define_asset_job(JOB, "*")])


def _marked(home: Path, name: str, deps: list[str]) -> AssetsDefinition:
    @asset(name=name, deps=deps, op_tags=FOR_A_WORKER)
    @retried
    def marked() -> None:
        with (home / name).open("a") as file:
            file.write(f"{os.getpid()}\n")
        _misbehave(home / f"{name}_does")

    return marked


def _misbehave(orders: Path) -> None:
    """Do once what is ordered, except for failing, which is for good."""
    order = orders.read_text() if orders.exists() else ""
    if order == "fail":
        raise PipelineError("the third shelf is empty")
    orders.unlink(missing_ok=True)
    if order == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "lose its database":
        raise UnavailableError("connection refused")
    if order == "hang":
        time.sleep(10 * PATIENCE_SECONDS)


def run(home: Path, told: Callable[[EventLogEntry], None]) -> bool:
    """Run the job with what a home orders; return whether it succeeded."""
    settings, run_id = Settings(home=home), str(uuid.uuid4())
    (home / "dagster").mkdir(exist_ok=True)
    with DagsterInstance.local_temp(str(home / "dagster")) as instance:
        job = build(settings).resolve_job_def(JOB)
        return execute(
            job,
            build,
            settings,
            instance=instance,
            run_id=run_id,
            selected=None,
            run_config={},
            told=told,
        )


def main() -> None:
    progress = Progress(Console(stderr=True), "")
    print(run(Path(sys.argv[1]), progress.on_entry), *progress.failures)  # noqa: T201


if __name__ == "__main__":
    # What is pickled names this module, not `__main__`.
    from retail_pipeline_tests.execution.chain import main as own

    own()
