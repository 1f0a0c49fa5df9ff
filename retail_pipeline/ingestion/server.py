"""Airbyte's public API over plain HTTP: list, create, update and delete objects of a workspace.

airbyte-api's client is not used: it reads a custom source's configuration as one of an unrelated
connector without an error.
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
"""A server discovers a source's streams before it answers for a new connection."""
_MASK = "**********"
_LONGEST_DETAIL = 300


@dataclass(frozen=True)
class Kind:
    """A kind of object of a workspace.

    Attributes:
        title: Its name.
        path: Below the API's root; `{workspace}` stands for the workspace's id.
        id_field: The field of an answer that holds its id.
        update_method: PATCH changes the fields that are sent, PUT replaces all of them.
        is_paged: Whether lists come in pages and are filtered by workspace.
    """

    title: str
    path: str
    id_field: str
    update_method: str
    is_paged: bool = True


DEFINITION = Kind(
    "definition", "workspaces/{workspace}/definitions/declarative_sources", "id", "PUT", False
)
# PUT: a property that the files no longer have has to leave the configuration.
SOURCE = Kind("source", "sources", "sourceId", "PUT")
DESTINATION = Kind("destination", "destinations", "destinationId", "PUT")
CONNECTION = Kind("connection", "connections", "connectionId", "PATCH")
KINDS = (DEFINITION, SOURCE, DESTINATION, CONNECTION)
"""In the order in which they need each other."""


class AirbyteServer:
    """A workspace of a real Airbyte server; a context manager.

    Args:
        settings: Its address, workspace and credentials.
        secrets: Texts that must not appear in any message.

    Raises:
        UsageError: A setting that is needed to reach it is missing.
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
        if not (url.startswith(("http://", "https://")) and hostname_of(url)):
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
        self._authorize()
        absent = (
            f"the Airbyte server at {self.location} has no workspace {self.workspace_id}: "
            "check AIRBYTE_WORKSPACE_ID"
        )
        self._request(
            "GET", f"workspaces/{self.workspace_id}", "to show a workspace", absent=absent
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def list(self, kind: Kind) -> list[dict[str, Any]]:
        """Return all objects of a kind in the workspace.

        Raises:
            PipelineError: The server does not answer or refuses.
        """
        found: list[dict[str, Any]] = []
        path, purpose = kind.path.format(workspace=self.workspace_id), f"to list {kind.title}s"
        while True:
            # By offset: `next` may name a host that only the server itself can reach.
            page = {"workspaceIds": self.workspace_id, "limit": _PAGE, "offset": len(found)}
            answer = self._request("GET", path, purpose, params=page if kind.is_paged else {})
            data = answer.get("data") or []
            found += data
            if not (kind.is_paged and data and answer.get("next")):
                return found

    def write(
        self, method: str, kind: Kind, name: str, body: Mapping[str, Any], object_id: str = ""
    ) -> str:
        """Create (POST), change (PUT, PATCH) or delete (DELETE) an object; return its id.

        Args:
            method: The HTTP method.
            kind: The object's kind.
            name: Its name, for messages.
            body: Its fields.
            object_id: Its id, except where it is created.

        Raises:
            PipelineError: The server does not answer or refuses.
        """
        creates = method == "POST"
        if creates and kind in (SOURCE, DESTINATION):
            body = {**body, "workspaceId": self.workspace_id}
        path = kind.path.format(workspace=self.workspace_id)
        verb = {"POST": "create", "DELETE": "delete"}.get(method, "change")
        answer = self._request(
            method,
            path if creates else f"{path}/{object_id}",
            f"to {verb} the {kind.title} {name}",
            json=body or None,
        )
        if creates and kind.id_field not in answer:
            raise PipelineError(self._foreign)
        return str(answer.get(kind.id_field, object_id))

    def _authorize(self) -> None:
        credentials = {
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
            "grant-type": "client_credentials",
        }
        answer = self._send("POST", "applications/token", json=credentials)
        if answer.status_code in (400, 401, 403):
            raise PipelineError(
                f"the Airbyte server at {self.location} refuses the credentials "
                f"(HTTP {answer.status_code}): check AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"
            )
        try:
            token = answer.json()["access_token"]
        except (ValueError, KeyError, TypeError):
            raise PipelineError(self._foreign) from None
        self._client.headers["Authorization"] = f"Bearer {token}"

    def _request(
        self, method: str, path: str, purpose: str, *, absent: str | None = None, **options: Any
    ) -> dict[str, Any]:
        answer = self._send(method, path, **options)
        if answer.status_code == 401:  # tokens live for minutes
            self._authorize()
            answer = self._send(method, path, **options)
        if answer.status_code == 404 and absent:
            raise PipelineError(absent)
        if answer.status_code in (401, 403):
            raise PipelineError(
                f"the Airbyte server at {self.location} does not allow these credentials {purpose} "
                f"(HTTP {answer.status_code}): check AIRBYTE_CLIENT_ID, AIRBYTE_CLIENT_SECRET and "
                "the rights of their user in the workspace AIRBYTE_WORKSPACE_ID"
            )
        if not answer.is_success:
            raise PipelineError(
                f"the Airbyte server at {self.location} refuses {purpose} "
                f"(HTTP {answer.status_code}{self._detail(answer)})"
            )
        try:
            content = answer.json() if answer.content else {}
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise PipelineError(self._foreign)
        return content

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise PipelineError(
                self.masked(
                    f"the Airbyte server at {self.location} does not answer "
                    f"({error or type(error).__name__}): check AIRBYTE_URL and its health"
                )
            ) from None

    @property
    def _foreign(self) -> str:
        return (
            f"the answer from {self.location} is not one of Airbyte's API: AIRBYTE_URL must be the "
            "server's address without /api"
        )

    def _detail(self, answer: httpx.Response) -> str:
        try:
            content = answer.json()
            detail = content.get("detail") or content.get("message") or content.get("title")
        except (ValueError, AttributeError):
            detail = None
        return f": {self.masked(str(detail))[:_LONGEST_DETAIL]}" if detail else ""

    def masked(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text
