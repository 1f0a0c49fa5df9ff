"""Starting, watching and ending syncs: a worker thread per job, a source process per worker.

How records land is in `destination`, how the source runs in `connector`; this module joins them
and sees to it that every job ends with a status and a reason.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
import yaml

from retail_pipeline.airbyte_engine import connector
from retail_pipeline.airbyte_engine.connector import (
    Connector,
    Record,
    RenderedPage,
    SourceInput,
    StreamState,
)
from retail_pipeline.airbyte_engine.destination import (
    Guard,
    Loader,
    Outcome,
    stored_states,
)
from retail_pipeline.airbyte_engine.files import (
    AirbyteFolder,
    ConnectionFile,
    SyncMode,
)
from retail_pipeline.airbyte_engine.jobs import (
    Job,
    JobOverError,
    JobStatus,
    JobStore,
)
from retail_pipeline.airbyte_engine.landing_table import Landing
from retail_pipeline.airbyte_engine.suppression import Suppression
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

LOGS_KEPT = 200
_MASK = "**********"
_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)


class Engine:
    """Runs the connections of one folder against one database.

    Args:
        folder: The connection files.
        database: Where records land and the books are kept; migrated.
        values: What `${REFERENCE}`s in the source files stand for; None leaves a property out.
        generation: `_airbyte_generation_id` of the rows.
        guard: Asked inside each merging transaction; raises where rows must not commit any more.
        suppression: Which records are kept out.
        heartbeat_seconds: How often a running job signs its row, and notices a cancellation that
            came through another process.
        page_loop: Whether the page loop may read where it supports the manifest.
        logs: The folder for the syncs' logs, one file per job, the latest `LOGS_KEPT`; None keeps
            none.
    """

    def __init__(
        self,
        folder: AirbyteFolder,
        database: Database,
        values: Mapping[str, str | None],
        *,
        generation: int = 0,
        guard: Guard | None = None,
        suppression: Suppression | None = None,
        heartbeat_seconds: float = 1.0,
        page_loop: bool = True,
        logs: Path | None = None,
    ) -> None:
        self.folder = folder
        self.database = database
        self.values = values
        self.generation = generation
        self.guard = guard
        self.suppression = suppression
        self.heartbeat_seconds = heartbeat_seconds
        self.page_loop = page_loop
        self.logs = logs
        self.jobs = JobStore(database)
        self._workers: dict[int, _Worker] = {}

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def log_path(self, job_id: int) -> Path | None:
        """Return where a job logs, if logs are kept."""
        return None if self.logs is None else log_path(self.logs, job_id)

    def start(self, connection_id: str) -> Job:
        """Start a sync and return at once with its job.

        Raises:
            PipelineError: The connection is unknown, or a reference of its source has no value.
            AlreadyRunningError: A sync of the connection is at work, here or elsewhere.
        """
        connection = self.folder.connection_by_id(connection_id)
        if connection is None:
            raise PipelineError(f"no airbyte connection has the id {connection_id}")
        source = self.folder.sources[connection.source].resolved(self.values)
        connector.sweep()
        if self.logs is not None:
            _sweep_logs(self.logs)
        session = self.database.connect(autocommit=True)
        try:
            job_id = self.jobs.start(
                session, connection_id=connection_id, connection_name=connection.name
            )
        except BaseException:
            session.close()
            raise
        log = self.log_path(job_id)
        if log is not None:  # of a job of the same number in a database that is gone
            log.unlink(missing_ok=True)
        worker = _Worker(self, connection, source, session, job_id)
        self._workers[job_id] = worker
        worker.start()
        job = self.jobs.get(job_id)
        assert job is not None
        return job

    def cancel(self, job_id: int, reason: str = "it was cancelled") -> Job | None:
        """End a running job, wherever its worker is; return it, or None if it is unknown."""
        self.jobs.stop(job_id, JobStatus.CANCELLED, reason)
        worker = self._workers.get(job_id)
        if worker is not None:
            worker.interrupt()
        return self.jobs.get(job_id)

    def wait(self, job_id: int) -> Job:
        """Wait for the end of a job that this engine started."""
        self._workers[job_id].join()
        job = self.jobs.get(job_id)
        assert job is not None
        return job

    def settle(self, job_id: int, seconds: float) -> None:
        """Wait no longer than this for a job of this engine to end."""
        worker = self._workers.get(job_id)
        if worker is not None:
            worker.join(seconds)

    def close(self) -> None:
        """Cancel what still runs and wait for it."""
        for job_id, worker in self._workers.items():
            if worker.is_alive():
                self.cancel(job_id, "the engine was closed")
            worker.join()


class _Worker(threading.Thread):
    """One sync, from the first request to the commit."""

    def __init__(
        self,
        engine: Engine,
        connection: ConnectionFile,
        configuration: Mapping[str, Any],
        session: psycopg.Connection,
        job_id: int,
    ) -> None:
        super().__init__(name=f"sync-{connection.name}-{job_id}", daemon=True)
        self._engine = engine
        self._connection = connection
        self._configuration = configuration
        self._session = session
        self._job_id = job_id
        self._source: Connector | None = None
        self._over = threading.Event()
        self._interrupted = threading.Event()

    def run(self) -> None:
        """Sync, and enter the outcome into the books whatever it is."""
        try:
            with self._session:
                self._log(str(self._sync()))
        except JobOverError as over:
            self._log(str(over))  # whoever ended the job has written why
        except Exception as error:
            reason = _masked(_reason(error), self._secrets())
            kind = getattr(error, "failure_type", "system_error")
            self._log(self._fail(reason, kind))
        finally:
            self._over.set()

    def _fail(self, reason: str, kind: str) -> str:
        """Enter the failure into the books; return what the log is told.

        A server that restarts is waited for. Without it the row stays as it is, and the next sync
        finds the lock gone.
        """
        for pause in (*_PAUSES_SECONDS, None):
            try:
                if self._engine.jobs.stop(self._job_id, JobStatus.FAILED, reason, kind):
                    break
                return "it was ended from outside; quality.sync_jobs tells why"
            except (PipelineError, psycopg.Error):
                if pause is not None:
                    time.sleep(pause)
        return f"failed: {reason}"

    def interrupt(self) -> None:
        """Kill the source; the job's row tells why."""
        self._interrupted.set()
        if self._source is not None:
            self._source.kill()

    def _log(self, line: str) -> None:
        path = self._engine.log_path(self._job_id)
        if path is not None:
            with suppress(OSError), path.open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    def _sync(self) -> Outcome:
        loader = Loader(
            self._session,
            self._landings(),
            job_id=self._job_id,
            generation=self._engine.generation,
            suppression=self._engine.suppression,
        )
        states: dict[str, StreamState] = {}
        with connector.reading(self._input()) as source:
            self._source = source
            if self._interrupted.is_set():
                source.kill()
            threading.Thread(target=self._beat, args=(loader, source), daemon=True).start()
            for message in source:
                if isinstance(message, RenderedPage):
                    loader.add_rendered(message)
                elif isinstance(message, Record):
                    loader.add(message)
                else:
                    states[message.stream] = message
            return loader.commit(
                self._connection.name,
                states,
                bytes_read=source.bytes_read,
                guard=self._engine.guard,
                reader=source.read_by,
            )

    def _beat(self, loader: Loader, source: Connector) -> None:
        while not self._over.wait(self._engine.heartbeat_seconds):
            try:
                alive = self._engine.jobs.heartbeat(
                    self._job_id, rows_read=loader.rows_read, bytes_read=source.bytes_read
                )
            except (PipelineError, psycopg.Error):
                continue  # the commit will tell whether the database is really gone
            if not alive:
                source.kill()
                return

    def _landings(self) -> dict[str, Landing]:
        folder, connection = self._engine.folder, self._connection
        return {
            stream.name: Landing.of(
                connection.namespace, stream, folder.schema(connection, stream.name)
            )
            for stream in connection.streams
        }

    def _input(self) -> SourceInput:
        folder = self._engine.folder
        return SourceInput(
            manifest=folder.manifest_path(self._connection),
            configuration=self._configuration,
            catalog=configured_catalog(folder, self._connection),
            states=stored_states(self._session, self._connection.name),
            # Records that may have to be kept out are looked at here, one by one.
            rendering={} if self._engine.suppression is not None else self._rendering(),
            page_loop=self._engine.page_loop,
            log=self._engine.log_path(self._job_id),
        )

    def _rendering(self) -> dict[str, dict[str, Any]]:
        folder, connection = self._engine.folder, self._connection
        return {
            stream.name: {
                "schema": folder.schema(connection, stream.name),
                "key": stream.key,
                "cursor": stream.cursor_field,
            }
            for stream in connection.streams
        }

    def _secrets(self) -> list[str]:
        manifest = yaml.safe_load(
            self._engine.folder.manifest_path(self._connection).read_text(encoding="utf-8")
        )
        properties = manifest["spec"]["connection_specification"]["properties"]
        return [
            str(self._configuration[name])
            for name, declared in properties.items()
            if declared.get("airbyte_secret") and self._configuration.get(name)
        ]


