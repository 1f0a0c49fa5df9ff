"""A cluster as `deploy/spark/standalone` configures it: a master and two workers on loopback."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from retail_pipeline.dagster_support.spark_driver import spark_program
from retail_pipeline.direct_landing import land_records
from retail_pipeline.postgres import Database
from retail_pipeline.retail_api.source.dataset import open_dataset
from retail_pipeline.settings import PROJECT_ROOT, Settings, SimulatorSource
from retail_pipeline_tests.spark.test_landing import TRANSACTIONS, land

FILES = PROJECT_ROOT / "deploy" / "spark" / "standalone"
_SMALL = """
spark.cores.max 2
spark.executor.cores 1
spark.executor.memory 900m
spark.executor.memoryOverhead 400m
spark.driver.memory 1g
spark.driver.port 0
spark.blockManager.port 0
spark.sql.shuffle.partitions 4
"""


@pytest.fixture
def cluster(spark: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of a pipeline whose Spark is a master with two workers; ended at the end."""
    conf, secret, port = Path(os.environ["SPARK_CONF_DIR"]), tmp_path / "secret", _free_port()
    shutil.copytree(FILES, conf, dirs_exist_ok=True)
    defaults = (FILES / "spark-defaults.conf").read_text()
    address = "spark-master.example.org:7077"
    assert address in defaults
    (conf / "spark-defaults.conf").write_text(
        defaults.replace(address, f"127.0.0.1:{port}") + _SMALL
    )
    secret.write_text("of this test")
    for name, value in {
        "SPARK_SECRET_FILE": str(secret),
        "SPARK_MASTER_HOST": "127.0.0.1",
        "SPARK_MASTER_PORT": str(port),
        **dict.fromkeys(("SPARK_MASTER_WEBUI_PORT", "SPARK_WORKER_WEBUI_PORT"), "0"),
        **{"SPARK_WORKER_PORT": "0", "SPARK_WORKER_CORES": "1", "SPARK_WORKER_MEMORY": "1300m"},
    }.items():
        monkeypatch.setenv(name, value)
    started = []
    try:
        for unit in ("spark-master", "spark-worker", "spark-worker"):
            started.append(_start(unit, spark, _master(), tmp_path / "log"))
            _wait(lambda: socket.create_connection(("127.0.0.1", port)).close())
        yield spark
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def _start(unit: str, settings: Settings, master: str, log: Path) -> subprocess.Popen[bytes]:
    """Start the command of a unit, with this test's environment and addresses."""
    [command] = [
        line.removeprefix("ExecStart=")
        for line in (FILES / f"{unit}.service").read_text().splitlines()
        if line.startswith("ExecStart=")
    ]
    program, *words = command.replace("spark-master.example.org:7077", master).split()
    assert program == "/opt/spark/venv/bin/spark-class"
    program = spark_program(settings, "spark-class")
    path = f"{program.parent}:{os.environ['PATH']}"
    with log.open("a") as file:
        return subprocess.Popen(
            [program, *words], env={**os.environ, "PATH": path}, stdout=file, stderr=file
        )


def _wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            until()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


def _master() -> str:
    return f"127.0.0.1:{os.environ['SPARK_MASTER_PORT']}"


def _find(words: str, log: Path) -> None:
    if words not in log.read_text():
        raise OSError(log)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_workers_land_and_one_with_another_secret_is_refused(
    database: Database, cluster: Settings, tmp_path: Path
) -> None:
    land_records(database, open_dataset(SimulatorSource(customers=200, seed=3)).records)
    done = land(database, cluster, [TRANSACTIONS])
    log = (tmp_path / "log").read_text()
    assert done.returncode == 0, done.stderr + log
    landed = cluster.home.rglob("transactions/**/*.parquet")
    rows = sum(pq.read_metadata(file).num_rows for file in landed)
    assert rows == len(database.read(TRANSACTIONS)) > 0
    assert len(list((tmp_path / "work").glob("app-*/*/stderr"))) == 2  # an executor per worker

    (tmp_path / "secret").write_text("another one")
    stranger = _start("spark-worker", cluster, _master(), tmp_path / "refused")
    try:
        _wait(lambda: _find("Failed to connect to master", tmp_path / "refused"))
    finally:
        stranger.terminate()
        stranger.wait(60)
