"""The installed command, and what it ends with."""

import os
import subprocess
import sys

DONE, FAILED, WRONG_USE = 0, 1, 2


class Cli:
    """The installed command in an environment of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {**os.environ, **self.environment, **environment}
        return subprocess.run(
            [sys.executable, "-m", "retail_pipeline.cli", *arguments],
            env=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
