"""Syncs of the embedded engine: one thread per sync, with a reader process.

`source` runs the source and `destination` writes the records. This module connects them and ends
every job with a status and, if it failed, a reason.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psycopg

from retail_pipeline.airbyte_engine import jobs, source
from retail_pipeline.airbyte_engine.destination import Loader, stored_states
from retail_pipeline.airbyte_engine.fast_reader import ReadRequest
from retail_pipeline.airbyte_engine.files import AirbyteFolder, ConnectionFile, resolved
from retail_pipeline.airbyte_engine.jobs import Job, JobStatus
from retail_pipeline.airbyte_engine.layout import landings
from retail_pipeline.airbyte_engine.messages import Record, RenderedPage, StreamState
from retail_pipeline.airbyte_engine.source import Reading
from retail_pipeline.airbyte_engine.suppression import Suppression
from retail_pipeline.errors import PipelineError
from retail_pipeline.files import private_folder, usable_file
from retail_pipeline.postgres import Database

LOGS_KEPT = 200
_MASK = "**********"


class Engine:
    """The engine that syncs the connections of one folder into one database.

    Args:
        folder: The connection files.
        database: The migrated database for the records and `quality.sync_jobs`.
        values: The values of the `${REFERENCE}`s in the source files; None leaves a property out.
        generation: The `_airbyte_generation_id` of the rows.
        guard: A callback in each merging transaction; it raises if rows must not be committed.
        suppression: The records that must not land.
        page_loop: Whether to use the page loop for manifests that it supports.
        logs: The folder for logs, one file per job, of which the latest `LOGS_KEPT` stay; None
            writes no logs.
    """

    def __init__(
        self,
        folder: AirbyteFolder,
        database: Database,
        values: Mapping[str, str | None],
        *,
        generation: int = 0,
        guard: Callable[[psycopg.Connection], None] | None = None,
        suppression: Suppression | None = None,
        page_loop: bool = True,
        logs: Path | None = None,
    ) -> None:
        self.folder = folder
        self.database = database
        self.values = values
        self.generation = generation
        self.guard = guard
        self.suppression = suppression
        self.page_loop = page_loop
        self.logs = logs
        self._syncs: dict[int, _Sync] = {}
        source.READERS.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def jobs(self) -> list[Job]:
        """The jobs that this engine has started, newest first."""
        return [sync.job for _, sync in sorted(self._syncs.items(), reverse=True)]

    def job(self, job_id: int) -> Job:
        """Return a job that this engine has started.

        Raises:
            PipelineError: This engine has started no job with that number.
        """
        return self._sync(job_id).job

    def start(self, connection_id: str) -> Job:
        """Start a sync and return its job at once.

        If another process is syncing the connection, the job fails with that reason.

        Raises:
            PipelineError: The connection is unknown, a reference of its source has no value, or the
                database does not answer.
        """
        connection = self.folder.connection_by_id(connection_id)
        source_file = self.folder.sources[connection.source]
        configuration = resolved(source_file.configuration, self.values, source_file.name)
        source.sweep()
        session = self.database.connect(autocommit=True)
        try:
            job = jobs.enter(session, connection_id, connection.name)
            if self.logs is not None:
                _sweep_logs(self.logs, job.job_id)
        except BaseException:
            session.close()
            raise
        sync = _Sync(self, connection, configuration, session, job)
        self._syncs[job.job_id] = sync
        sync.start()
        return job

    def cancel(self, job_id: int) -> Job:
        """Cancel a running job unless it is already committing; return the job."""
        self._sync(job_id).cancel("it was cancelled")
        return self.job(job_id)

    def wait(self, job_id: int, seconds: float | None = None) -> Job:
        """Wait until a job ends or `seconds` have passed; return the job."""
        self._sync(job_id).join(seconds)
        return self.job(job_id)

    def close(self) -> None:
        """Cancel the running jobs and wait until they have ended."""
        for sync in self._syncs.values():
            sync.cancel("the engine was closed")
            sync.join()

    def _sync(self, job_id: int) -> "_Sync":
        if job_id not in self._syncs:
            raise PipelineError(f"there is no job {job_id}")
        return self._syncs[job_id]


class _Sync(threading.Thread):
    """The thread of one sync, from the read request to the commit."""

    def __init__(
        self,
        engine: Engine,
        connection: ConnectionFile,
        configuration: Mapping[str, Any],
        session: psycopg.Connection,
        job: Job,
    ) -> None:
        super().__init__(name=f"sync-{connection.name}-{job.job_id}", daemon=True)
        self.job = job
        self._engine = engine
        self._connection = connection
        self._configuration = configuration
        self._session = session
        self._reading: Reading | None = None
        self._lock = threading.Lock()
        self._commits = False

    def run(self) -> None:
        """Run the sync; on any error the job still ends with a status and a reason."""
        try:
            with self._session:
                jobs.lock(self._session, self.job)
                self.job = self._sync()
            self._log(str(self.job.counts))
        except Exception as error:
            self._fail(error)

    def cancel(self, reason: str) -> None:
        """Mark the job as cancelled and kill its source, unless it is already committing."""
        with self._lock:
            if self._commits or self.job.status is not JobStatus.RUNNING:
                return
            self.job = replace(self.job, status=JobStatus.CANCELLED, reason=reason)
        if self._reading is not None:
            self._reading.kill()

    def _sync(self) -> Job:
        states: dict[str, StreamState] = {}
        loader = Loader(
            self._session,
            landings(self._engine.folder, self._connection),
            job_id=self.job.job_id,
            generation=self._engine.generation,
            suppression=self._engine.suppression,
        )
        with source.reading(self._request()) as reading:
            self._reading = reading
            if self.job.status is JobStatus.CANCELLED:  # cancelled before the source started
                reading.kill()
            for message in reading:
                if isinstance(message, RenderedPage):
                    loader.add_page(message)
                elif isinstance(message, Record):
                    loader.add(message)
                else:
                    states[message.stream] = message
            with self._session.transaction():
                if self._engine.guard is not None:
                    self._engine.guard(self._session)
                success = replace(
                    self.job,
                    status=JobStatus.SUCCEEDED,
                    counts=loader.merge(self._connection.name, states),
                    finished_at=datetime.now(UTC),
                    undeclared=loader.undeclared,
                    bytes_read=reading.bytes_read,
                    reader=reading.read_by,
                )
                self._begin_to_commit()
                jobs.save(self._session, success)
            return success

    def _begin_to_commit(self) -> None:
        """Refuse cancellations from now on; raise if the job was already cancelled."""
        with self._lock:
            if self.job.status is JobStatus.CANCELLED:
                raise PipelineError("the sync was cancelled before it committed")
            self._commits = True

    def _fail(self, error: Exception) -> None:
        with self._lock:
            if self.job.status is JobStatus.RUNNING:
                self.job = replace(
                    self.job,
                    status=JobStatus.FAILED,
                    reason=self._masked(_reason(error)),
                    failure_type=getattr(error, "failure_type", "system_error"),
                )
            self.job = replace(self.job, finished_at=datetime.now(UTC))
        self._log(f"{self.job.status}: {self.job.reason}")
        # If the database is down, the row stays `running`; the connection's next sync fails it.
        with suppress(PipelineError, psycopg.Error), self._engine.database.connect() as session:
            jobs.save(session, self.job)

    def _log(self, line: str) -> None:
        if self._engine.logs is not None:
            path = log_path(self._engine.logs, self.job.job_id)
            with suppress(OSError), path.open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    def _request(self) -> ReadRequest:
        folder, logs = self._engine.folder, self._engine.logs
        rendering = {
            stream.name: {
                "schema": folder.schema(self._connection, stream.name),
                "key": stream.key,
                "cursor": stream.cursor_field,
            }
            for stream in self._connection.streams
        }
        return ReadRequest(
            manifest=str(folder.manifest_path(self._connection)),
            config=self._configuration,
            catalog=configured_catalog(folder, self._connection),
            state=self._states(),
            # With a suppression list, the loader checks each record, so none are rendered here.
            streams={} if self._engine.suppression is not None else rendering,
            page_loop=self._engine.page_loop,
            log="" if logs is None else str(log_path(logs, self.job.job_id)),
        )

    def _states(self) -> list[dict[str, Any]]:
        """Return the stored states; a stream whose state is damaged is read in full."""
        cursors = {each.name: each.cursor_field for each in self._connection.streams}
        sound = []
        for message in stored_states(self._session, self._connection.name):
            name = message["stream"]["stream_descriptor"]["name"]
            state = message["stream"]["stream_state"]
            if isinstance(state, dict) and all(
                isinstance(state.get(field, ""), str) for field in cursors.get(name) or ()
            ):
                sound.append(message)
            else:
                self._log(f"the stored state of {name} is damaged: the stream is read in full")
        return sound

    def _masked(self, text: str) -> str:
        """Return a text with the values of the source's secret properties masked."""
        folder = self._engine.folder
        for name in folder.secrets(folder.sources[self._connection.source]):
            if self._configuration.get(name):
                text = text.replace(str(self._configuration[name]), _MASK)
        return text


