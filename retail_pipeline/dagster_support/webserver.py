"""Dagster's webserver, protected against other sites' pages, and the code server of `make dev`.

Dagster's own start has no place for a middleware: it answers every Host header, any site's pages,
and mutations in the address of a GET request.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from retail_pipeline.browsers import own_pages_only

_POLL_MILLISECONDS = 2000
_NEEDS_PREFLIGHT = ("application/json", "application/graphql")
"""Types of a body that a page cannot send to another site without asking that site first."""


@contextmanager
def open_webserver(
    instance: DagsterInstance,
    workspace: Path,
    *,
    public_url: str = "",
    path_prefix: str = "",
    read_only: bool = False,
) -> Iterator[ASGIApp]:
    """Yield the application of Dagster's webserver, for its own pages only.

    Args:
        instance: The Dagster instance.
        workspace: The file that names the code locations.
        public_url: The address behind a reverse proxy.
        path_prefix: The path under which a proxy serves it, such as `/dagster`.
        read_only: Whether nothing can be started, stopped or changed.
    """
    target = WorkspaceFileTarget([str(workspace)])
    with WorkspaceProcessContext(instance, target, __version__, read_only) as context:
        app = _Webserver(context, path_prefix, _POLL_MILLISECONDS).create_asgi_app()
        yield own_pages_only(app, public_url)


@contextmanager
def code_servers(instance: DagsterInstance, workspace: Path) -> Iterator[Path]:
    """Start the code servers of a workspace; yield a workspace file with their sockets.

    Args:
        instance: The Dagster instance.
        workspace: The file that names the code locations' modules.
    """
    target = WorkspaceFileTarget([str(workspace)])
    with (
        ProxyServerManager(instance, target, "warning") as servers,
        tempfile.TemporaryDirectory() as folder,
    ):
        started = Path(folder) / "workspace.yaml"
        started.write_text(yaml.safe_dump({"load_from": list(servers.get_code_server_specs())}))
        yield started


class _Webserver(DagsterWebserver):
    def make_security_headers(self) -> dict[str, str]:
        return {**super().make_security_headers(), "X-Frame-Options": "SAMEORIGIN"}

    async def graphql_http_endpoint(self, request: Request) -> Any:
        shows_editor = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if shows_editor or (request.method == "POST" and kind in _NEEDS_PREFLIGHT):
            return await super().graphql_http_endpoint(request)
        return PlainTextResponse("GraphQL is answered to POST with application/json only", 405)
