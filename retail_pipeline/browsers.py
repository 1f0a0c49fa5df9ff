"""Protection of local servers against web pages of other sites in a browser on this machine.

A browser sends requests to loopback for any page that a person visits: by a form, by a script, by a
websocket, or through a host name that its owner points at 127.0.0.1 (DNS rebinding).
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_REFUSAL = PlainTextResponse("refused: a page of another site sent this request", 403)


def own_pages_only(app: ASGIApp, public_url: str = "") -> ASGIApp:
    """Return an application that refuses foreign Host headers and requests of other sites' pages.

    Links from other sites open pages, and programs that are no browsers have full access.

    Args:
        app: The application.
        public_url: The address behind a reverse proxy; loopback is always allowed.
    """
    public = urlsplit(public_url)
    hosts = [*_LOOPBACK, *([public.hostname] if public.hostname else [])]
    origin = f"{public.scheme}://{public.netloc}"
    return TrustedHostMiddleware(_SameSite(app, origin), hosts, www_redirect=False)


class _SameSite:
    def __init__(self, app: ASGIApp, public_origin: str) -> None:
        self._app = app
        self._public_origin = public_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            if self._has_foreign_origin(headers) or _is_of_another_site(scope, headers):
                refusal = WebSocketClose() if scope["type"] == "websocket" else _REFUSAL
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _has_foreign_origin(self, headers: Mapping[str, str]) -> bool:
        origin = headers.get("origin")
        if origin is None or origin == self._public_origin:
            return False
        return urlsplit(origin).netloc != headers.get("host")


def _is_of_another_site(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Return whether a browser sent a request for another site's page, unless it follows a link."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    follows_link = scope.get("method") == "GET" and headers.get("sec-fetch-dest") == "document"
    return not follows_link
