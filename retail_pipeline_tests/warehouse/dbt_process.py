"""One dbt process for tests with many builds: it starts and parses once."""

import json
import os
import signal
import subprocess
import sys
from datetime import date

from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline.warehouse.project import dbt_environment


class DbtWorker:
    """A dbt process for many runs in the database of one address."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "retail_pipeline_tests.warehouse.dbt_worker"],
            cwd=PROJECT_ROOT,
            env={**os.environ, **dbt_environment(url)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._running = 0

    def send(
        self,
        as_of: date,
        *arguments: str,
        command: str = "build",
        tests: bool = False,
        **variables: object,
    ) -> None:
        """Start a run, by default of snapshots and models without data tests."""
        assert self._process.stdin is not None
        text = json.dumps({"as_of_date": str(as_of), **variables}, default=str)
        without = ["--exclude-resource-type", "unit_test", *([] if tests else ["test"])]
        call = [command, "--vars", text, *(without if command == "build" else []), *arguments]
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        self._running = int(self._answer())

    def build(
        self,
        as_of: date,
        *arguments: str,
        command: str = "build",
        tests: bool = False,
        **variables: object,
    ) -> None:
        """Run and wait for the end; a failed run is an error."""
        self.send(as_of, *arguments, command=command, tests=tests, **variables)
        answer = self._answer()
        assert json.loads(answer) is True, answer

    def kill(self) -> None:
        """Kill the run that `send` has started."""
        os.kill(self._running, signal.SIGKILL)
        assert json.loads(self._answer()) is None

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "dbt's process has ended"
        return answer
