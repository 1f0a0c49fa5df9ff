"""The server of the retail API on loopback, for the length of a sync or until it is interrupted.

`app` builds the application that it serves.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from typing import Literal

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from retail_pipeline.loopback import listener, served
from retail_pipeline.retail_api.server.app import create_app
from retail_pipeline.retail_api.source.dataset import keep_dataset, open_dataset
from retail_pipeline.settings import ApiSource, Source


@contextmanager
def serving(source: Source, as_of: date | None, api_key: str) -> Iterator[str]:
    """Serve a source in a thread on a free loopback port, until the block ends.

    Args:
        source: The simulator or a file; an address is yielded unchanged and no server starts.
        as_of: The as-of date; by default the source's default date.
        api_key: The key that clients must send.

    Yields:
        The base address, without a slash at its end.

    Raises:
        UsageError: The source cannot be used.
    """
    if isinstance(source, ApiSource):
        yield source.url
        return
    dataset = open_dataset(source, as_of)
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
) -> None:
    """Serve a source on loopback until the process is interrupted.

    Args:
        source: The simulator or a file.
        as_of: The as-of date; `today` changes at midnight UTC, None is the source's default date.
        api_key: The key that clients must send.
        port: The port on 127.0.0.1.

    Raises:
        UsageError: The source is an address or cannot be used, or the port is taken.
    """

    def app_at(day: date | None) -> ASGIApp:
        return create_app(open_dataset(source, day), api_key=api_key)

    app = FollowingToday(app_at) if isinstance(as_of, str) else app_at(as_of)
    server = uvicorn.Server(uvicorn.Config(app, log_level="info", access_log=False))
    with listener(port) as listening, suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


class FollowingToday:
    """An ASGI application for today's records, which is rebuilt when the day (UTC) is over.

    Requests wait while it is rebuilt.

    Args:
        build: Returns the application for a day.
    """

    def __init__(self, build: Callable[[date], ASGIApp]) -> None:
        self._build = build
        self._day = _today()
        self._app = build(self._day)
        self._building = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to today's application."""
        async with self._building:
            if (day := _today()) != self._day:
                self._app = await asyncio.to_thread(self._build, day)
                self._day = day
        await self._app(scope, receive, send)


def _today() -> date:
    return datetime.now(UTC).date()
