"""The state of the layers: the source, the as-of date and the generation that all of them share.

A run with another source, or with an as-of date before the stored one, empties every layer and
starts a new generation. A later date continues with the stored layers. Data of two sources is never
mixed: a run whose state another run has changed fails at its next step.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date

import psycopg
from psycopg import sql

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, Role

_LAYERS = ("transactional", "staging", "intermediate", "warehouse", "clv")
_REJECTED = ("rejected_records", "suppressed_records", "file_losses", "sync_states")
"""Tables of the schema `quality` that belong to the source and are emptied with the layers."""

_LOCK_TIMEOUT = "30s"
_RUNS_KEPT = "90 days"


@dataclass(frozen=True)
class PipelineState:
    """The source and as-of date (00:00 UTC) of the layers, and the number of their rebuilds."""

    source_id: str
    as_of: date
    generation: int

    def __str__(self) -> str:
        """The state in words, for messages."""
        return f"{self.source_id} as of {self.as_of}, generation {self.generation}"

    @property
    def data_version(self) -> str:
        """The identity of the data as text: source, as-of date and generation."""
        return f"{self.source_id}@{self.as_of}#{self.generation}"


@dataclass(frozen=True)
class Transition:
    """The state that a run enters; `message` is the reason if the layers were rebuilt."""

    state: PipelineState
    rebuilt: bool
    message: str | None


def read_state(database: Database) -> PipelineState:
    """Return the stored state.

    Raises:
        PipelineError: Nothing was ingested yet.
    """
    with database.connect() as connection:
        row = None
        if connection.execute("select to_regclass('quality.source_state')").fetchone() != (None,):
            row = _stored(connection)
    if row is None:
        raise PipelineError(
            "nothing was ingested yet: run `retail-pipeline run`, or materialize the transactional "
            "assets first"
        )
    return row


def landed_state(database: Database, run_id: str | None = None) -> PipelineState:
    """Return the stored state, which all landing tables must have reached.

    Args:
        database: The warehouse.
        run_id: The run that goes on with this state; None if it has no syncs.

    Raises:
        PipelineError: Nothing was ingested yet, a stream lags behind the others, or another run
            has changed the state since this one began.
    """
    state = read_state(database)
    with database.connect() as connection:
        _refuse_overtaken(_own_state(connection, run_id), state)
        behind = connection.execute(
            "select stream from quality.landed_streams "
            "where (as_of, generation) is distinct from (%s::date, %s::bigint) order by 1",
            [state.as_of, state.generation],
        ).fetchall()
    if behind:
        names = ", ".join(f"transactional/{name}" for (name,) in behind)
        raise PipelineError(
            f"the landing tables are not all as of {state.as_of}: materialize {names} as well"
        )
    return state


def note_landed(database: Database, *, stream: str, state: PipelineState, run_id: str) -> None:
    """Record that a stream's landing table has reached a state.

    Args:
        database: The warehouse.
        stream: One of the streams passed to `begin`.
        state: The state when the sync began.
        run_id: The run that synced the stream.
    """
    database.execute(
        "update quality.landed_streams set as_of = %s, generation = %s, run_id = %s, "
        "landed_at = now() where stream = %s",
        [state.as_of, state.generation, run_id, stream],
    )


def landed_as_of(database: Database, run_id: str) -> date | None:
    """Return the as-of date with which a run has begun; None if it has not.

    With it, a run that passes midnight or continues another run keeps its as-of date.

    Args:
        database: The warehouse.
        run_id: The run id passed to `begin`.
    """
    with database.connect() as connection:
        own = _own_state(connection, run_id)
    return own.as_of if own else None


def begin(
    database: Database,
    *,
    source_id: str,
    as_of: date,
    run_id: str,
    full_refresh: bool = False,
    streams: Sequence[str] = (),
) -> Transition:
    """Set the state for a run in one transaction, emptying the layers if necessary.

    A run may call this repeatedly, as each of its syncs does. The state is the target of the syncs;
    `landed_state` checks that all streams have reached it.

    Args:
        database: The migrated warehouse.
        source_id: The source's id (address, content digest or parameters).
        as_of: The as-of date of this run.
        run_id: The run; a full refresh empties the layers once per run.
        full_refresh: Whether to empty the layers even if source and as-of date are unchanged.
        streams: All streams of the source.

    Raises:
        PipelineError: Another run has changed the state since this one began.
    """
    with database.connect() as connection:
        connection.execute(f"set local lock_timeout = '{_LOCK_TIMEOUT}'")
        connection.execute("lock table quality.source_state in exclusive mode")
        stored, own = _stored(connection), _own_state(connection, run_id)
        _refuse_overtaken(own, stored)
        reason = _reason_to_rebuild(stored, source_id, as_of)
        if reason is None and stored and full_refresh and own is None:
            reason = "a full refresh was requested"
        if reason is not None:
            _empty_layers(database, connection)
        _list_streams(connection, streams)
        past = stored.generation if stored else 0
        state = PipelineState(source_id, as_of, past if stored and not reason else past + 1)
        _enter(connection, state, run_id)
        message = reason and f"{reason}: every layer is rebuilt"
        return Transition(state, reason is not None, message)


def _list_streams(connection: psycopg.Connection, streams: Sequence[str]) -> None:
    """Make `quality.landed_streams` hold a row for each stream of the source."""
    connection.execute(
        "insert into quality.landed_streams (stream) select unnest(%s::text[]) "
        "on conflict do nothing",
        [list(streams)],
    )
    if streams:  # a stream that the files no longer have would block all later stages
        connection.execute(
            "delete from quality.landed_streams where stream <> all(%s)", [list(streams)]
        )


def _reason_to_rebuild(stored: PipelineState | None, source_id: str, as_of: date) -> str | None:
    if stored is None:
        return None
    if stored.source_id != source_id:
        return f"the source changed from {stored.source_id} to {source_id}"
    if as_of < stored.as_of:
        return f"the as-of date {as_of} lies before the stored {stored.as_of}"
    return None


def _stored(connection: psycopg.Connection) -> PipelineState | None:
    row = connection.execute(
        "select source_id, as_of, generation from quality.source_state"
    ).fetchone()
    return PipelineState(*row) if row else None


def _own_state(connection: psycopg.Connection, run_id: str | None) -> PipelineState | None:
    """Return the state with which a run has begun, None if it has not."""
    row = connection.execute(
        "select source_id, as_of, generation from quality.run_states where run_id = %s", [run_id]
    ).fetchone()
    return PipelineState(*row) if row else None


def _refuse_overtaken(own: PipelineState | None, stored: PipelineState | None) -> None:
    if own is not None and own != stored:
        raise PipelineError(
            f"another run changed source or as-of date while this one was at work (from {own} to "
            f"{stored}): run again when no other run is at work"
        )


def _enter(connection: psycopg.Connection, state: PipelineState, run_id: str) -> None:
    connection.execute(
        "insert into quality.source_state (source_id, as_of, generation) "
        "values (%s, %s, %s) on conflict (is_only_row) do update set "
        "source_id = excluded.source_id, as_of = excluded.as_of, "
        "generation = excluded.generation, updated_at = now()",
        [state.source_id, state.as_of, state.generation],
    )
    connection.execute(
        "delete from quality.run_states where entered_at < now() - %s::interval", [_RUNS_KEPT]
    )
    connection.execute(
        "insert into quality.run_states (run_id, source_id, as_of, generation) "
        "values (%s, %s, %s, %s) on conflict do nothing",
        [run_id, state.source_id, state.as_of, state.generation],
    )


def _empty_layers(database: Database, connection: psycopg.Connection) -> None:
    """Empty all layers, each role its own tables, as a trigger runs in the session that does it.

    All of them are emptied before the first one commits. The loader commits first: without landed
    rows and states of the connector, the next sync reads everything again, whichever run it is of.

    Args:
        database: The warehouse.
        connection: The owner's transaction, which commits last.
    """
    with ExitStack() as opened:
        for role in (Role.SCIENTIST, Role.TRANSFORMER, Role.LOADER):
            session = opened.enter_context(database.as_role(role).connect())
            _empty_own_tables(session)
        for table in _REJECTED:
            session.execute(sql.SQL("delete from quality.{}").format(sql.Identifier(table)))
        session.execute("update quality.landed_streams set as_of = null, generation = null")
        _empty_own_tables(connection)


def _empty_own_tables(connection: psycopg.Connection) -> None:
    tables = connection.execute(
        "select schemaname, tablename from pg_tables where tableowner = current_user "
        "and schemaname = any(%s)",
        [list(_LAYERS)],
    ).fetchall()
    if tables:
        names = sql.SQL(", ").join(sql.Identifier(*row) for row in tables)
        connection.execute(sql.SQL("truncate {}").format(names))
