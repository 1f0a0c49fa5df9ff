"""Spark with two executors on this machine, each a JVM of its own, on loopback alone."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from retail_pipeline.settings import Engine, Settings

EXECUTOR = "CoarseGrainedExecutorBackend"
DRIVER = "retail_pipeline.spark.driver"
_OPTIONS = """
spark.master local-cluster[2,1,900]
spark.executor.memory 900m
spark.driver.memory 1g
spark.driver.bindAddress 127.0.0.1
spark.driver.host 127.0.0.1
spark.ui.enabled false
spark.ui.showConsoleProgress false
spark.sql.shuffle.partitions 4
"""


@pytest.fixture
def spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of a Spark with two executors; none of its processes is left at the end."""
    environment = os.environ.get("RETAIL_TEST_SPARK")
    if not environment:
        pytest.skip("Spark is not named: make spark, RETAIL_TEST_SPARK=ITS FOLDER")
    home, conf = tmp_path / "home", tmp_path / "conf"
    (home / "spark").mkdir(parents=True)
    (home / "spark" / "venv").symlink_to(Path(environment).absolute())
    conf.mkdir()
    (conf / "spark-defaults.conf").write_text(_OPTIONS)
    monkeypatch.setenv("SPARK_CONF_DIR", str(conf))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path / "scratch"))
    monkeypatch.setenv("SPARK_WORKER_DIR", str(tmp_path / "work"))
    yield Settings(home=home, engine=Engine.SPARK)
    deadline = time.monotonic() + 60
    while (left := _of_spark(conf)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert not left


def _of_spark(conf: Path) -> list[int]:
    """Return the drivers, executors and workers, without others that inherited the variables."""
    return processes(conf, "pyspark") + processes(conf, "retail_pipeline.spark")


def processes(conf: Path, words: str = "") -> list[int]:
    """Return the ids of the processes of a Spark whose command has the words, oldest first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        is_of_spark = f"SPARK_CONF_DIR={conf}".encode() in environment.split(b"\0")
        if is_of_spark and words in command and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return sorted(found)


@contextmanager
def killed(settings: Settings, words: str, when: Callable[[], bool]) -> Iterator[list[int]]:
    """Kill one process of Spark as soon as a condition holds during the block; yield its id."""
    conf, victims, is_over = settings.home.parent / "conf", [], []

    def hunt() -> None:
        while not victims and not is_over:
            if when() and (found := processes(conf, words)):
                os.kill(found[0], signal.SIGKILL)
                victims.append(found[0])
            time.sleep(0.02)

    hunter = Thread(target=hunt)
    hunter.start()
    try:
        yield victims
    finally:
        is_over.append(True)
        hunter.join()
