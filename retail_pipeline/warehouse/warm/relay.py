"""Stands where dbt would be started: hands the command to a process that has imported dbt.

Run as `relay.py DBT ARGUMENT…`, by path, without site-packages. Output goes straight to where this
program's does; its end and its exit code are those of the build, and signals are handed on. Where
no such process answers, this one becomes the program DBT.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

_SOCKET = "RETAIL_DBT_SOCKET"


def main() -> None:
    """Run the command there or here."""
    dbt, *arguments = sys.argv[1:]
    command = {"arguments": arguments, "environment": dict(os.environ), "folder": str(Path.cwd())}
    signals = (signal.SIGINT, signal.SIGTERM)
    with socket.socket(socket.AF_UNIX) as host, host.makefile("rb") as lines:
        # A signal that comes before it is known whose it is waits until then.
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            host.connect(os.environ.get(_SOCKET, ""))
            socket.send_fds(host, [b"\n"], [1, 2])
            host.sendall(json.dumps(command).encode() + b"\n")
            process = int(lines.readline())
        except (OSError, ValueError):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
            os.execv(dbt, [dbt, *arguments])
        for number in signals:
            signal.signal(number, lambda number, _: os.kill(process, number))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        # A process that was killed has said nothing.
        sys.exit(int(lines.readline() or 1))


if __name__ == "__main__":
    main()
