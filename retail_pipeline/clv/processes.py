"""Pieces of work that do not depend on each other, on all cores.

They go to a process of their own (`python -m retail_pipeline.clv.processes`), which forks a worker
per core. That process is young and has one thread; the caller, perhaps a server with many, is never
forked. Each piece is computed in one thread wherever it runs, so the results do not depend on where
that was, to the bit. What the work is, is not known here.
"""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, Any, Final, NamedTuple, Protocol, cast

from retail_pipeline.errors import (
    PipelineError,
    UnavailableError,
)
from retail_pipeline.linear_algebra import take_working_memory

ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
"""Variables under which numerical libraries take one core."""

_TAIL: Final = 2_000
_PATIENCE_SECONDS: Final = 1.0
"""After which it is seen that a worker is gone; a pool would replace it and wait for its piece."""


class Work(Protocol):
    """What a process can be handed: it is pickled, and so is what its pieces return."""

    @property
    def pieces(self) -> int:
        """How many pieces there are; the costliest last, as they are begun with."""

    def begin(self) -> None:
        """Do, in the process that forks the workers, what all pieces need."""

    def at(self, number: int) -> Any:
        """Return the result of a piece, counted from 0."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_all_cores(name: str, work: Callable[[], Work]) -> list[Any]:
    """Return the results of all pieces, in their order.

    Args:
        name: What to call the process in an error.
        work: Returns the work, perhaps after some preparation: the process imports its libraries
            meanwhile.

    Raises:
        PipelineError: A piece has raised it, or has lost its database (`UnavailableError`).
        RuntimeError: A piece or the process broke; the message ends with what was said last.
    """
    with TemporaryFile() as said, _started(said) as process:
        try:
            with cast("IO[bytes]", process.stdin) as pipe:
                pickle.dump(work(), pipe, pickle.HIGHEST_PROTOCOL)
            found: list[Any] | _Failed = pickle.load(cast("IO[bytes]", process.stdout))
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            raise _broken(name, process, said) from None
        if isinstance(found, _Failed):
            raise found.error or _broken(name, process, said)
    return found


def _broken(name: str, process: "subprocess.Popen[bytes]", said: IO[bytes]) -> RuntimeError:
    process.wait()
    said.seek(0)
    last = said.read().decode(errors="replace")[-_TAIL:]
    return RuntimeError(f"the process of {name} ended with {process.returncode}: {last}")


class _Failed(NamedTuple):
    """What a broken piece returns: an exception of a driver may not survive being pickled."""

    error: PipelineError | None


@contextmanager
def _started(said: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        env=os.environ | ONE_THREAD,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


_WORK: list[Work] = []
"""What forked workers inherit."""


def _at(number: int) -> Any:
    try:
        return _WORK[0].at(number)
    except PipelineError as error:
        return _Failed(error)
    except Exception as error:
        from retail_pipeline.dagster_support.retrying import is_lost_connection

        traceback.print_exc()
        return _Failed(UnavailableError(str(error)) if is_lost_connection(error) else None)


def _computed(work: Work) -> list[Any] | _Failed:
    """Return the results of all pieces, in their order, or the first failure."""
    with multiprocessing.get_context("fork").Pool(min(cores(), work.pieces)) as pool:
        workers = set(multiprocessing.active_children())
        results = pool.map_async(_at, reversed(range(work.pieces)), chunksize=1)
        while not results.ready():
            if set(multiprocessing.active_children()) != workers:
                raise PipelineError(
                    "a worker process was ended from outside, as the system does where memory "
                    "runs out: give the run more, or let less run beside it"
                )
            results.wait(_PATIENCE_SECONDS)
        found = results.get()[::-1]
    return next((piece for piece in found if isinstance(piece, _Failed)), found)


def _main() -> None:
    # A caller that ignores the signal hands that down, and the pool's workers would never end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What all work needs, imported while the caller still prepares it.
    import retail_pipeline.clv.serving.valuation  # noqa: F401

    work: Work = pickle.load(sys.stdin.buffer)
    try:
        take_working_memory()  # which the workers share
        work.begin()
        _WORK.append(work)
        found = _computed(work)
    except PipelineError as error:
        found = _Failed(error)
    pickle.dump(found, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    # Pickled classes name this module, not `__main__`.
    from retail_pipeline.clv.processes import _main as run

    run()
