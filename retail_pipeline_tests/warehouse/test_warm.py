"""A warm dbt answers as dbt's own program does, once; then, or without one, that program does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from retail_pipeline.warehouse.project import (
    PROJECT_FOLDER,
    dbt_program,
)
from retail_pipeline.warehouse.warm import (
    WarmDbt,
    relay_command,
)

START = """
import time
from retail_pipeline.warehouse.warm import WarmDbt
warm = WarmDbt()
warm.warm_up()
print('started', flush=True)
time.sleep(600)
"""


@pytest.fixture
def warm() -> Iterator[WarmDbt]:
    warm = WarmDbt()
    yield warm
    warm.stop()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What is started hears SIGINT, even where tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def relay(warm: WarmDbt, *arguments: str) -> "subprocess.Popen[str]":
    program, first = relay_command(dbt_program())
    return subprocess.Popen(
        [program, *first, *arguments],
        cwd=PROJECT_FOLDER,
        env={**os.environ, **warm.environment(), "DBT_PROFILES_DIR": str(PROJECT_FOLDER)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def at_work(warm: WarmDbt) -> "tuple[subprocess.Popen[str], subprocess.Popen[bytes]]":
    """Return a relay and the warm dbt behind it, which has begun some seconds of work."""
    warm.warm_up()
    process = relay(warm, "parse", "--no-partial-parse", "--log-level", "debug")
    assert process.stdout is not None
    assert process.stdout.readline()
    assert warm._process is not None
    return process, warm._process


def test_it_prints_and_ends_as_dbt_does_with_the_arguments_folder_and_environment_of_the_caller(
    warm: WarmDbt, tmp_path: Path
) -> None:
    arguments = ("list", "--quiet", "--select", "customer_rfm", "--target-path", str(tmp_path))
    warm.warm_up()
    assert warm._process is not None
    served = relay(warm, *arguments)
    said, _ = served.communicate(timeout=120)
    # It was this process that served, and it serves once.
    assert warm._process.wait(timeout=60) == 0
    cold = relay(warm, *arguments)
    expected, _ = cold.communicate(timeout=120)
    assert "retail.marts.customer_rfm" in said.splitlines()
    assert said == expected
    assert served.returncode == cold.returncode == 0


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_wrong_command_has_dbts_exit_code_and_words(warm: WarmDbt, is_warm: bool) -> None:
    if is_warm:
        warm.warm_up()
    process = relay(warm, "build", "--no-such-option")
    said, _ = process.communicate(timeout=120)
    assert "No such option" in said
    assert process.returncode == 2


def test_the_end_of_the_process_is_the_end_of_the_command(warm: WarmDbt) -> None:
    process, dbt = at_work(warm)
    dbt.kill()
    process.communicate(timeout=60)
    assert process.returncode == 1


@pytest.mark.usefixtures("interruptible")
def test_a_ctrl_c_ends_the_build_and_then_the_relay(warm: WarmDbt) -> None:
    process, dbt = at_work(warm)
    while process.poll() is None:  # Python drops one that arrives within a finalizer
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
    assert process.returncode != 0
    said, _ = process.communicate(timeout=60)
    assert "relay.py" not in said  # it has no traceback of its own
    dbt.wait(timeout=60)


def test_it_ends_with_the_process_that_started_it() -> None:
    with subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"started\n"
        starter.kill()
        # The warm process holds the same output: it ends when both have.
        assert starter.communicate(timeout=60)[0] == b""
