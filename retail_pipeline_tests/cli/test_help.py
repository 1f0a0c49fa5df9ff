"""The examples of `--help` are valid commands, and shells complete commands and names."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from retail_pipeline.cli.main import app
from retail_pipeline_tests.cli.command import DONE, Cli

ROOT = Path(__file__).parents[2]


def commands(group: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=str)
def test_each_command_has_an_example_that_it_takes(path: str, command: Any) -> None:
    calls = re.findall(rf"retail-pipeline {path}\b([^`)]*)", command.help)
    assert calls
    for arguments in calls:
        command.make_context(path, shlex.split(arguments)).close()


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    shown = cli("--version")
    assert shown.returncode == DONE
    assert shown.stdout == f"retail-pipeline {project['version']}\n"


def test_help_and_completion_are_plain_text_where_there_is_no_terminal(cli: Cli) -> None:
    shown = cli("model", "pin", "--help", TERMINAL_WIDTH="120")
    assert shown.returncode == DONE
    assert "retail-pipeline model pin pareto" in shown.stdout
    assert "\x1b" not in shown.stdout
    typed = {"COMP_WORDS": "retail-pipeline bench wa", "COMP_CWORD": "2"}
    completed = subprocess.run(
        [str(Path(sys.executable).with_name("retail-pipeline"))],
        env={**os.environ, **typed, "_RETAIL_PIPELINE_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.split() == ["warehouse"]