def log_path(logs: Path, job_id: int) -> Path:
    """Return the log file of a job."""
    return logs / f"sync-{job_id}.log"


def configured_catalog(folder: AirbyteFolder, connection: ConnectionFile) -> dict[str, Any]:
    """Return the configured catalog of a connection, as Airbyte's protocol defines it."""
    streams = []
    for stream in connection.streams:
        overwrites = stream.sync_mode.overwrites
        declared = {
            "name": stream.name,
            "json_schema": folder.schema(connection, stream.name),
            "supported_sync_modes": ["full_refresh", "incremental"],
            "source_defined_cursor": True,
            "default_cursor_field": stream.cursor_field,
            "source_defined_primary_key": stream.primary_key,
        }
        streams.append(
            {
                "stream": declared,
                "sync_mode": "full_refresh" if overwrites else "incremental",
                "destination_sync_mode": "overwrite" if overwrites else "append_dedup",
                "cursor_field": stream.cursor_field,
                "primary_key": stream.primary_key,
            }
        )
    return {"streams": streams}


def _sweep_logs(logs: Path, job_id: int) -> None:
    """Create the log folder, readable by its owner only, and delete the oldest logs.

    A log with this job's number is deleted too: it belongs to an earlier database.
    """
    private_folder(logs)
    by_age = sorted(logs.glob("sync-*.log"), key=lambda path: path.lstat().st_mtime)
    for path in (*by_age[: -LOGS_KEPT + 1], log_path(logs, job_id)):
        usable_file(path).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Return an error's message; for a lost connection, with a hint to PostgreSQL's log."""
    message = str(error).strip() or type(error).__name__
    is_lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    return f"{message}; look into PostgreSQL's log (a full disk ends it so)" if is_lost else message
