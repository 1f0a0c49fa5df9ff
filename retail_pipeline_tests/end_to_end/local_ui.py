"""The commands that serve Dagster's UI or the bundled API, as processes with a database."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from retail_pipeline.postgres.server import EmbeddedServer, _free_port

PATIENCE_SECONDS = 240
COMMAND = str(Path(sys.executable).with_name("retail-pipeline"))


class LocalUi:
    """A home with a server of PostgreSQL, and a port for the UI.

    Args:
        folder: The folder of all state.
        settings: Variables of the environment.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.server = EmbeddedServer(folder / "postgres")
        self.port = _free_port(0)
        self.url = self.server.start()
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "RETAIL_HOME": str(folder / "home"),
            "RETAIL_DATABASE_URL": self.url,
            **settings,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Return the result of a command."""
        return subprocess.run(
            [COMMAND, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    @contextmanager
    def serving(self, *arguments: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command and wait until it answers at a port; kill it and its children at the end.

        It has a process group of its own, with the process's id.
        """
        process = subprocess.Popen(
            [COMMAND, *arguments, "--port", str(port)], env=self.environment, start_new_session=True
        )
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while True:
                with suppress(httpx.TransportError):
                    httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE_SECONDS)
                    break
                assert process.poll() is None, "the command has ended; its output is above"
                assert time.monotonic() < deadline
                time.sleep(0.5)
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def ask(self, document: str, **variables: Any) -> Any:
        """Return the UI's answer to a GraphQL document with one field."""
        body = {"query": document, "variables": variables}
        answer = httpx.post(f"http://127.0.0.1:{self.port}/graphql", json=body, timeout=60)
        assert answer.is_success, answer.text
        [value] = answer.json()["data"].values()
        return value


def wait_for_end_of_group(leader: int) -> None:
    """Wait until no process of a process group is left, at most a minute."""
    deadline = time.monotonic() + 60
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(leader, 0)
            time.sleep(0.5)
        raise AssertionError(subprocess.check_output(["ps", "-g", str(leader)], text=True))
