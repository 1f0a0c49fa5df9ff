"""The server of the retail API on loopback, for the length of a sync or until it is interrupted.

`app` builds the application that it serves.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from retail_pipeline.browsers import own_pages_only
from retail_pipeline.loopback import listener, served
from retail_pipeline.retail_api.server.app import create_app
from retail_pipeline.retail_api.source.dataset import keep_dataset, open_dataset
from retail_pipeline.settings import ApiSource, Source


@contextmanager
def serving(
    source: Source, as_of: date | None, api_key: str, time_zone: str = "UTC"
) -> Iterator[str]:
    """Serve a source in a thread on a free loopback port, until the block ends.

    Args:
        source: The simulator or a file; an address is yielded unchanged and no server starts.
        as_of: The as-of date; by default the source's default date.
        api_key: The key that clients must send.
        time_zone: The zone of as-of dates.

    Yields:
        The base address, without a slash at its end.

    Raises:
        UsageError: The source cannot be used.
    """
    if isinstance(source, ApiSource):
        yield source.url
        return
    dataset = open_dataset(source, as_of, time_zone)
    try:
        with served(create_app(dataset, api_key=api_key)) as url:
            yield url
    finally:
        keep_dataset(dataset)


def serve_forever(
    source: Source,
    as_of: date | Literal["today"] | None,
    api_key: str,
    port: int,
    time_zone: str = "UTC",
) -> None:
    """Serve a source on loopback until the process is interrupted.

    Args:
        source: The simulator or a file.
        as_of: The as-of date; `today` changes at midnight, None is the source's default date.
        api_key: The key that clients must send.
        port: The port on 127.0.0.1.
        time_zone: The zone of as-of dates.

    Raises:
        UsageError: The source is an address or cannot be used, or the port is taken.
    """

    def app_at(day: date | None) -> ASGIApp:
        return create_app(open_dataset(source, day, time_zone), api_key=api_key)

    app = FollowingToday(app_at, time_zone) if isinstance(as_of, str) else app_at(as_of)
    server = uvicorn.Server(uvicorn.Config(own_pages_only(app), log_level="info", access_log=False))
    with listener(port) as listening, suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


class FollowingToday:
    """An ASGI application for today's records, which is rebuilt when the day is over.

    Requests wait while it is rebuilt.

    Args:
        build: Returns the application for a day.
        time_zone: The zone of days.
    """

    def __init__(self, build: Callable[[date], ASGIApp], time_zone: str = "UTC") -> None:
        self._build = build
        self._time_zone = time_zone
        self._day = _today(time_zone)
        self._app = build(self._day)
        self._building = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to today's application."""
        async with self._building:
            if (day := _today(self._time_zone)) != self._day:
                self._app = await asyncio.to_thread(self._build, day)
                self._day = day
        await self._app(scope, receive, send)


def _today(time_zone: str) -> date:
    return datetime.now(ZoneInfo(time_zone)).date()
