"""The books: one row per sync job in `quality.sync_jobs`, one lock per connection.

A job's worker holds a session-level advisory lock on its connection for as long as it lives; the
lock goes when the worker's database session does, however the worker ended. So a row that says
`running` without a held lock belongs to a dead worker. Process ids are not used: across containers
they mean nothing. A worker that hangs keeps its lock, but not its lease: once it has not signed its
row for `LEASE_SECONDS`, the next sync ends its session and goes on. Reading and writing records is
not done here.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

_LOCK_SPACE = 0x41_49_52  # first key of the advisory locks: this engine's own
_LOCK_ATTEMPTS = 4
_LOCK_WAIT_SECONDS = 0.1

LEASE_SECONDS = 60.0
"""How long a running job may go without a sign of life; workers sign about every second."""


class JobStatus(StrEnum):
    """The states of a job, named as dagster-airbyte knows them."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AlreadyRunningError(PipelineError):
    """Another sync of the connection is at work."""


class JobOverError(PipelineError):
    """The job is no longer running: it was cancelled or given up for dead."""


@dataclass(frozen=True)
class Job:
    """A row of `quality.sync_jobs`; counts are of records.

    `failure_type` is Airbyte's: `config_error` where trying again cannot help. `reader` tells of a
    finished job who read: the page loop, or the stock command and why; `undeclared`, by stream,
    which fields the records had that the schema has not (from a sample of each page).
    """

    job_id: int
    connection_id: str
    connection_name: str
    status: str
    reason: str | None
    failure_type: str | None
    started_at: datetime
    heartbeat_at: datetime
    finished_at: datetime | None
    rows_read: int
    rows_inserted: int
    rows_updated: int
    rows_rejected: int
    bytes_read: int
    rows_suppressed: int
    reader: str | None = None
    undeclared: dict[str, list[str]] | None = None

    @property
    def duration(self) -> timedelta:
        """How long the job took, or has taken so far."""
        return (self.finished_at or self.heartbeat_at) - self.started_at


