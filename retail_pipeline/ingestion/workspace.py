"""Which Airbyte runs a sync: the embedded engine behind its stand-in, or a real server.

In both cases the client is dagster-airbyte's own, unmodified `AirbyteWorkspace`.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import requests
from dagster import BetaWarning, Failure
from dagster_airbyte import AirbyteWorkspace

from retail_pipeline.airbyte_engine.files import (
    AirbyteFolder,
    ConnectionFile,
)
from retail_pipeline.airbyte_engine.suppression import Suppression
from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import PipelineState
from retail_pipeline.ingestion.server_api import CONNECTION
from retail_pipeline.ingestion.server_plan import (
    ids_path,
    read_ids,
)
from retail_pipeline.postgres import Database
from retail_pipeline.privacy.suppression import (
    read_suppression,
    refuse_newly_forgotten,
)
from retail_pipeline.settings import (
    AirbyteMode,
    Settings,
)

# dagster-airbyte is pinned exactly because it is beta; saying so at every sync helps nobody.
warnings.filterwarnings("ignore", message=".*Airbyte", category=BetaWarning)

_EMBEDDED_POLL_SECONDS = 0.05  # the stand-in waits before it answers
_SERVER_POLL_SECONDS = 10.0
_REASON_TIMEOUT_SECONDS = 15


class SyncError(PipelineError):
    """A sync ended badly; `permanent` where trying again cannot help."""

    def __init__(self, message: str, *, job_id: int | None, permanent: bool) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.permanent = permanent


@dataclass(frozen=True)
class SyncResult:
    """A finished sync: its job, how many records it moved, how long it took (as Airbyte says)."""

    job_id: int
    rows_synced: int | None
    duration: str | None


@dataclass(frozen=True)
class Workspace:
    """An Airbyte workspace with the ids of the connections by their names."""

    client: AirbyteWorkspace
    connection_ids: Mapping[str, str]

    def sync(self, connection_name: str) -> SyncResult:
        """Run a connection and wait for its end.

        Raises:
            SyncError: The sync did not start or failed; the message bears Airbyte's reason.
        """
        api, connection_id = self.client.get_client(), self.connection_ids[connection_name]
        known = _latest_job(self.client, connection_id)
        try:
            details = api.sync_and_poll(connection_id).job_details
        except Failure as failure:
            job_id = _latest_job(self.client, connection_id)
            reason, permanent = failure.description or str(failure), False
            if job_id is not None and job_id != known:
                told, permanent = _reason(self.client, job_id)
                reason = told or reason
            raise SyncError(
                f"the sync of {connection_name} failed: {reason}",
                job_id=job_id,
                permanent=permanent,
            ) from None  # its own message would hide the reason from whoever shows the last cause
        return SyncResult(details["jobId"], details.get("rowsSynced"), details.get("duration"))


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
    """Open the workspace that the settings ask for, for the length of a sync.

    Args:
        settings: Which Airbyte; the API's key.
        database: Where the embedded engine lands the records.
        folder: The connection files.
        api_url: The retail API's address.
        api_end: Records updated at or after this instant are not read.
        state: The source and clock that the records belong to.

    Raises:
        PipelineError: The server lacks a connection.
    """
    if settings.airbyte.mode is AirbyteMode.SERVER:
        yield _server_workspace(settings, folder)
        return
    from retail_pipeline.airbyte_engine.api import serving
    from retail_pipeline.airbyte_engine.engine import Engine

    values = source_values(settings, api_url, api_end)
    _pass_proxies_by()
    suppression = read_suppression(settings, database, folder)
    engine = Engine(
        folder,
        database,
        values,
        generation=state.generation,
        guard=_guard(state, suppression),
        suppression=suppression,
        logs=_logs(settings),
    )
    with engine, serving(engine) as stand_in:
        client = AirbyteWorkspace(
            rest_api_base_url=stand_in.rest_api_base_url,
            configuration_api_base_url=stand_in.configuration_api_base_url,
            workspace_id=stand_in.workspace_id,
            client_id=stand_in.credentials.client_id,
            client_secret=stand_in.credentials.client_secret,
            poll_interval=_EMBEDDED_POLL_SECONDS,
        )
        yield Workspace(client, {name: each.id for name, each in folder.connections.items()})


def sync_log(settings: Settings, job_id: int) -> Path | None:
    """Return the log of a sync of the embedded engine; a server keeps its own."""
    from retail_pipeline.airbyte_engine.engine import log_path

    if settings.airbyte.mode is AirbyteMode.SERVER:
        return None
    return log_path(_logs(settings), job_id)


def _logs(settings: Settings) -> Path:
    return settings.home / "logs" / "syncs"


def source_values(settings: Settings, api_url: str, api_end: str) -> dict[str, str | None]:
    """Return what the references of the source files stand for.

    Args:
        settings: The API's key.
        api_url: The retail API's address.
        api_end: Records updated at or after this instant are not read.
    """
    return {
        "RETAIL_API_URL": api_url,
        "RETAIL_API_KEY": settings.api_key,
        "RETAIL_API_END": api_end,
    }


def known_connection_ids(settings: Settings, folder: AirbyteFolder) -> dict[str, str]:
    """Return the ids that are known without contacting anything.

    Embedded, they follow from the names; of a server's, `airbyte/workspaces/<environment>.json`
    may tell them, which `airbyte apply` writes.

    Raises:
        PipelineError: The file is there but unreadable.
    """
    if settings.airbyte.mode is AirbyteMode.EMBEDDED:
        return {name: connection.id for name, connection in folder.connections.items()}
    return read_ids(ids_path(settings, folder), str(settings.airbyte.workspace_id)).get(
        CONNECTION.plural, {}
    )


def _server_workspace(settings: Settings, folder: AirbyteFolder) -> Workspace:
    airbyte = settings.airbyte
    base = str(airbyte.url).rstrip("/")
    client = AirbyteWorkspace(
        rest_api_base_url=f"{base}/api/public/v1",
        configuration_api_base_url=f"{base}/api/v1",
        workspace_id=str(airbyte.workspace_id),
        client_id=airbyte.client_id,
        client_secret=airbyte.client_secret,
        poll_interval=_SERVER_POLL_SECONDS,
    )
    ids = known_connection_ids(settings, folder) or _ids_by_name(client)
    missing: list[ConnectionFile | str] = [name for name in folder.connections if name not in ids]
    if missing:
        raise PipelineError(
            f"the Airbyte workspace at {base} has no connection {', '.join(map(str, missing))}: "
            "`retail-pipeline airbyte apply` creates it"
        )
    return Workspace(client, ids)


def _ids_by_name(client: AirbyteWorkspace) -> dict[str, str]:
    try:
        connections = client.get_client().get_connections()
    except Failure as failure:
        raise PipelineError(
            f"the Airbyte server cannot be asked for its connections ({failure.description}): "
            "check AIRBYTE_URL, AIRBYTE_WORKSPACE_ID, AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"
        ) from None
    return {each["name"]: each["connectionId"] for each in connections}


def _latest_job(client: AirbyteWorkspace, connection_id: str) -> int | None:
    try:
        jobs = client.get_client().get_jobs_for_connection(connection_id)
    except Failure:
        return None
    return max((job.id for job in jobs), default=None)


def _reason(client: AirbyteWorkspace, job_id: int) -> tuple[str | None, bool]:
    """Ask why a job failed; dagster-airbyte's own message says no more than the job's number."""
    api = client.get_client()
    try:
        answer = requests.post(
            f"{client.configuration_api_base_url}/jobs/get",
            json={"id": job_id},
            headers=dict(api.authorization_request_headers),
            timeout=_REASON_TIMEOUT_SECONDS,
        )
        answer.raise_for_status()
        failures = _failures(answer.json())
    except (requests.RequestException, Failure, KeyError, TypeError, ValueError):
        return None, False  # no reason is worse than a reason, but must not hide the failure
    reasons = [str(each["externalMessage"]) for each in failures if each.get("externalMessage")]
    permanent = any(each.get("failureType") == "config_error" for each in failures)
    return "; ".join(reasons) or None, permanent


def _failures(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if not job["attempts"]:
        return []
    summary = job["attempts"][-1]["attempt"].get("failureSummary") or {}
    return list(summary.get("failures", []))


def _guard(state: PipelineState, suppression: Suppression | None) -> Any:
    """Refuse to commit records of a replaced generation, or read before somebody was forgotten."""

    def check(connection: psycopg.Connection) -> None:
        row = connection.execute("select generation from quality.source_state for share").fetchone()
        if row != (state.generation,):
            raise PipelineError(
                "another run rebuilt the layers for another source or date while this sync was "
                "at work: run it again"
            )
        refuse_newly_forgotten(connection, suppression)

    return check


def _pass_proxies_by() -> None:
    """Keep a proxy of the environment out of the way to the stand-in on loopback."""
    proxied = any(name.lower() in ("http_proxy", "all_proxy") for name in os.environ)
    unproxied = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    if proxied and "127.0.0.1" not in unproxied:
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, [unproxied, "127.0.0.1"]))
