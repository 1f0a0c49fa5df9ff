"""Retries with growing pauses where a repetition can help: a connection that was lost or refused.

Anything else fails at once: the same data, code and credentials fail the same way again. A step has
no retry policy of its own; it asks for a retry when it knows why.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from dagster import OpExecutionContext, RetryRequested

from retail_pipeline.errors import UnavailableError

MOST_RETRIES = 3
FIRST_PAUSE_SECONDS = 2.0
"""Doubled each time: a server that restarts is back within the quarter of a minute of all three."""

_LOST = (
    "server closed the connection",
    "terminating connection",
    "connection refused",
    "connection reset",
    "the database system is",
    "no connection to the server",
    "could not connect to server",
    "connection already closed",
)

_T = TypeVar("_T")


def retried(build: Callable[..., _T]) -> Callable[..., _T]:
    """Return an asset's function that asks for a retry where its database was lost.

    It may be repeated as a whole: what it publishes is one transaction per table.
    """

    @functools.wraps(build)
    def retrying(*args: Any, **kwargs: Any) -> _T:
        try:
            return build(*args, **kwargs)
        except Exception as error:
            if is_lost_connection(error):
                raise retry() from error
            raise

    return retrying


def retry() -> RetryRequested:
    """Return the request to repeat this step, after a pause that doubles with each attempt."""
    attempt = OpExecutionContext.get().retry_number
    return RetryRequested(MOST_RETRIES, seconds_to_wait=FIRST_PAUSE_SECONDS * 2**attempt)


def is_lost_connection(error: BaseException) -> bool:
    """Return whether an error is that of a database that is away, and may be back in a moment."""
    if isinstance(error, UnavailableError):
        return True
    is_of_database = isinstance(error, psycopg.OperationalError) or type(
        error
    ).__module__.startswith("adbc_driver_manager")
    return is_of_database and says_lost_connection(str(error))


def says_lost_connection(words: str) -> bool:
    """Return whether a message of PostgreSQL or a driver tells of a lost connection."""
    return any(sign in words.lower() for sign in _LOST)
