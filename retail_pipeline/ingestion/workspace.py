"""The Airbyte workspace of a sync: the embedded engine behind its stand-in API, or a real server.

In both cases the client is dagster-airbyte's unmodified `AirbyteWorkspace`.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import requests
from dagster_airbyte import AirbyteWorkspace

from retail_pipeline.airbyte_engine.engine import Engine, log_path
from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.airbyte_engine.suppression import Suppression
from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import PipelineState
from retail_pipeline.postgres import Database
from retail_pipeline.privacy.suppression import read_suppression, refuse_newly_forgotten
from retail_pipeline.settings import AirbyteMode, Settings

# dagster-airbyte is beta and therefore pinned exactly; its warning at every sync is not useful.
warnings.filterwarnings("ignore", message=".*Airbyte", category=dg.BetaWarning)

_EMBEDDED_POLL_SECONDS = 0.05  # the stand-in waits before it answers
_SERVER_POLL_SECONDS = 10.0
_REASON_TIMEOUT_SECONDS = 15


class SyncError(PipelineError):
    """A sync failed; `permanent` is true if a retry cannot help, and `log` is the log's path."""

    def __init__(
        self, message: str, *, job_id: int | None, permanent: bool, log: Path | None = None
    ) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.permanent = permanent
        self.log = log


@dataclass(frozen=True)
class SyncResult:
    """A finished sync.

    Attributes:
        job_id: The number of Airbyte's job.
        rows_synced: The number of records, as Airbyte counts them.
        duration: The duration (ISO 8601), as Airbyte measures it.
        reader: The embedded engine's reader, or the server.
        undeclared: Fields by stream that records have and the schema does not declare; empty for a
            server.
        log: The log file of the embedded engine; None for a server.
    """

    job_id: int
    rows_synced: int | None
    duration: str | None
    reader: str = "the Airbyte server"
    undeclared: Mapping[str, list[str]] = field(default_factory=dict)
    log: Path | None = None


@dataclass(frozen=True)
class Workspace:
    """An Airbyte workspace: its client, its connections' ids by name, and the embedded engine."""

    client: AirbyteWorkspace
    connection_ids: Mapping[str, str]
    engine: Engine | None = None

    def sync(self, connection_name: str) -> SyncResult:
        """Sync a connection and wait for the end; return the result.

        Raises:
            SyncError: The sync did not start, or failed; the message has Airbyte's reason.
        """
        api, connection_id = self.client.get_client(), self.connection_ids[connection_name]
        known = self._latest_job(connection_id)
        try:
            details = api.sync_and_poll(connection_id).job_details
        except dg.Failure as failure:
            job_id = self._latest_job(connection_id)
            reason, permanent = failure.description or str(failure), False
            if job_id is not None and job_id != known:
                given, permanent = self._reason(job_id)
                reason = given or reason
            raise SyncError(
                f"the sync of {connection_name} failed: {reason}",
                job_id=job_id,
                permanent=permanent,
                log=self._log(job_id),
            ) from None  # as the last cause shown, dagster-airbyte's message would hide the reason
        result = SyncResult(details["jobId"], details.get("rowsSynced"), details.get("duration"))
        if self.engine is None:
            return result
        job = self.engine.job(result.job_id)
        return replace(
            result,
            reader=job.reader or "unknown",
            undeclared=job.undeclared,
            log=self._log(job.job_id),
        )

    def _log(self, job_id: int | None) -> Path | None:
        if job_id is None or self.engine is None or self.engine.logs is None:
            return None
        return log_path(self.engine.logs, job_id)

    def _latest_job(self, connection_id: str) -> int | None:
        try:
            jobs = self.client.get_client().get_jobs_for_connection(connection_id)
        except dg.Failure:
            return None
        return max((job.id for job in jobs), default=None)

    def _reason(self, job_id: int) -> tuple[str | None, bool]:
        """Return why a job failed, and whether that is permanent.

        dagster-airbyte's own message contains only the job's number.
        """
        try:
            answer = requests.post(
                f"{self.client.configuration_api_base_url}/jobs/get",
                json={"id": job_id},
                headers=dict(self.client.get_client().authorization_request_headers),
                timeout=_REASON_TIMEOUT_SECONDS,
            )
            answer.raise_for_status()
            attempts = answer.json()["attempts"]
            summary = (attempts[-1]["attempt"].get("failureSummary") if attempts else None) or {}
            failures: list[dict[str, Any]] = list(summary.get("failures", []))
        except (requests.RequestException, dg.Failure, KeyError, TypeError, ValueError):
            return None, False  # without a reason the failure is still reported
        reasons = [str(each["externalMessage"]) for each in failures if each.get("externalMessage")]
        permanent = any(each.get("failureType") == "config_error" for each in failures)
        return "; ".join(reasons) or None, permanent


