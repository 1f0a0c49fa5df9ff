"""Retries with growing pauses where a repetition can help: a connection that was lost or refused.

Anything else fails at once: the same data, code and credentials fail the same way again. A step has
no retry policy of its own; it asks for a retry when it knows why.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import dagster as dg

from retail_pipeline.postgres.lost import is_lost_connection

MOST_RETRIES = 3
FIRST_PAUSE_SECONDS = 2.0
"""Doubled each time: a server that restarts is back within the quarter of a minute of all three."""

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


def retry() -> dg.RetryRequested:
    """Return the request to repeat this step, after a pause that doubles with each attempt."""
    attempt = dg.OpExecutionContext.get().retry_number
    return dg.RetryRequested(MOST_RETRIES, seconds_to_wait=FIRST_PAUSE_SECONDS * 2**attempt)
