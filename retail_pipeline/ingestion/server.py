"""A client of Airbyte's public API: list, create, update and delete objects of a workspace.

The `airbyte-api` package is not used, because it silently parses the configuration of a custom
source as that of an unrelated connector.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.settings import AirbyteSettings, hostname_of

_PAGE = 100
_TIMEOUT_SECONDS = 300
"""Long enough for a new connection: the server first discovers its source's streams."""
_LONGEST_DETAIL = 300
_CREDENTIALS = (
    ": check AIRBYTE_CLIENT_ID, AIRBYTE_CLIENT_SECRET and the rights of their user in the workspace"
)
_CHECK = {
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    404: ": check AIRBYTE_URL and AIRBYTE_WORKSPACE_ID",
}


@dataclass(frozen=True)
class Kind:
    """A kind of object of a workspace.

    Attributes:
        title: The name of the kind.
        path: The path below the API's root; `{workspace}` stands for the workspace's id.
        id_field: The field of an answer with the object's id.
        update_method: The HTTP method of an update: PATCH changes the fields that are sent, PUT
            replaces all fields.
    """

    title: str
    path: str
    id_field: str
    update_method: str


DEFINITION = Kind(
    "definition", "workspaces/{workspace}/definitions/declarative_sources", "id", "PUT"
)
# PUT, so that properties that the files no longer have are removed from the configuration.
SOURCE = Kind("source", "sources", "sourceId", "PUT")
DESTINATION = Kind("destination", "destinations", "destinationId", "PUT")
CONNECTION = Kind("connection", "connections", "connectionId", "PATCH")
KINDS = (DEFINITION, SOURCE, DESTINATION, CONNECTION)
"""In the order of creation: each kind refers to earlier ones."""


class AirbyteServer:
    """A workspace of a real Airbyte server; a context manager.

    Args:
        settings: The server's address, workspace and credentials.
        secrets: Texts to mask in messages.

    Raises:
        UsageError: A required setting is missing.
    """

    def __init__(self, settings: AirbyteSettings, secrets: Collection[str] = ()) -> None:
        needed = {
            "AIRBYTE_URL": settings.url,
            "AIRBYTE_WORKSPACE_ID": settings.workspace_id,
            "AIRBYTE_CLIENT_ID": settings.client_id,
            "AIRBYTE_CLIENT_SECRET": settings.client_secret,
        }
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise UsageError(f"an Airbyte server is reached by {', '.join(missing)}: set them")
        url = str(settings.url).rstrip("/")
        if not hostname_of(url):
            raise UsageError("AIRBYTE_URL must be an address like https://airbyte.example.com")
        address = urlsplit(url)
        self.workspace_id = str(settings.workspace_id)
        self.location = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
        self._settings = settings
        self._secrets = {*secrets, str(settings.client_secret)}
        self._client = httpx.Client(
            base_url=f"{url}/api/public/v1/",
            timeout=httpx.Timeout(_TIMEOUT_SECONDS, connect=10),
            trust_env=address.hostname not in ("127.0.0.1", "localhost"),
        )

    def __enter__(self) -> Self:
        self._call("GET", f"workspaces/{self.workspace_id}", "to show the workspace")
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def list(self, kind: Kind) -> list[dict[str, Any]]:
        """Return all objects of a kind in the workspace.

        Raises:
            PipelineError: The server does not answer or refuses.
        """
        found: list[dict[str, Any]] = []
        path = kind.path.format(workspace=self.workspace_id)
        while True:
            # Paged by offset, because `next` may name a host that only the server can reach.
            page = {"workspaceIds": self.workspace_id, "limit": _PAGE, "offset": len(found)}
            answer = self._call("GET", path, f"to list {kind.title}s", params=page)
            found += answer.get("data") or []
            if not (answer.get("data") and answer.get("next")):
                return found

    def write(
        self, method: str, kind: Kind, name: str, body: Mapping[str, Any], object_id: str = ""
    ) -> str:
        """Create (POST), change (PUT, PATCH) or delete (DELETE) an object; return its id.

        Args:
            method: The HTTP method.
            kind: The kind of object.
            name: The object's name, for messages.
            body: The object's fields.
            object_id: The object's id; empty to create it.

        Raises:
            PipelineError: The server does not answer or refuses.
        """
        if method == "POST" and kind in (SOURCE, DESTINATION):
            body = {**body, "workspaceId": self.workspace_id}
        path = kind.path.format(workspace=self.workspace_id)
        verb = {"POST": "create", "DELETE": "delete"}.get(method, "change")
        answer = self._call(
            method,
            f"{path}/{object_id}" if object_id else path,
            f"to {verb} the {kind.title} {name}",
            json=body or None,
        )
        return str(answer.get(kind.id_field, object_id))

    def masked(self, text: str) -> str:
        """Return a text with the secrets masked."""
        for secret in self._secrets:
            text = text.replace(secret, "**********")
        return text

    def _call(self, method: str, path: str, purpose: str, **options: Any) -> dict[str, Any]:
        """Return the answer of a call, made with a new token because tokens expire in minutes."""
        credentials = {
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
            "grant-type": "client_credentials",
        }
        token = self._send("POST", "applications/token", "the credentials", json=credentials)
        headers = {"Authorization": f"Bearer {token.get('access_token')}"}
        return self._send(method, path, purpose, headers=headers, **options)

    def _send(self, method: str, path: str, purpose: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **options)
            content = answer.json() if answer.content else {}
        except httpx.HTTPError as error:
            raise self._error(
                f"does not answer ({error or type(error).__name__}): check AIRBYTE_URL and its "
                "health"
            ) from None
        except ValueError:
            content = None
        fields = content if isinstance(content, dict) else {}
        if not answer.is_success:
            reason = fields.get("detail") or fields.get("message") or fields.get("title") or ""
            detail = f": {self.masked(str(reason))[:_LONGEST_DETAIL]}" if reason else ""
            check = _CHECK.get(answer.status_code, "")
            raise self._error(f"refuses {purpose} (HTTP {answer.status_code}{detail}){check}")
        if content is not fields:
            raise self._error(
                "gives an answer that is not of Airbyte's API: AIRBYTE_URL must be the server's "
                "address without /api"
            )
        return fields

    def _error(self, problem: str) -> PipelineError:
        return PipelineError(self.masked(f"the Airbyte server at {self.location} {problem}"))
