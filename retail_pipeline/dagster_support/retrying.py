"""Retries of a step, with growing pauses, after a lost or refused database connection.

Other errors fail at once, because the same data, code and credentials would fail again. Therefore
steps have no retry policy; they request a retry for these errors only.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import dagster as dg

from retail_pipeline.postgres.lost import is_lost_connection

MOST_RETRIES = 3
FIRST_PAUSE_SECONDS = 2.0
"""Doubled for each retry: the three pauses together are 14 seconds, enough for a server restart."""

_T = TypeVar("_T")


def retried(build: Callable[..., _T]) -> Callable[..., _T]:
    """Return an asset's function that requests a retry if its database connection was lost.

    The function must be safe to repeat: each table is published in one transaction.
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
    """Return a retry request for this step, with a pause that doubles with each attempt."""
    attempt = dg.OpExecutionContext.get().retry_number
    return dg.RetryRequested(MOST_RETRIES, seconds_to_wait=FIRST_PAUSE_SECONDS * 2**attempt)