class JobStore:
    """Job rows of one database."""

    def __init__(self, database: Database, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    def start(
        self, connection: psycopg.Connection, *, connection_id: str, connection_name: str
    ) -> int:
        """Lock the Airbyte connection for this session and enter a running job.

        Args:
            connection: The worker's session, in autocommit; it holds the lock until it closes.
            connection_id: The Airbyte connection.
            connection_name: Its name.

        Raises:
            AlreadyRunningError: Another session holds the lock, and signs its row.
        """
        _hold_on_to_network(connection)
        if not _lock(connection, connection_id) and not self._take_over(connection, connection_id):
            raise AlreadyRunningError(f"a sync of connection {connection_name} is already running")
        _bury_dead(connection, connection_id)
        row = connection.execute(
            "insert into quality.sync_jobs (connection_id, connection_name, status) "
            "values (%s, %s, 'running') returning job_id",
            [connection_id, connection_name],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _take_over(self, session: psycopg.Connection, connection_id: str) -> bool:
        """End a job whose lease has run out, and the session that holds its lock."""
        expired = session.execute(
            "update quality.sync_jobs set status = 'failed', finished_at = now(), "
            "reason = 'the worker of this sync gave no sign of life and was given up' "
            "where connection_id = %s and status = 'running' "
            "and heartbeat_at < now() - make_interval(secs => %s)",
            [connection_id, self._lease_seconds],
        ).rowcount
        if not expired:
            return False
        role = session.execute("select current_role").fetchone()
        assert role is not None
        # Sessions belong to the login, whatever role they have taken.
        session.execute("set role none")
        session.execute(
            "select pg_terminate_backend(pid, 1000) from pg_locks where locktype = 'advisory' "
            "and classid = %s and objid = hashtext(%s)::oid and objsubid = 2 and granted "
            "and database = (select oid from pg_database where datname = current_database())",
            [_LOCK_SPACE, connection_id],
        )
        session.execute(sql.SQL("set role {}").format(sql.Identifier(role[0])))
        return _lock(session, connection_id)

    def heartbeat(self, job_id: int, *, rows_read: int, bytes_read: int) -> bool:
        """Sign the job as alive; return False where it is not running any more."""
        touched = self._database.execute(
            "update quality.sync_jobs set heartbeat_at = now(), rows_read = %s, bytes_read = %s "
            "where job_id = %s and status = 'running'",
            [rows_read, bytes_read, job_id],
        )
        return touched == 1

    def stop(
        self, job_id: int, status: JobStatus, reason: str, failure_type: str | None = None
    ) -> bool:
        """End a running job without success; return False where it was over already."""
        touched = self._database.execute(
            "update quality.sync_jobs set status = %s, reason = %s, failure_type = %s, "
            "heartbeat_at = now(), finished_at = now() where job_id = %s and status = 'running'",
            [status.value, reason, failure_type, job_id],
        )
        return touched == 1

    def get(self, job_id: int) -> Job | None:
        """Return a job, or None where there is none of this id."""
        jobs = self._select("job_id = %(job_id)s", {"job_id": job_id}, 1, 0)
        return jobs[0] if jobs else None

    def of_connection(
        self,
        connection_id: str | None,
        *,
        created_after: datetime | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> list[Job]:
        """Return the jobs of a connection (or of all), newest first; dead ones are ended first."""
        with self._database.connect(autocommit=True) as session:
            for name in _running(session, connection_id):
                if _try_lock(session, name):
                    _bury_dead(session, name)
                    _unlock(session, name)
        condition = (
            "(%(connection)s::text is null or connection_id = %(connection)s) "
            "and (%(after)s::timestamptz is null or started_at >= %(after)s)"
        )
        return self._select(
            condition, {"connection": connection_id, "after": created_after}, limit, offset
        )

    def _select(self, where: str, params: dict[str, Any], limit: int, offset: int) -> list[Job]:
        with (
            self._database.connect() as session,
            session.cursor(row_factory=class_row(Job)) as rows,
        ):
            rows.execute(
                f"select * from quality.sync_jobs where {where} "
                "order by job_id desc limit %(limit)s offset %(offset)s",
                {**params, "limit": limit, "offset": offset},
            )
            return rows.fetchall()


def finish(
    connection: psycopg.Connection,
    job_id: int,
    *,
    rows_read: int,
    bytes_read: int,
    rows_inserted: int,
    rows_updated: int,
    rows_rejected: int,
    rows_suppressed: int = 0,
    reader: str | None = None,
    undeclared: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Mark a job as succeeded, inside the transaction that also bears its rows and its state.

    Raises:
        JobOverError: The job was ended by someone else; the caller's transaction must not commit.
    """
    touched = connection.execute(
        "update quality.sync_jobs set status = 'succeeded', heartbeat_at = clock_timestamp(), "
        "finished_at = clock_timestamp(), rows_read = %s, bytes_read = %s, rows_inserted = %s, "
        "rows_updated = %s, rows_rejected = %s, rows_suppressed = %s, reader = %s, undeclared = %s "
        "where job_id = %s and status = 'running'",
        [
            *(rows_read, bytes_read, rows_inserted, rows_updated, rows_rejected),
            *(rows_suppressed, reader, Jsonb(undeclared or {}), job_id),
        ],
    ).rowcount
    if touched != 1:
        raise JobOverError(f"job {job_id} was ended before it could commit")


def _bury_dead(session: psycopg.Connection, connection_id: str) -> None:
    session.execute(
        "update quality.sync_jobs set status = 'failed', finished_at = heartbeat_at, "
        "reason = 'the worker of this sync died; nothing of it was committed' "
        "where connection_id = %s and status = 'running'",
        [connection_id],
    )


def _running(session: psycopg.Connection, connection_id: str | None) -> list[str]:
    rows = session.execute(
        "select distinct connection_id from quality.sync_jobs where status = 'running' "
        "and (%(id)s::text is null or connection_id = %(id)s)",
        {"id": connection_id},
    ).fetchall()
    return [row[0] for row in rows]


def _hold_on_to_network(session: psycopg.Connection) -> None:
    """Let the server notice within half a minute that the machine of a worker has vanished."""
    for name, value in (("idle", 15), ("interval", 5), ("count", 3)):
        session.execute(f"set tcp_keepalives_{name} = {value}")


def _lock(session: psycopg.Connection, connection_id: str) -> bool:
    """Try for a moment: a look at the books, or the end of a dead worker's session, is short."""
    for _ in range(_LOCK_ATTEMPTS):
        if _try_lock(session, connection_id):
            return True
        time.sleep(_LOCK_WAIT_SECONDS)
    return False


def _try_lock(session: psycopg.Connection, connection_id: str) -> bool:
    row = session.execute(
        "select pg_try_advisory_lock(%s, hashtext(%s))", [_LOCK_SPACE, connection_id]
    ).fetchone()
    return bool(row and row[0])


def _unlock(session: psycopg.Connection, connection_id: str) -> None:
    session.execute("select pg_advisory_unlock(%s, hashtext(%s))", [_LOCK_SPACE, connection_id])
