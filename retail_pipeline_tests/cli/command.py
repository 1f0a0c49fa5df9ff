"""The command line, called in this process or in a separate one, with its result."""

import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO
from unittest.mock import patch

from retail_pipeline.cli.main import main

DONE, FAILED, WRONG_USE, STOPPED = 0, 1, 2, 130


class Cli:
    """The command with its own environment variables."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Return the result of the command, called in this process, where imports are done."""
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, {**self.environment, **environment}))
            stack.enter_context(patch.object(sys, "argv", ["retail-pipeline", *arguments]))
            stack.enter_context(_signals_kept())
            files = [stack.enter_context(_written_to(number)) for number in (1, 2)]
            try:
                main()
                code: object = DONE
            except SystemExit as end:
                code = end.code or DONE
            except Exception:  # with --debug, Python itself prints the error
                traceback.print_exc()
                code = FAILED
            sys.stdout.flush()
            sys.stderr.flush()
            printed, errors = (_text(file) for file in files)
        return subprocess.CompletedProcess(arguments, int(str(code)), printed, errors)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Return the command as a started process."""
        return subprocess.Popen(
            [sys.executable, "-m", "retail_pipeline.cli", *arguments],
            env={**os.environ, **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # some tests have a terminal that is not UTF-8
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Return the result of the command, run in a separate process as a shell does."""
        process = self.start(*arguments, **environment)
        try:
            printed, errors = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, printed, errors)


@contextmanager
def _written_to(number: int) -> Iterator[BinaryIO]:
    """Yield a file that receives standard output (1) or standard error (2)."""
    name = "stdout" if number == 1 else "stderr"
    kept = os.dup(number)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), number)
        try:
            with (
                os.fdopen(number, "w", encoding="utf-8", closefd=False) as stream,
                patch.object(sys, name, stream),
            ):
                yield file
        finally:
            os.dup2(kept, number)
            os.close(kept)


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Restore the signal handlers that a command has replaced."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.getsignal(signal.SIGHUP)
    yield
    for each, handler in before.items():
        signal.signal(each, handler)
