"""A stand-in of the management API of an Airbyte server: stores objects, refuses invalid ones.

The models of the package airbyte-api parse the requests, so a missing or misspelled field is an
error, as on a server. They do not parse the configuration of a source, which the package takes for
that of another connector.
The rules on keys that a source defines, on masked secrets and on PUT follow Airbyte's server.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airbyte_api.models.connectioncreaterequest import ConnectionCreateRequest
from airbyte_api.models.connectionpatchrequest import ConnectionPatchRequest
from airbyte_api.models.createdeclarativesourcedefinitionrequest import (
    CreateDeclarativeSourceDefinitionRequest,
)
from airbyte_api.models.updatedeclarativesourcedefinitionrequest import (
    UpdateDeclarativeSourceDefinitionRequest,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retail_pipeline.loopback import served

WORKSPACE = "5f2b9c1e-0000-4000-8000-000000000001"
CLIENT_ID, CLIENT_SECRET = "a-client", "the-client-secret"
SECRETS = ("api_key", "password")
MASK = "**********"


class Actor(BaseModel):
    """The fields of a request that creates a source or destination."""

    model_config = ConfigDict(extra="forbid")

    name: str
    workspace_id: str = Field(alias="workspaceId")
    definition_id: str = Field(alias="definitionId")
    configuration: dict[str, Any]


class ActorUpdate(BaseModel):
    """The fields of a PUT request: all of the object."""

    model_config = ConfigDict(extra="forbid")

    name: str
    configuration: dict[str, Any]


@dataclass
class Management:
    """The objects of one workspace by kind and id; `writes` lists the requests that changed any."""

    page: int = 2
    token_uses: int = 6
    objects: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {
            kind: {} for kind in ("definitions", "sources", "destinations", "connections")
        }
    )
    writes: list[tuple[str, str]] = field(default_factory=list)
    refuse: Callable[[str, str], Response | None] = lambda method, path: None
    address: str = ""

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._tokens: dict[str, int] = {}
        self._lock = threading.Lock()

    def named(self, kind: str) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.objects[kind].values()}

    async def answer(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path == "applications/token":
            return self._token(await request.json())
        if not self._enter(request.headers.get("authorization", "")):
            return JSONResponse({"title": "Unauthorized"}, status_code=401)
        refused = self.refuse(request.method, path)
        if refused is not None:
            return refused
        body = await request.json() if await request.body() else None
        try:
            return self._dispatch(request, path.split("/"), body)
        except (ValidationError, ValueError) as error:
            return JSONResponse({"title": "bad-request", "detail": str(error)}, status_code=422)
        except KeyError as error:
            return JSONResponse({"title": f"no {error}"}, status_code=404)

    def _token(self, body: dict[str, Any]) -> Response:
        if (body.get("client_id"), body.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return JSONResponse({"title": "invalid credentials"}, status_code=401)
        token = f"token-{next(self._numbers)}"
        self._tokens[token] = self.token_uses
        return JSONResponse({"access_token": token})

    def _enter(self, header: str) -> bool:
        """Return whether the token is still valid; it expires after a few requests."""
        token = header.removeprefix("Bearer ")
        with self._lock:
            self._tokens[token] = self._tokens.get(token, 0) - 1
        return self._tokens[token] >= 0

    def _dispatch(self, request: Request, parts: list[str], body: Any) -> Response:
        method = request.method
        if parts[0] == "workspaces":
            if parts[1] != WORKSPACE:
                raise KeyError("workspace")
            if len(parts) == 2:
                return JSONResponse({"workspaceId": WORKSPACE, "name": "w", "dataResidency": "a"})
            parts = ["definitions", *parts[4:]]
        kind, object_id = parts[0], parts[1] if len(parts) > 1 else None
        if method == "GET":
            return self._list(request, kind)
        self.writes.append((method, kind))
        if method == "DELETE":
            assert object_id is not None
            del self.objects[kind][object_id]
            return Response(status_code=204)
        if object_id is None:
            object_id = f"{kind[:-1]}-{next(self._numbers)}"
            content = self._created(kind, body)
            self.objects[kind][object_id] = {_ID[kind]: object_id, **content}
        else:
            self.objects[kind][object_id].update(self._updated(kind, method, body))
        return JSONResponse(_masked(self.objects[kind][object_id]))

    def _list(self, request: Request, kind: str) -> Response:
        found = [_masked(each) for each in self.objects[kind].values()]
        if kind == "definitions":
            return JSONResponse({"data": found})
        assert request.query_params["workspaceIds"] == WORKSPACE
        start = int(request.query_params["offset"])
        more = "http://an-internal-host/next" if start + self.page < len(found) else ""
        return JSONResponse({"data": found[start : start + self.page], "next": more})

    def _created(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        if kind == "definitions":
            CreateDeclarativeSourceDefinitionRequest.model_validate(body)
            return {**body, "version": 1}
        if kind == "connections":
            _exactly(ConnectionCreateRequest, body)
            assert body["sourceId"] in self.objects["sources"]
            assert body["destinationId"] in self.objects["destinations"]
            return {**body, "configurations": self._configured(body["sourceId"], body)}
        Actor.model_validate(body)
        known = kind == "destinations" or body["definitionId"] in self.objects["definitions"]
        if not known:
            raise ValueError("unknown definition")
        return {**body, "createdAt": 1, f"{kind[:-1]}Type": "declarative"}

    def _updated(self, kind: str, method: str, body: dict[str, Any]) -> dict[str, Any]:
        if kind == "definitions":
            assert method == "PUT"
            UpdateDeclarativeSourceDefinitionRequest.model_validate(body)
        elif kind == "connections":
            assert method == "PATCH"
            _exactly(ConnectionPatchRequest, body)
        else:
            assert method == "PUT"
            ActorUpdate.model_validate(body)
        return body

    def _configured(self, source_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Set the keys and cursors that the source defines, as discovery does."""
        definition = self.objects["sources"][source_id]["definitionId"]
        manifest = self.objects["definitions"][definition]["manifest"]
        declared = {each["name"]: each for each in manifest["streams"]}
        streams = []
        for stream in body["configurations"]["streams"]:
            key = declared[stream["name"]].get("primary_key")
            if key and stream.get("primaryKey"):
                raise ValueError(f"Primary key for stream: {stream['name']} is already pre-defined")
            streams.append({"primaryKey": [[key]], "cursorField": ["updated_at"], **stream})
        return {"streams": streams}


_ID = {
    "definitions": "id",
    "sources": "sourceId",
    "destinations": "destinationId",
    "connections": "connectionId",
}


@contextmanager
def serving(management: Management) -> Iterator[Management]:
    """Serve the API on a free loopback port and set its `url`."""
    route = Route(
        "/api/public/v1/{path:path}",
        management.answer,
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
    )
    with served(Starlette(routes=[route])) as address:
        management.address = address
        yield management


def _exactly(model: type[BaseModel], body: dict[str, Any]) -> None:
    """Return the validated request; a field that the model lacks is an error."""
    model.model_validate(body)
    known = {each.alias or name for name, each in model.model_fields.items()}
    if set(body) - known:
        raise ValueError(f"unknown fields {sorted(set(body) - known)}")


def _masked(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: MASK if name in SECRETS and isinstance(value, str) else _masked(value)
            for name, value in node.items()
        }
    return [_masked(each) for each in node] if isinstance(node, list) else node
