"""Odd terminals and homes: no symbol fails, destructive commands ask, errors name the path."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from retail_pipeline_tests.cli.command import DONE, FAILED, Cli

TERMINALS = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "C and cp1252": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"},
}


@pytest.mark.parametrize("terminal", TERMINALS)
def test_symbols_and_names_do_not_fail(tmp_path: Path, terminal: str) -> None:
    file = tmp_path / "ümläut … ✓ 日.csv"
    file.write_text("customer_id,ts,amount\nä日,2011-01-01,5\nö,2011-01-05,7\n", encoding="utf-8")
    cli = Cli({"RETAIL_HOME": str(tmp_path / "ö"), **TERMINALS[terminal]})
    ran = [cli.run("check", str(file)), cli.run("doctor", "--port", "0")]
    for done in ran:
        assert "Unicode" not in done.stderr, done.stderr
    assert ran[0].returncode == DONE, ran[0].stderr
    marks = {line[0] for line in ran[1].stdout.splitlines()}
    assert marks <= set("+!x"), ran[1].stdout


@pytest.mark.parametrize(("answer", "code", "stays"), [("n", 1, True), ("y", DONE, False)])
def test_reset_asks_on_a_terminal(tmp_path: Path, answer: str, code: int, stays: bool) -> None:
    (tmp_path / "figures").mkdir()
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "retail_pipeline.cli", "reset"],
        env={**os.environ, "RETAIL_HOME": str(tmp_path)},
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    os.close(theirs)
    os.close(ours)
    assert f"all other state under {tmp_path}?" in done.stdout + done.stderr
    assert (done.returncode, (tmp_path / "figures").exists()) == (code, stays)


def test_a_home_that_cannot_be_written_is_one_message_with_its_path() -> None:
    done = Cli({"RETAIL_HOME": "/proc/no-home"}).run("up")
    assert done.returncode == FAILED
    assert done.stderr.startswith("error: /proc/no-home")
    assert "RETAIL_HOME" in done.stderr and done.stderr.count("\n") == 1
