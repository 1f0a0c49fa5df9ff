"""The installed command, and what it ends with."""

import os
import subprocess
import sys

DONE, FAILED, WRONG_USE, STOPPED = 0, 1, 2, 130


class Cli:
    """The installed command in an environment of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        try:
            printed, errors = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, printed, errors)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Return it while it is at work."""
        return subprocess.Popen(
            [sys.executable, "-m", "retail_pipeline.cli", *arguments],
            env={**os.environ, **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
