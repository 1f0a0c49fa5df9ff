"""dbt in a process of its own, for tests that build many times: it starts and parses once."""

import json
import os
import subprocess
import sys
from datetime import date

from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline.warehouse.project import dbt_environment


class DbtWorker:
    """dbt in a process of its own that runs again and again in one database."""

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

    def send(
        self, clock: date, *arguments: str, command: str = "build", **variables: object
    ) -> None:
        assert self._process.stdin is not None
        text = json.dumps({"as_of_date": str(clock), **variables}, default=str)
        # Snapshots and models; the tests that use this look at rows themselves.
        without = ["--exclude-resource-type", "test", "unit_test"] if command == "build" else []
        call = [command, "--vars", text, *without, *arguments]
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()

    def build(
        self, clock: date, *arguments: str, command: str = "build", **variables: object
    ) -> None:
        self.send(clock, *arguments, command=command, **variables)
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "dbt's process has ended"
        assert json.loads(answer) is True, answer

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
