"""A worker beside a run: what it takes off the run's process, and what becomes of its faults."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from retail_pipeline.cli.progress import Progress
from retail_pipeline.execution import executor
from retail_pipeline_tests.execution import chain


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "cores", lambda: 2)


def run(home: Path, **does: str) -> tuple[bool, Progress, str]:
    """Run the chain with orders by step; return its success, progress and what was printed."""
    home.mkdir(exist_ok=True)
    for step, order in does.items():
        (home / step).write_text(order)
    console = Console(record=True, width=200)
    progress = Progress(console, "")
    return chain.run(home, progress.on_entry), progress, console.export_text()


def executed_by(home: Path, step: str) -> list[int]:
    return [int(line) for line in (home / step).read_text().split()]


def test_marked_steps_are_executed_while_the_process_is_busy(tmp_path: Path) -> None:
    succeeded, _, printed = run(tmp_path)
    assert succeeded
    worker = executed_by(tmp_path, "one")
    assert worker == executed_by(tmp_path, "two") == executed_by(tmp_path, "three")
    assert worker != executed_by(tmp_path, "last") == [os.getpid()]
    assert all(name in printed for name in ("one", "two", "three", "busy", "last"))
    assert not _runs(worker[0])


def test_with_one_core_there_is_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "cores", lambda: 1)
    (tmp_path / "now").touch()
    succeeded, *_ = run(tmp_path, busy_until="now")
    assert succeeded
    assert executed_by(tmp_path, "one") == [os.getpid()]


def test_a_step_that_fails_there_is_told_as_one_that_fails_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeeded, there, _ = run(tmp_path / "there", two_does="fail", busy_until="two")
    assert not succeeded
    assert executed_by(tmp_path / "there", "two") != [os.getpid()]
    monkeypatch.setattr(executor, "cores", lambda: 1)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "now").touch()
    succeeded, here, _ = run(tmp_path / "here", two_does="fail", busy_until="now")
    assert not succeeded
    assert executed_by(tmp_path / "here", "two") == [os.getpid()]
    for home in ("there", "here"):
        assert not (tmp_path / home / "three").exists()
        assert not (tmp_path / home / "last").exists()
    assert list(map(repr, there.failures)) == list(map(repr, here.failures))
    assert [str(error) for error in there.failures] == ["two: the third shelf is empty"]


def test_a_step_that_loses_its_database_there_is_tried_again(tmp_path: Path) -> None:
    succeeded, progress, _ = run(tmp_path, two_does="lose its database")
    assert succeeded and not progress.failures
    assert len(executed_by(tmp_path, "two")) == 2


def test_the_step_of_a_worker_that_was_killed_is_executed_here(tmp_path: Path) -> None:
    succeeded, progress, printed = run(tmp_path, two_does="die", busy_until="two")
    assert succeeded and not progress.failures
    worker, here = executed_by(tmp_path, "two")
    assert worker != here == os.getpid()
    assert "the worker ended with -9, at two: this process executes it again" in printed


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_worker_ends_with_its_run_in_the_middle_of_a_step(
    tmp_path: Path, sent: signal.Signals
) -> None:
    (tmp_path / "two_does").write_text("hang")
    process = subprocess.Popen(
        [sys.executable, "-m", "retail_pipeline_tests.execution.chain", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _until(lambda: (tmp_path / "two").exists() and not (tmp_path / "two_does").exists())
    worker = executed_by(tmp_path, "two")[0]
    assert worker != process.pid
    process.send_signal(sent)
    process.wait(timeout=10)
    _until(lambda: not _runs(worker))


@pytest.mark.parametrize("does", ["hang", "lose its database"])
def test_a_ctrl_c_while_the_loop_waits_is_no_success(tmp_path: Path, does: str) -> None:
    (tmp_path / "three_does").write_text(does)
    process = subprocess.Popen(
        [sys.executable, "-m", "retail_pipeline_tests.execution.chain", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    _until(lambda: (tmp_path / "three").exists() and not (tmp_path / "three_does").exists())
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=10)
    assert said.startswith("False stopped between two steps; what was done before is kept")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that has ended may still be there for the init process to reap.
    asked = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
