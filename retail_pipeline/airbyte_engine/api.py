"""The stand-in: exactly the calls of Airbyte's two APIs that dagster-airbyte makes, over an engine.

Answers have the shapes of a real server; `failureSummary` of the configuration API carries the
reason of a failure. Nothing is decided here: every call is one call of the engine.
"""

import contextlib
import hmac
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retail_pipeline.airbyte_engine.engine import Engine
from retail_pipeline.airbyte_engine.files import (
    ConnectionFile,
    DestinationFile,
)
from retail_pipeline.airbyte_engine.jobs import (
    AlreadyRunningError,
    Job,
)
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

REST_PATH = "/api/public/v1"
CONFIGURATION_PATH = "/api/v1"
WORKSPACE_ID = "00000000-0000-4000-8000-000000000000"
_TOKEN_SECONDS = 600
_START_SECONDS = 30
_LONGEST_ANSWER_SECONDS = 0.5
_CREATED_AT = 0
"""Files have no time of creation that matters."""

_MASK = "**********"


@dataclass
class Credentials:
    """What a client must present; random, for the life of one stand-in."""

    client_id: str = field(default_factory=lambda: secrets.token_hex(8))
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


@dataclass(frozen=True)
class StandIn:
    """Where a running stand-in is and how to enter."""

    base_url: str
    credentials: Credentials
    workspace_id: str = WORKSPACE_ID

    @property
    def rest_api_base_url(self) -> str:
        """The public API, as `AirbyteWorkspace.rest_api_base_url` wants it."""
        return self.base_url + REST_PATH

    @property
    def configuration_api_base_url(self) -> str:
        """The configuration API, as `AirbyteWorkspace.configuration_api_base_url` wants it."""
        return self.base_url + CONFIGURATION_PATH


@contextmanager
def serving(engine: Engine) -> Iterator[StandIn]:
    """Serve an engine on a free loopback port for the length of the block."""
    import uvicorn

    credentials = Credentials()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            build_app(engine, credentials),
            log_level="error",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        _await_start(server, thread)
        try:
            yield StandIn(f"http://127.0.0.1:{listener.getsockname()[1]}", credentials)
        finally:
            server.should_exit = True
            thread.join()


def build_app(engine: Engine, credentials: Credentials) -> Starlette:
    """Return the application; every call but the token's wants a bearer token."""
    calls = _Calls(engine, credentials)
    rest, configuration = REST_PATH, CONFIGURATION_PATH
    guarded = calls.guarded
    return Starlette(
        routes=[
            Route(f"{rest}/applications/token", calls.token, methods=["POST"]),
            Route(f"{rest}/workspaces/{{id}}", guarded(calls.workspace)),
            Route(f"{rest}/connections", guarded(calls.connections)),
            Route(f"{rest}/destinations/{{id}}", guarded(calls.destination)),
            Route(f"{rest}/jobs", guarded(calls.start_job), methods=["POST"]),
            Route(f"{rest}/jobs", guarded(calls.list_jobs)),
            Route(f"{rest}/jobs/{{id:int}}", guarded(calls.cancel_job), methods=["DELETE"]),
            Route(f"{rest}/jobs/{{id:int}}", guarded(calls.job)),
            Route(f"{configuration}/connections/get", guarded(calls.details), methods=["POST"]),
            Route(f"{configuration}/jobs/get", guarded(calls.job_info), methods=["POST"]),
        ]
    )


class _NotFoundError(Exception):
    pass


Call = Callable[[Request], Awaitable[Any]]


