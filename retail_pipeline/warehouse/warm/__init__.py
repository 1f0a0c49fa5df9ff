"""A process that has imported dbt before it is told what to build: the imports take two seconds.

It is started beside what a run does before its build, and serves one build. What it does is in
`process`; `relay` stands where dagster-dbt starts dbt, and hands the command to it. Where there is
no such process, or it has served, the relay becomes dbt's own program.
"""

import atexit
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
SOCKET_VARIABLE: Final = "RETAIL_DBT_SOCKET"
"""Tells the relay where the process listens."""


class WarmDbt:
    """Starts the process, and ends it if no build has asked for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def warm_up(self) -> None:
        """Start the process, so that it is ready when a build asks; returns at once."""
        with self._lock:
            if self._process is not None:
                return
            self._folder = tempfile.TemporaryDirectory(prefix="retail-dbt-")
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(self._socket))
                listener.listen(1)
                # It ends when its input does, hence with this process, however that ends. A Ctrl-C
                # in the terminal reaches it by way of the relay only.
                self._process = subprocess.Popen(
                    [sys.executable, "-uP", str(_HERE / "process.py"), str(listener.fileno())],
                    stdin=subprocess.PIPE,
                    pass_fds=[listener.fileno()],
                    start_new_session=True,
                )

    def environment(self) -> dict[str, str]:
        """Return the variable that leads the relay to the process; empty without one."""
        return {} if self._folder is None else {SOCKET_VARIABLE: str(self._socket)}

    def stop(self) -> None:
        """End the process and what it builds."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.communicate()
            if self._folder is not None:
                self._folder.cleanup()
            self._process = self._folder = None

    @property
    def _socket(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "dbt"


WARM_DBT = WarmDbt()
atexit.register(WARM_DBT.stop)


def relay_command(dbt: str) -> tuple[str, list[str]]:
    """Return a program and its first arguments, to be followed by those of dbt.

    Args:
        dbt: The path of dbt's own program.
    """
    # Without site-packages it starts in a fiftieth of a second.
    return sys.executable, ["-IS", str(_HERE / "relay.py"), dbt]
