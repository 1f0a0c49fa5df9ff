"""The source host: imports Airbyte's CDK once, then forks a reader for every sync it is asked for.

Run as `python -m retail_pipeline.airbyte_engine.child PARENT_PID SOCKET_FD`. Every request on the
socket is one line of JSON (`ReadRequest`) with three descriptors: where messages go, where logs go,
and where the host reports the reader's process id and, at its end, its exit code, a line each. The
parent's end closes the socket, and with the host all its readers die: nothing reads on for a worker
that was killed. A reader is a process group of its own, so that a sync is ended by killing it.

A reader runs the page loop where it supports the manifest, else the stock command.
"""

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
from types import FrameType

from retail_pipeline.airbyte_engine.read_request import ReadRequest

_PR_SET_PDEATHSIG = 1
_IDLE_SECONDS = 60.0
_LARGEST_REQUEST = 1 << 20
_OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""More than a page of records has: it is decoded without a collection in between."""


class Host:
    """Serves requests until its parent is gone or nobody has asked for a while."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._readers: dict[int, int] = {}
        self._wake, wake = os.pipe()
        for end in (self._wake, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, _awake)

    def serve(self) -> None:
        """Fork readers; returns when the parent is gone or the host has been idle."""
        while True:
            timeout = None if self._readers else _IDLE_SECONDS
            ready, _, _ = select.select([self._requests, self._wake], [], [], timeout)
            if not ready:
                return
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self._requests in ready and not self._take():
                return

    def end(self) -> None:
        """Kill what still reads."""
        for pid in self._readers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _take(self) -> bool:
        line, descriptors, _, _ = socket.recv_fds(self._requests, _LARGEST_REQUEST, 3)
        if not line:
            return False
        while not line.endswith(b"\n"):
            line += self._requests.recv(_LARGEST_REQUEST)
        request = ReadRequest(**json.loads(line))
        messages, log, status = descriptors
        pid = os.fork()
        if pid == 0:
            _become_reader(request, messages, log, [self._requests.fileno(), *self._open(status)])
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)  # as the reader does: whoever comes first
        os.close(messages)
        os.close(log)
        self._readers[pid] = status
        _report(status, pid)
        return True

    def _open(self, status: int) -> list[int]:
        return [status, self._wake, *self._readers.values()]

    def _reap(self) -> None:
        for pid in list(self._readers):
            ended, code = os.waitpid(pid, os.WNOHANG)
            if ended:
                status = self._readers.pop(pid)
                _report(status, os.waitstatus_to_exitcode(code))
                os.close(status)


def main() -> None:
    """Import the CDK and serve; requests that come meanwhile wait in the socket."""
    parent, descriptor = int(sys.argv[1]), int(sys.argv[2])
    host = Host(socket.socket(fileno=descriptor))
    _import_cdk()
    if os.getppid() != parent:  # it died meanwhile
        return
    try:
        host.serve()
    finally:
        host.end()


def _import_cdk() -> None:
    """Import what readers need, and keep it in memory that they share with the host."""
    gc.disable()
    import serpyco_rs._main

    # The CDK's serializers would describe themselves by parsing their source: half of its import,
    # and nobody asks for the description.
    serpyco_rs._main.get_json_schema = lambda t: {}  # noqa: ARG005
    from retail_pipeline.airbyte_engine.fast_reader import reader

    reader.prepare()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    gc.enable()


def _become_reader(request: ReadRequest, messages: int, log: int, others: list[int]) -> None:
    """Turn the forked process into a reader; never returns."""
    code = 1
    try:
        host = os.getppid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != host:
            os._exit(1)
        for each in others:
            os.close(each)
        os.dup2(messages, 1)
        os.dup2(log, 2)
        os.environ["TMPDIR"] = request.folder
        from retail_pipeline.airbyte_engine.fast_reader import reader

        code = reader.read(request)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _report(status: int, number: int) -> None:
    with contextlib.suppress(OSError):  # the parent does not listen any more
        os.write(status, f"{number}\n".encode())


def _awake(_signal: int, _frame: FrameType | None) -> None:
    """Be a handler, so that the signal arrives at the wake-up descriptor."""


if __name__ == "__main__":
    main()
