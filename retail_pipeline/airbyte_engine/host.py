"""This process's source host (see `child`): started when first needed, shared by all syncs.

What readers print is `connector`'s; here they are only started, killed and waited for.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress

from retail_pipeline.airbyte_engine.read_request import ReadRequest
from retail_pipeline.errors import PipelineError

_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SYSTEMROOT")
_PASSED_ON_PREFIXES = ("LC_", "PYTHON", "SSL_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_KILLED = -signal.SIGKILL
_ATTEMPTS = 2


class Reader:
    """A running reader: its process id and its end."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self._lines = status.makefile("rb")
        self._exit_code: int | None = None
        self._lock = threading.Lock()
        self.pid = int(self._lines.readline() or 0)

    def kill(self) -> None:
        """Kill it with everything it started; safe to call at any time."""
        if self.pid and self._exit_code is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return its exit code once it has ended; that of a killed one if its host died."""
        with self._lock:
            if self._exit_code is None:
                self._exit_code = int(self._lines.readline() or _KILLED)
                self._lines.close()
                self._status.close()
            return self._exit_code


class SourceHost:
    """Starts the host process when it is needed and readers through it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def warm_up(self) -> None:
        """Start the host process, so that it is ready when a sync asks; returns at once."""
        with self._lock:
            self._running()

    def start(self, request: ReadRequest, messages: int, log: int) -> Reader:
        """Start a reader that prints to two open files.

        Raises:
            PipelineError: The host dies instead of starting one.
        """
        for _ in range(_ATTEMPTS):
            ours, theirs = socket.socketpair()
            descriptors = [messages, log, theirs.fileno()]
            # Where it has just ended, the next attempt starts another.
            with theirs, self._lock, suppress(OSError):
                socket.send_fds(self._running(), [request.encode()], descriptors)
            reader = Reader(ours)
            if reader.pid:
                return reader
            ours.close()
            with self._lock:
                self._close()
        raise PipelineError("the process that runs Airbyte sources does not start")

    def stop(self) -> None:
        """End the host process and with it all readers."""
        with self._lock:
            self._close()

    def _running(self) -> socket.socket:
        if self._process is None or self._requests is None or self._process.poll() is not None:
            self._close()
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "retail_pipeline.airbyte_engine.child"),
                        *(str(os.getpid()), str(theirs.fileno())),
                    ],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=_environment(),
                    start_new_session=True,
                )
            self._requests = ours
        return self._requests

    def _close(self) -> None:
        if self._requests is not None:
            self._requests.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._requests = None


HOST = SourceHost()
atexit.register(HOST.stop)


def _environment() -> dict[str, str]:
    """Return what the source may see: no setting of ours, no telemetry, loopback without proxy."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES) or name.lower() in _PROXIES
    }
    unproxied = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return {
        **passed,
        "NO_PROXY": unproxied,
        "no_proxy": unproxied,
        "TMPDIR": tempfile.gettempdir(),
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "",
    }
