"""A server for ASGI applications on loopback, in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp

from retail_pipeline.browsers import own_pages_only
from retail_pipeline.errors import UsageError

_STOP_SECONDS = 10.0


@contextmanager
def served(app: ASGIApp, *, port: int = 0) -> Iterator[str]:
    """Serve an application until the block ends; yield its address without a slash at the end.

    Web pages of other sites are refused.

    Args:
        app: The application.
        port: The port; by default a free one.

    Raises:
        UsageError: The port cannot be used.
    """
    import uvicorn

    config = uvicorn.Config(
        own_pages_only(app),
        log_level="error",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with listener(port) as listening:
        listening.listen()  # from now on connections wait until the server has started
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_STOP_SECONDS)


def listener(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Return a socket that is bound to a port of a host; 0 takes a free one.

    Raises:
        UsageError: The port cannot be used.
    """
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise UsageError(
            f"port {port} on {host} cannot be used ({error.strerror}); choose another"
        ) from error
    return found
