"""Sync jobs: the job that the API answers from, its row in `quality.sync_jobs`, and its lock.

One sync at a time per connection: its session holds an advisory lock, which PostgreSQL frees when
the session ends, however the process ended. A row that is still `running` when the lock is free is
of a sync that was killed; the next sync marks it as failed. Process ids are not used: across
containers they mean nothing.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import psycopg
from psycopg.types.json import Jsonb

from retail_pipeline.airbyte_engine.destination import Outcome
from retail_pipeline.errors import PipelineError

_LOCK_SPACE = 0x41_49_52  # first key of the advisory locks: this engine's own
_LOCK_TIMEOUT = "1s"
"""The server needs a moment to end the session of a process that was killed."""


class JobStatus(StrEnum):
    """The states of a job, named as dagster-airbyte knows them."""

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
        job_id: Its number, unique in the database.
        connection_id: The Airbyte connection.
        connection_name: Its name.
        status: Its state.
        started_at: When it started.
        finished_at: When it ended; None while it runs.
        reason: Why it failed or was cancelled.
        failure_type: Airbyte's; `config_error` where a retry cannot help.
        counts: Its records.
        bytes_read: The size of the messages that were read.
        reader: The page loop, or the stock command and the reason for it.
        undeclared: Fields, by stream, that records had and the schema does not have (from a sample
            of each page).
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
        """How long the job took, or has taken so far."""
        return (self.finished_at or datetime.now(UTC)) - self.started_at


def enter(connection: psycopg.Connection, connection_id: str, connection_name: str) -> Job:
    """Insert the row of a running job and return the job.

    Args:
        connection: The sync's session, in autocommit.
        connection_id: The Airbyte connection.
        connection_name: Its name.
    """
    row = connection.execute(
        "insert into quality.sync_jobs (connection_id, connection_name, status) "
        "values (%s, %s, 'running') returning job_id",
        [connection_id, connection_name],
    ).fetchone()
    assert row is not None
    return Job(int(row[0]), connection_id, connection_name)


def lock(connection: psycopg.Connection, job: Job) -> None:
    """Lock a job's connection for this session, and mark jobs as failed that were killed.

    Args:
        connection: The sync's session, in autocommit; it holds the lock until it closes.
        job: The sync's own job.

    Raises:
        AlreadyRunningError: Another session holds the lock.
    """
    for name, value in (("idle", 15), ("interval", 5), ("count", 3)):
        # The lock of a machine that vanished is freed within half a minute.
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
    """Write an ended job into its row; one that has committed stays a success.

    A sync that loses the server's answer to its commit fails, although its rows have landed.
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
