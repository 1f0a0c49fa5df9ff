"""Imports dbt, waits for one command, and runs it as dbt's own program would.

Run as `process.py SOCKET_FD`, by path: nothing of the pipeline is imported. It ends when its
standard input does. The command is a line of JSON (arguments, environment, folder) and comes with
the descriptors of its output; the answers are this process's id and the exit code, a line each.
"""

import json
import os
import socket
import sys
import threading
from typing import Any


def main() -> None:
    """Serve one command."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    # A caller that is early waits for the imports to end.
    from dbt.cli.main import cli

    with socket.socket(fileno=int(sys.argv[1])) as listener:
        caller, _ = listener.accept()
    with caller, caller.makefile("rb") as lines:
        _, descriptors, _, _ = socket.recv_fds(caller, 1, 2)
        _become(json.loads(lines.readline()), descriptors)
        caller.sendall(b"%d\n" % os.getpid())
        try:
            cli()
        except SystemExit as end:
            caller.sendall(b"%d\n" % int(end.code or 0))


def _end_with_input() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _become(command: dict[str, Any], descriptors: list[int]) -> None:
    """Take over the command line, the environment, the folder and the output of the caller."""
    for number, descriptor in zip((1, 2), descriptors, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ["dbt", *command["arguments"]]
    os.environ.clear()
    os.environ.update(command["environment"])
    os.chdir(command["folder"])


if __name__ == "__main__":
    main()
