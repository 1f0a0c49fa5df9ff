"""Parallel execution of independent calls on all cores, in worker processes of joblib.

The workers are new processes with one thread each. So a process with threads is never forked, and
results are the same to the bit for any number of cores. Workers stay alive for some minutes, so
that the next call need not import the libraries again.
"""

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from retail_pipeline.errors import PipelineError, UnavailableError
from retail_pipeline.postgres.lost import is_lost_connection

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

_T = TypeVar("_T")


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _libraries() -> "ThreadpoolController":
    """Return the controller of libraries with threads, cached because finding them is slow."""
    import sklearn.ensemble  # noqa: F401  # loads the last of these libraries
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which linear algebra and boosting use one thread.

    Small problems are slower with several threads, and the split of a sum changes its last bits.
    """
    return _libraries().limit(limits=1)


def on_all_cores(function: Callable[..., _T], calls: Iterable[tuple[Any, ...]]) -> list[_T]:
    """Return the results of many calls of a function, in the order of the calls.

    Args:
        function: The function; it must be importable, as must its arguments' and results' classes.
        calls: The positional arguments of each call, the longest call first.

    Raises:
        UnavailableError: A call has lost its database connection.
        PipelineError: The operating system has ended a worker, for example for lack of memory.
        RuntimeError: A call has raised an exception that cannot be pickled; the message has its
            name and text.
    """
    return list(_results(function, calls, "generator"))


def as_done(function: Callable[..., _T], calls: Iterable[tuple[Any, ...]]) -> Iterator[_T]:
    """Yield the results of many calls of a function, each as soon as it is available.

    Arguments and exceptions are those of `on_all_cores`.
    """
    yield from _results(function, calls, "generator_unordered")


def _results(
    function: Callable[..., _T], calls: Iterable[tuple[Any, ...]], return_as: str
) -> Iterator[_T]:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        with parallel_config("loky", n_jobs=count_cores(), inner_max_num_threads=1):
            parallel = Parallel(batch_size=1, return_as=return_as)
            yield from parallel(delayed(_called)(function, *call) for call in calls)
    except BrokenProcessPool as error:
        raise PipelineError(
            "a worker process was ended from outside, as the system does when memory runs out: "
            "give the run more memory, or run less at the same time"
        ) from error


def _called(function: Callable[..., _T], *arguments: Any) -> _T:
    """Return the result of a call; raise only exceptions that can be pickled.

    ADBC's exceptions cannot be pickled, and joblib would report the worker as broken.
    """
    try:
        return function(*arguments)
    except Exception as error:
        if is_lost_connection(error):
            raise UnavailableError(str(error)) from None
        if not _can_be_sent(error):
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise


def _can_be_sent(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
