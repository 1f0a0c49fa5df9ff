"""Entry of the source process: the stock `source-declarative-manifest` command, tied to its parent.

Run as `python -m retail_pipeline.airbyte_engine.child PARENT_PID read --config …`. The kernel kills
this process when the thread that started it dies, so that a killed worker leaves no reader behind.
Nothing but that belongs here: a function run between fork and exec could hang a threaded parent.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then run the command with the remaining arguments."""
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the signal was set
        sys.exit(1)
    from airbyte_cdk.cli.source_declarative_manifest import run

    run()


if __name__ == "__main__":
    main()
