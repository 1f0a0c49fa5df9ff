"""The stand-in for an Airbyte server: the API calls that dagster-airbyte makes during a sync.

Answers have the same shape as a real server's. The configuration API's `failureSummary` contains
the reason of a failure. The calls that dagster-airbyte makes when code loads are mostly missing:
the asset specs are built from the files, and the stand-in runs only during a sync.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retail_pipeline.airbyte_engine.engine import Engine
from retail_pipeline.airbyte_engine.jobs import Job
from retail_pipeline.errors import PipelineError
from retail_pipeline.loopback import served

REST_PATH = "/api/public/v1"
CONFIGURATION_PATH = "/api/v1"
_TOKEN_SECONDS = 600
_LONGEST_ANSWER_SECONDS = 0.5


@dataclass
class StandIn:
    """The address of a running stand-in and the credentials that its clients need.

    The credentials are random and valid only for this stand-in.
    """

    base_url: str
    workspace_id: str = "00000000-0000-4000-8000-000000000000"
    client_id: str = field(default_factory=lambda: secrets.token_hex(8))
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


@contextmanager
def serving(engine: Engine) -> Iterator[StandIn]:
    """Serve an engine on a free loopback port until the block ends; yield the stand-in."""
    stand_in = StandIn(base_url="")
    with served(build_app(engine, stand_in)) as stand_in.base_url:
        yield stand_in


def build_app(engine: Engine, stand_in: StandIn) -> Starlette:
    """Return the ASGI application; every call except the token call needs the bearer token."""
    calls = _Calls(engine, stand_in)
    rest, configuration, guarded = REST_PATH, CONFIGURATION_PATH, calls.guarded
    return Starlette(
        routes=[
            Route(f"{rest}/applications/token", calls.token, methods=["POST"]),
            Route(f"{rest}/connections", guarded(calls.connections)),
            Route(f"{rest}/jobs", guarded(calls.start_job), methods=["POST"]),
            Route(f"{rest}/jobs", guarded(calls.list_jobs)),
            Route(f"{rest}/jobs/{{id:int}}", guarded(calls.cancel_job), methods=["DELETE"]),
            Route(f"{rest}/jobs/{{id:int}}", guarded(calls.job)),
            Route(f"{configuration}/connections/get", guarded(calls.connection), methods=["POST"]),
            Route(f"{configuration}/jobs/get", guarded(calls.job_info), methods=["POST"]),
        ]
    )


class _Calls:
    def __init__(self, engine: Engine, stand_in: StandIn) -> None:
        self._engine = engine
        self._stand_in = stand_in

    def guarded(
        self, call: Callable[[Request], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            expected = f"Bearer {self._stand_in.token}"
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), expected.encode()):
                return _problem(401, "the token is missing or wrong")
            try:
                return JSONResponse(await call(request))
            except (PipelineError, KeyError, ValueError) as error:
                return _problem(422, str(error))

        return endpoint

    async def token(self, request: Request) -> Response:
        given, own = await request.json(), self._stand_in
        for name, expected in (("client_id", own.client_id), ("client_secret", own.client_secret)):
            if not hmac.compare_digest(str(given.get(name)).encode(), expected.encode()):
                return _problem(401, "the client is not known")
        return JSONResponse(
            {"access_token": own.token, "token_type": "Bearer", "expires_in": _TOKEN_SECONDS}
        )

    async def connections(self, _request: Request) -> Any:
        found = self._engine.folder.connections.values()
        return {"data": [{"connectionId": one.id, "name": one.name} for one in found], "next": ""}

    async def connection(self, request: Request) -> Any:
        folder = self._engine.folder
        connection = folder.connection_by_id((await request.json())["connectionId"])
        return {
            "connectionId": connection.id,
            "name": connection.name,
            "prefix": "",
            "status": "active",
            "sourceId": folder.sources[connection.source].id,
            "destinationId": folder.destinations[connection.destination].id,
            "namespaceDefinition": "customformat",
            "namespaceFormat": connection.namespace,
            "syncCatalog": {
                "streams": [
                    {
                        "stream": {
                            "name": stream.name,
                            "jsonSchema": folder.schema(connection, stream.name),
                        },
                        "config": {"selected": True},
                    }
                    for stream in connection.streams
                ]
            },
        }

    async def start_job(self, request: Request) -> Any:
        body = await request.json()
        if body.get("jobType") != "sync":
            raise ValueError("only jobs of the type 'sync' are known")
        return _job(await run_in_threadpool(self._engine.start, body["connectionId"]))

    async def list_jobs(self, request: Request) -> Any:
        # All jobs in one page, whatever dates the request names: an engine serves only one run.
        connection_id = request.query_params.get("connectionId")
        jobs = [_job(job) for job in self._engine.jobs if job.connection_id == connection_id]
        return {"data": jobs, "next": ""}

    async def job(self, request: Request) -> Any:
        # Waiting here for a short sync to end saves the client a poll and its pause.
        job_id = request.path_params["id"]
        return _job(await run_in_threadpool(self._engine.wait, job_id, _LONGEST_ANSWER_SECONDS))

    async def cancel_job(self, request: Request) -> Any:
        return _job(await run_in_threadpool(self._engine.cancel, request.path_params["id"]))

    async def job_info(self, request: Request) -> Any:
        job = self._engine.job(int((await request.json())["id"]))
        failure = {"failureType": job.failure_type, "externalMessage": job.reason}
        summary = {"failures": [failure] if job.reason else [], "partialSuccess": False}
        attempt = {"id": 0, "status": job.status, "failureSummary": summary}
        return {
            "job": {"id": job.job_id, "configId": job.connection_id, "status": job.status},
            "attempts": [{"attempt": attempt}],
        }


def _job(job: Job) -> dict[str, Any]:
    return {
        "jobId": job.job_id,
        "status": job.status,
        "jobType": "sync",
        "connectionId": job.connection_id,
        "startTime": _instant(job.started_at),
        "lastUpdatedAt": _instant(job.finished_at or datetime.now(UTC)),
        "duration": f"PT{job.duration.total_seconds():.3f}S",
        "bytesSynced": job.bytes_read,
        "rowsSynced": job.counts.rows_read,
    }


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"status": status, "detail": detail}, status_code=status)