def log_path(logs: Path, job_id: int) -> Path:
    """Return where a job logs."""
    return logs / f"sync-{job_id}.log"


def _sweep_logs(logs: Path) -> None:
    """Make the folder, for its owner alone; drop the oldest logs."""
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    by_age = sorted(logs.glob("sync-*.log"), key=lambda path: path.stat().st_mtime)
    for path in by_age[: -LOGS_KEPT + 1]:
        path.unlink(missing_ok=True)


def configured_catalog(folder: AirbyteFolder, connection: ConnectionFile) -> dict[str, Any]:
    """Return the catalog of a connection as Airbyte's protocol wants it."""
    streams = []
    for stream in connection.streams:
        incremental = stream.sync_mode is SyncMode.INCREMENTAL_DEDUPED
        streams.append(
            {
                "stream": {
                    "name": stream.name,
                    "json_schema": folder.schema(connection, stream.name),
                    "supported_sync_modes": ["full_refresh", "incremental"],
                    "source_defined_cursor": True,
                    "default_cursor_field": stream.cursor_field,
                    "source_defined_primary_key": stream.primary_key,
                },
                "sync_mode": "incremental" if incremental else "full_refresh",
                "destination_sync_mode": "append_dedup" if incremental else "overwrite",
                "cursor_field": stream.cursor_field,
                "primary_key": stream.primary_key,
            }
        )
    return {"streams": streams}


def _reason(error: Exception) -> str:
    """Return what an error says; of a lost server also where its cause is told."""
    said = str(error).strip() or type(error).__name__
    is_lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    return f"{said}; look into PostgreSQL's log (a full disk ends it so)" if is_lost else said


def _masked(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return text
