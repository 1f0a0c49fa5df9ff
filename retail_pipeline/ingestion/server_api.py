"""Airbyte's public API over plain HTTP: list, create, update and delete what a workspace holds.

Only what is sent and how answers and failures are read belongs here; what should be there is in
`server_plan`. airbyte-api's client is not used: it reads a custom source's configuration as one of
an unrelated connector without an error.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
from retail_pipeline.settings import (
    AirbyteSettings,
    hostname_of,
)

if TYPE_CHECKING:
    import httpx

_PAGE = 100
_TIMEOUT_SECONDS = 300
"""A server discovers a source's streams before it answers for a new connection."""
_ATTEMPTS = 3
_TRANSIENT = (429, 500, 502, 503, 504)
_MASK = "**********"
_LONGEST_DETAIL = 300


@dataclass(frozen=True)
class Kind:
    """A kind of object of a workspace.

    Attributes:
        title: What people call it; its plural names it in the file of ids.
        path: Below the API's root; `{workspace}` stands for the workspace's id.
        id_field: The field of an answer that holds its id.
        update_method: How it is changed: PATCH changes the fields that are sent, PUT all of them.
        is_paged: Whether lists come in pages and are filtered by workspace.
    """

    title: str
    path: str
    id_field: str
    update_method: str
    is_paged: bool = True

    @property
    def plural(self) -> str:
        """The name of a list of them."""
        return f"{self.title}s"


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
        self._settings = settings
        self._secrets = {*secrets, str(settings.client_secret)}
        self.workspace_id = str(settings.workspace_id)
        url = str(settings.url).rstrip("/")
        if not (url.startswith(("http://", "https://")) and hostname_of(url)):
            raise UsageError("AIRBYTE_URL must be an address like https://airbyte.example.com")
        address = urlsplit(url)
        self.location = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
        import httpx

        self._client = httpx.Client(
            base_url=f"{address.geturl()}/api/public/v1/",
            timeout=httpx.Timeout(_TIMEOUT_SECONDS, connect=10),
            trust_env=address.hostname not in ("127.0.0.1", "localhost"),
        )
        self._token: str | None = None

    def __enter__(self) -> "AirbyteServer":
        self._get_object(f"workspaces/{self.workspace_id}", "the workspace", absent=self._workspace)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def list(self, kind: Kind) -> list[dict[str, Any]]:
        """Return all objects of a kind in the workspace.

        Raises:
            PipelineError: The server does not answer or refuses.
        """
        found: list[dict[str, Any]] = []
        while True:
            # By offset: `next` may name a host that only the server itself can reach.
            page = {"workspaceIds": self.workspace_id, "limit": _PAGE, "offset": len(found)}
            answer = self._get_object(
                self._path(kind), f"its {kind.plural}", params=page if kind.is_paged else None
            )
            data = answer.get("data") or []
            found += data
            if not (kind.is_paged and data and answer.get("next")):
                return found

    def create(self, kind: Kind, name: str, body: Mapping[str, Any]) -> str:
        """Create an object and return its id.

        Raises:
            PipelineError: The server does not answer or refuses.
        """
        if kind in (SOURCE, DESTINATION):
            body = {**body, "workspaceId": self.workspace_id}
        answer = self._request("POST", self._path(kind), f"to create the {kind.title} {name}", body)
        return str(self._field(answer, kind.id_field))

    def update(self, kind: Kind, name: str, object_id: str, body: Mapping[str, Any]) -> None:
        """Change an object.

        Raises:
            PipelineError: The server does not answer or refuses.
        """
        path = f"{self._path(kind)}/{object_id}"
        self._request(kind.update_method, path, f"to change the {kind.title} {name}", body)

    def delete(self, kind: Kind, name: str, object_id: str) -> None:
        """Delete an object.

        Raises:
            PipelineError: The server does not answer or refuses.
        """
        path = f"{self._path(kind)}/{object_id}"
        self._request("DELETE", path, f"to delete the {kind.title} {name}")

    def _path(self, kind: Kind) -> str:
        return kind.path.format(workspace=self.workspace_id)

    def _get_object(
        self,
        path: str,
        what: str,
        *,
        params: Mapping[str, Any] | None = None,
        absent: str | None = None,
    ) -> dict[str, Any]:
        answer = self._request("GET", path, f"to tell {what}", params=params, absent=absent)
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise PipelineError(self._foreign)
        return content

    def _request(
        self,
        method: str,
        path: str,
        purpose: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        absent: str | None = None,
    ) -> "httpx.Response":
        if self._token is None:
            self._token = self._new_token()
        answer = self._send(method, path, body, params)
        if answer.status_code == 401:  # tokens live for minutes
            self._token = self._new_token()
            answer = self._send(method, path, body, params)
        if answer.is_success:
            return answer
        if answer.status_code == 404 and absent:
            raise PipelineError(absent)
        if answer.status_code in (401, 403):
            raise PipelineError(
                f"the Airbyte server at {self.location} does not allow these credentials {purpose} "
                f"(HTTP {answer.status_code}): check AIRBYTE_CLIENT_ID, AIRBYTE_CLIENT_SECRET and "
                "what their user may do in the workspace AIRBYTE_WORKSPACE_ID"
            )
        raise PipelineError(
            f"the Airbyte server at {self.location} refuses {purpose} "
            f"(HTTP {answer.status_code}{self._detail(answer)})"
        )

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, Any] | None = None,
    ) -> "httpx.Response":
        import httpx

        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        # Only reading is repeated: a second POST would make a second object.
        attempts = _ATTEMPTS if method == "GET" else 1
        for attempt in range(1, attempts + 1):
            try:
                answer = self._client.request(
                    method, path, json=body, params=dict(params or {}), headers=headers
                )
            except httpx.HTTPError as error:
                if attempt == attempts:
                    raise PipelineError(
                        self._masked(
                            f"the Airbyte server at {self.location} does not answer "
                            f"({error or type(error).__name__}): check AIRBYTE_URL and its health"
                        )
                    ) from None
            else:
                if answer.status_code not in _TRANSIENT or attempt == attempts:
                    return answer
            time.sleep(0.5 * attempt)
        raise AssertionError("the last attempt returns or raises")

    def _new_token(self) -> str:
        self._token = None
        answer = self._send(
            "POST",
            "applications/token",
            {
                "client_id": self._settings.client_id,
                "client_secret": self._settings.client_secret,
                "grant-type": "client_credentials",
            },
        )
        if answer.status_code in (400, 401, 403):
            raise PipelineError(
                f"the Airbyte server at {self.location} refuses the credentials "
                f"(HTTP {answer.status_code}): check AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"
            )
        if not answer.is_success:
            raise PipelineError(self._foreign)
        return str(self._field(answer, "access_token"))

    def _field(self, answer: "httpx.Response", name: str) -> Any:
        try:
            return answer.json()[name]
        except (ValueError, KeyError, TypeError):
            raise PipelineError(self._foreign) from None

    @property
    def _foreign(self) -> str:
        return (
            f"what answers at {self.location} is not Airbyte's API: "
            "AIRBYTE_URL must be the server's address without /api"
        )

    @property
    def _workspace(self) -> str:
        return (
            f"the Airbyte server at {self.location} has no workspace {self.workspace_id}: "
            "check AIRBYTE_WORKSPACE_ID"
        )

    def _detail(self, answer: "httpx.Response") -> str:
        try:
            content = answer.json()
            told = content.get("detail") or content.get("message") or content.get("title")
        except (ValueError, AttributeError):
            told = None
        return f": {self._masked(str(told))[:_LONGEST_DETAIL]}" if told else ""

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text
