"""Sync jobs: their state in memory, their rows in `quality.sync_jobs`, and their locks.

A connection has one sync at a time. The session of the sync holds an advisory lock, which
PostgreSQL releases when the session ends, even if the process was killed. If the lock is free and a
row is still `running`, its sync was killed; the next sync marks that row as failed. Process ids are
not used, because they mean nothing across containers.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import psycopg
from psycopg.types.json import Jsonb

from retail_pipeline.airbyte_engine.destination import Outcome
from retail_pipeline.errors import PipelineError

_LOCK_SPACE = 0x41_49_52  # the first key of this engine's advisory locks
_LOCK_TIMEOUT = "1s"
"""The time that the server may need to end the session of a killed process."""


class JobStatus(StrEnum):
    """The states of a job, with the names that dagster-airbyte uses."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AlreadyRunningError(PipelineError):
    """Another sync of the connection is running."""

    failure_type = "transient_error"


@dataclass(frozen=True)
class Job:
    """A sync of a connection.

    Attributes:
        job_id: The job's number, unique in the database.
        connection_id: The id of the Airbyte connection.
        connection_name: The name of the connection.
        status: The job's state.
        started_at: The start of the sync.
        finished_at: The end of the sync; None while it runs.
        reason: The reason of a failure or a cancellation.
        failure_type: Airbyte's type of failure; `config_error` if a retry cannot help.
        counts: The numbers of records read, inserted, updated, rejected and suppressed.
        bytes_read: The size of the messages that were read.
        reader: The page loop, or the stock command and the reason for using it.
        undeclared: Fields by stream that records have and the schema does not declare, found in the
            first and last record of each page.
    """

    job_id: int
    connection_id: str
    connection_name: str
    status: JobStatus = JobStatus.RUNNING
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    reason: str | None = None
    failure_type: str | None = None
    counts: Outcome = field(default_factory=Outcome)
    bytes_read: int = 0
    reader: str | None = None
    undeclared: dict[str, list[str]] = field(default_factory=dict)

    @property
    def duration(self) -> timedelta:
        """The job's duration; of a running job, the time since its start."""
        return (self.finished_at or datetime.now(UTC)) - self.started_at


def enter(connection: psycopg.Connection, connection_id: str, connection_name: str) -> Job:
    """Insert the row of a running job and return the job.

    Args:
        connection: The sync's session, in autocommit.
        connection_id: The id of the Airbyte connection.
        connection_name: The name of the connection.
    """
    row = connection.execute(
        "insert into quality.sync_jobs (connection_id, connection_name, status) "
        "values (%s, %s, 'running') returning job_id",
        [connection_id, connection_name],
    ).fetchone()
    assert row is not None
    return Job(int(row[0]), connection_id, connection_name)


def lock(connection: psycopg.Connection, job: Job) -> None:
    """Lock a job's connection for this session; mark earlier jobs that were killed as failed.

    Args:
        connection: The sync's session, in autocommit; it holds the lock until it closes.
        job: The job of this sync.

    Raises:
        AlreadyRunningError: Another session holds the lock.
    """
    for name, value in (("idle", 15), ("interval", 5), ("count", 3)):
        # If the client machine disappears, its lock is released within half a minute.
        connection.execute(f"set tcp_keepalives_{name} = {value}")
    connection.execute(f"set lock_timeout = '{_LOCK_TIMEOUT}'")
    try:
        connection.execute(
            "select pg_advisory_lock(%s, hashtext(%s))", [_LOCK_SPACE, job.connection_id]
        )
    except psycopg.errors.LockNotAvailable:
        raise AlreadyRunningError(
            f"a sync of connection {job.connection_name} is already running: wait for its end, or "
            "terminate its run"
        ) from None
    connection.execute("reset lock_timeout")
    connection.execute(
        "update quality.sync_jobs set status = 'failed', finished_at = now(), "
        "reason = 'the process of this sync was killed; nothing of it was committed' "
        "where connection_id = %s and status = 'running' and job_id < %s",
        [job.connection_id, job.job_id],
    )


def save(connection: psycopg.Connection, job: Job) -> None:
    """Write an ended job into its row, unless the row already says that the job succeeded.

    If the connection breaks during the commit, the sync fails here although its rows have landed.
    The row was committed with them and stays `succeeded`.
    """
    connection.execute(
        "update quality.sync_jobs set status = %s, reason = %s, failure_type = %s, "
        "finished_at = %s, rows_read = %s, rows_inserted = %s, rows_updated = %s, "
        "rows_rejected = %s, rows_suppressed = %s, bytes_read = %s, reader = %s, undeclared = %s "
        "where job_id = %s and status <> 'succeeded'",
        [
            *(job.status.value, job.reason, job.failure_type, job.finished_at),
            *(job.counts.rows_read, job.counts.rows_inserted, job.counts.rows_updated),
            *(job.counts.rows_rejected, job.counts.rows_suppressed, job.bytes_read),
            *(job.reader, Jsonb(job.undeclared), job.job_id),
        ],
    )