class _Calls:
    def __init__(self, engine: Engine, credentials: Credentials) -> None:
        self._engine = engine
        self._credentials = credentials

    def guarded(self, call: Call) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            expected = f"Bearer {self._credentials.token}"
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), expected.encode()):
                return _problem(401, "the token is missing or wrong")
            try:
                return JSONResponse(await call(request))
            except _NotFoundError as error:
                return _problem(404, str(error))
            except AlreadyRunningError as error:
                return _problem(409, str(error))
            except (PipelineError, ValueError) as error:
                return _problem(422, str(error))

        return endpoint

    async def token(self, request: Request) -> Response:
        given = await request.json()
        wanted = self._credentials
        if (given.get("client_id"), given.get("client_secret")) != (
            wanted.client_id,
            wanted.client_secret,
        ):
            return _problem(401, "the client is not known")
        return JSONResponse(
            {
                "access_token": wanted.token,
                "token_type": "Bearer",
                "expires_in": _TOKEN_SECONDS,
            }
        )

    async def workspace(self, request: Request) -> Any:
        if request.path_params["id"] != WORKSPACE_ID:
            raise _NotFoundError("there is no such workspace")
        return {
            "workspaceId": WORKSPACE_ID,
            "name": "embedded",
            "dataResidency": "auto",
            "notifications": {},
        }

    async def connections(self, request: Request) -> Any:
        limit, offset = _page(request)
        everything = list(self._engine.folder.connections.values())
        page = [self._connection(each) for each in everything[offset : offset + limit]]
        return {"data": page, **_links(request, limit, offset, len(everything) > offset + limit)}

    async def destination(self, request: Request) -> Any:
        for destination in self._engine.folder.destinations.values():
            if destination.id == request.path_params["id"]:
                return _destination(destination, self._engine.database)
        raise _NotFoundError("there is no such destination")

    async def details(self, request: Request) -> Any:
        connection = self._known((await request.json()).get("connectionId"))
        return {
            "connectionId": connection.id,
            "name": connection.name,
            "prefix": "",
            "status": "active",
            "sourceId": self._engine.folder.sources[connection.source].id,
            "destinationId": self._engine.folder.destinations[connection.destination].id,
            "namespaceDefinition": "customformat",
            "namespaceFormat": connection.namespace,
            "syncCatalog": {"streams": self._catalog(connection)},
        }

    async def start_job(self, request: Request) -> Any:
        body = await request.json()
        if body.get("jobType") != "sync":
            raise ValueError("only jobs of the type 'sync' are known")
        connection = self._known(body.get("connectionId"))
        return _job(await run_in_threadpool(self._engine.start, connection.id))

    async def list_jobs(self, request: Request) -> Any:
        limit, offset = _page(request)
        query = request.query_params
        after = query.get("createdAtStart")
        jobs = await run_in_threadpool(
            self._engine.jobs.of_connection,
            query.get("connectionId"),
            created_after=datetime.fromisoformat(after) if after else None,
            limit=limit + 1,
            offset=offset,
        )
        return {
            "data": [_job(job) for job in jobs[:limit]],
            **_links(request, limit, offset, len(jobs) > limit),
        }

    async def job(self, request: Request) -> Any:
        # Who asks about a running job wants to know its end: that saves polls and their pauses.
        await run_in_threadpool(
            self._engine.settle, request.path_params["id"], _LONGEST_ANSWER_SECONDS
        )
        return _job(await self._job(request.path_params["id"]))

    async def cancel_job(self, request: Request) -> Any:
        await self._job(request.path_params["id"])
        return _job(await run_in_threadpool(self._engine.cancel, request.path_params["id"]))

    async def job_info(self, request: Request) -> Any:
        job = await self._job(int((await request.json())["id"]))
        failure = {"failureType": job.failure_type, "externalMessage": job.reason}
        failures = [failure] if job.reason else []
        attempt = {
            "id": 0,
            "status": job.status,
            "failureSummary": {"failures": failures, "partialSuccess": False},
        }
        return {
            "job": {"id": job.job_id, "configId": job.connection_id, "status": job.status},
            "attempts": [{"attempt": attempt}],
        }

    async def _job(self, job_id: int) -> Job:
        job = await run_in_threadpool(self._engine.jobs.get, job_id)
        if job is None:
            raise _NotFoundError(f"there is no job {job_id}")
        return job

    def _known(self, connection_id: str | None) -> ConnectionFile:
        connection = self._engine.folder.connection_by_id(connection_id or "")
        if connection is None:
            raise _NotFoundError(f"there is no connection {connection_id}")
        return connection

    def _connection(self, connection: ConnectionFile) -> dict[str, Any]:
        return {
            "connectionId": connection.id,
            "name": connection.name,
            "sourceId": self._engine.folder.sources[connection.source].id,
            "destinationId": self._engine.folder.destinations[connection.destination].id,
            "workspaceId": WORKSPACE_ID,
            "status": "active",
            "schedule": {"scheduleType": "manual"},
            "createdAt": _CREATED_AT,
            "tags": [],
            "namespaceDefinition": "custom_format",
            "namespaceFormat": connection.namespace,
            "configurations": {
                "streams": [
                    {
                        "name": stream.name,
                        "syncMode": stream.sync_mode.value,
                        "cursorField": stream.cursor_field,
                        "primaryKey": stream.primary_key,
                    }
                    for stream in connection.streams
                ]
            },
        }

    def _catalog(self, connection: ConnectionFile) -> list[dict[str, Any]]:
        return [
            {
                "stream": {
                    "name": stream.name,
                    "jsonSchema": self._engine.folder.schema(connection, stream.name),
                    "supportedSyncModes": ["full_refresh", "incremental"],
                },
                "config": {
                    "selected": True,
                    "cursorField": stream.cursor_field,
                    "primaryKey": stream.primary_key,
                },
            }
            for stream in connection.streams
        ]


def _destination(destination: DestinationFile, database: Database) -> dict[str, Any]:
    """Return where the engine really writes; its password is masked, as a server's would be."""
    parts = conninfo_to_dict(database.url)
    given = {name: value for name, value in destination.configuration.items() if name != "password"}
    return {
        "destinationId": destination.id,
        "name": destination.name,
        "destinationType": destination.type,
        "definitionId": destination.definition_id,
        "workspaceId": WORKSPACE_ID,
        "createdAt": _CREATED_AT,
        "configuration": {
            **given,
            "destinationType": destination.type,
            "host": str(parts.get("host", "")),
            "port": int(parts.get("port") or 5432),
            "database": database.name,
            "username": str(parts.get("user", "")),
            "password": _MASK,
        },
    }


def _job(job: Job | None) -> dict[str, Any]:
    assert job is not None
    return {
        "jobId": job.job_id,
        "status": job.status,
        "jobType": "sync",
        "connectionId": job.connection_id,
        "startTime": _instant(job.started_at),
        "lastUpdatedAt": _instant(job.finished_at or job.heartbeat_at),
        "duration": _iso_duration(job.duration),
        "bytesSynced": job.bytes_read,
        "rowsSynced": job.rows_read,
    }


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _iso_duration(duration: timedelta) -> str:
    return f"PT{duration.total_seconds():.3f}S"


def _page(request: Request) -> tuple[int, int]:
    limit = int(request.query_params.get("limit", 20))
    offset = int(request.query_params.get("offset", 0))
    if not (1 <= limit <= 100 and offset >= 0):
        raise ValueError("limit must be from 1 to 100 and offset at least 0")
    return limit, offset


def _links(request: Request, limit: int, offset: int, more: bool) -> dict[str, str]:
    following = request.url.include_query_params(limit=limit, offset=offset + limit)
    return {"next": str(following) if more else "", "previous": ""}


def _problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"status": status, "detail": detail}, status_code=status)


def _await_start(server: Any, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            with contextlib.suppress(RuntimeError):
                server.should_exit = True
            raise PipelineError("the embedded Airbyte API did not start")
        time.sleep(0.005)