@contextmanager
def open_workspace(
    settings: Settings,
    database: Database,
    folder: AirbyteFolder,
    *,
    api_url: str,
    api_end: str,
    state: PipelineState,
) -> Iterator[Workspace]:
    """Open the workspace that the settings select, for the length of a sync.

    Args:
        settings: The settings with the Airbyte mode and the API's key.
        database: The database in which the embedded engine lands the records.
        folder: The connection files.
        api_url: The retail API's address.
        api_end: The instant at and after which updated records are not read.
        state: The source and the as-of date of the records.

    Yields:
        The workspace.

    Raises:
        PipelineError: The server lacks a connection.
    """
    if settings.airbyte.mode is AirbyteMode.SERVER:
        yield _server_workspace(settings, folder)
        return
    from retail_pipeline.airbyte_engine.api import serving

    _pass_proxies_by()
    suppression = read_suppression(settings, database, folder)
    engine = Engine(
        folder,
        database,
        source_values(settings, api_url, api_end),
        generation=state.generation,
        guard=_guard(state, suppression),
        suppression=suppression,
        logs=settings.home / "logs" / "syncs",
    )
    with engine, serving(engine) as server:
        client = _client(
            server.base_url,
            server.workspace_id,
            client_id=server.client_id,
            client_secret=server.client_secret,
            poll_interval=_EMBEDDED_POLL_SECONDS,
        )
        yield Workspace(
            client, {name: each.id for name, each in folder.connections.items()}, engine
        )


def source_values(settings: Settings, api_url: str, api_end: str) -> dict[str, str | None]:
    """Return the values of the references in the source files.

    Args:
        settings: The settings with the API's key.
        api_url: The retail API's address.
        api_end: The instant at and after which updated records are not read.
    """
    return {
        "RETAIL_API_URL": api_url,
        "RETAIL_API_KEY": settings.api_key,
        "RETAIL_API_END": api_end,
    }


def _server_workspace(settings: Settings, folder: AirbyteFolder) -> Workspace:
    airbyte = settings.airbyte
    base = str(airbyte.url).rstrip("/")
    client = _client(
        base,
        str(airbyte.workspace_id),
        client_id=airbyte.client_id,
        client_secret=airbyte.client_secret,
        poll_interval=_SERVER_POLL_SECONDS,
    )
    try:
        connections = client.get_client().get_connections()
    except dg.Failure as failure:
        raise PipelineError(
            f"the Airbyte server does not list its connections ({failure.description}): "
            "check AIRBYTE_URL, AIRBYTE_WORKSPACE_ID, AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"
        ) from None
    ids = {each["name"]: each["connectionId"] for each in connections}
    missing = [name for name in folder.connections if name not in ids]
    if missing:
        raise PipelineError(
            f"the Airbyte workspace at {base} has no connection {', '.join(missing)}: "
            "`retail-pipeline airbyte apply` creates it"
        )
    return Workspace(client, ids)


def _client(base_url: str, workspace_id: str, **options: Any) -> AirbyteWorkspace:
    return AirbyteWorkspace(
        rest_api_base_url=f"{base_url}/api/public/v1",
        configuration_api_base_url=f"{base_url}/api/v1",
        workspace_id=workspace_id,
        **options,
    )


def _guard(
    state: PipelineState, suppression: Suppression | None
) -> Callable[[psycopg.Connection], None]:
    """Return the check that a sync may still commit its records.

    It raises if another run has started a new generation, or if a person was forgotten meanwhile.
    """

    def check(connection: psycopg.Connection) -> None:
        row = connection.execute("select generation from quality.source_state for share").fetchone()
        if row != (state.generation,):
            raise PipelineError(
                "another run rebuilt the layers for another source or date during this sync: run "
                "it again"
            )
        refuse_newly_forgotten(connection, suppression)

    return check


def _pass_proxies_by() -> None:
    """Set `NO_PROXY` for this process so that requests to the stand-in bypass a proxy."""
    unproxied = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    if "127.0.0.1" not in unproxied:
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, [unproxied, "127.0.0.1"]))
