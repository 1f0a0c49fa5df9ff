"""The PostgreSQL destination: it collects records in temporary tables and merges them at the end.

Rows, connector state, rejected records and the job's success are committed in one transaction. The
tables' layout is in `layout`, the rules for values that do not fit are in `rendering`. Of a
suppressed record only a digest is stored, in `quality.suppressed_records`, so that records served
equal rows plus rejected plus suppressed records.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from retail_pipeline.airbyte_engine.layout import (
    AIRBYTE_COLUMNS,
    Landing,
    definitions,
    dropped_indexes,
    listed,
    prepare,
)
from retail_pipeline.airbyte_engine.messages import Record, RenderedPage, StreamState
from retail_pipeline.airbyte_engine.rendering import rejected_line
from retail_pipeline.airbyte_engine.suppression import Suppression
from retail_pipeline.airbyte_engine.values import json_text

_PAGE = 1_000
"""Records that are rendered and written together, which is faster than one by one."""
_MANY_ROWS = 20_000


@dataclass(frozen=True)
class Outcome:
    """The numbers of records that a sync read, inserted, updated, rejected and suppressed."""

    rows_read: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_rejected: int = 0
    rows_suppressed: int = 0


class Loader:
    """A loader that collects one sync's records in temporary tables and merges them at the end.

    Args:
        connection: A session in autocommit that nothing else uses.
        landings: The landing tables by stream.
        job_id: The number of the sync's job, stored as `_airbyte_meta.sync_id`.
        generation: The `_airbyte_generation_id` of the rows.
        suppression: The records that must not land; none by default.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        landings: Mapping[str, Landing],
        *,
        job_id: int,
        generation: int,
        suppression: Suppression | None = None,
    ) -> None:
        self._connection = connection
        self._landings = landings
        self._job_id = job_id
        self._generation = generation
        self._incoming = {
            name: _incoming_buffer(connection, f"incoming_{number}", landing)
            for number, (name, landing) in enumerate(landings.items())
        }
        self._rejected = _rejected_buffer(connection)
        self._waiting: dict[str, list[Record]] = {name: [] for name in landings}
        self._suppression = suppression
        self._suppressed: dict[str, dict[str, list[Any]]] = {name: {} for name in landings}
        self._returned: list[tuple[str, str]] = []
        self._undeclared: dict[str, set[str]] = {}
        self.rows_read = 0

    @property
    def undeclared(self) -> dict[str, list[str]]:
        """Fields by stream that records have and the schema does not declare."""
        return {name: sorted(fields) for name, fields in self._undeclared.items()}

    def add(self, record: Record) -> None:
        """Add one record; records are written in batches.

        Raises:
            KeyError: The stream does not belong to this sync.
        """
        landing = self._landings[record.stream]
        self.rows_read += 1
        if self._suppression is not None and self._suppresses(self._suppression, landing, record):
            return
        waiting = self._waiting[record.stream]
        waiting.append(record)
        if len(waiting) == _PAGE:
            self._render(record.stream)

    def add_page(self, page: RenderedPage) -> None:
        """Write records that the reader process has already rendered.

        Raises:
            KeyError: The stream does not belong to this sync.
        """
        self.rows_read += page.records
        self._write(page)

    def merge(self, connection_name: str, states: Mapping[str, StreamState]) -> Outcome:
        """Merge all records and store the states, in the caller's transaction; return the counts.

        Args:
            connection_name: The name of the Airbyte connection.
            states: The states of the streams after all records that were read.
        """
        inserted = updated = 0
        for name, landing in self._landings.items():
            self._render(name)
            added, changed = self._merge(landing, self._incoming[name])
            inserted, updated = inserted + added, updated + changed
        suppressed = self._store_suppressed()
        rejected = _store_rejected(self._connection, self._rejected)
        self._store_states(connection_name, states)
        return Outcome(self.rows_read, inserted, updated, rejected, suppressed)

    def _render(self, stream: str) -> None:
        """Render and write the waiting records of a stream."""
        records, self._waiting[stream] = self._waiting[stream], []
        if records:
            self._write(
                self._landings[stream].renderer.render(
                    [record.data for record in records],
                    first=self.rows_read - len(records) + 1,
                    emitted_at=records[-1].emitted_at,
                )
            )

    def _write(self, page: RenderedPage) -> None:
        self._incoming[page.stream].write(page.rows)
        self._rejected.write(page.rejected)
        if page.undeclared:
            self._undeclared.setdefault(page.stream, set()).update(page.undeclared)

    def _suppresses(self, suppression: Suppression, landing: Landing, record: Record) -> bool:
        suppressed = self._suppressed[record.stream]
        # Records without a valid key are distinguished by their whole content.
        key = landing.settings.key if landing.renderer.accepts_key_of(record.data) else ()
        if suppression.suppresses(record.stream, record.data):
            digest = suppression.record_digest(record.stream, key, record.data)
            suppressed[digest] = [record.data[name] for name in key]
            return True
        if (
            suppressed or suppression.kept_out
        ):  # a suppressed record may now belong to another person
            digest = suppression.record_digest(record.stream, key, record.data)
            if suppressed.pop(digest, None) is not None or digest in suppression.kept_out:
                self._returned.append((record.stream, digest))
        return False

    def _store_suppressed(self) -> int:
        """Store the digests of suppressed records and delete their rows; return their number."""
        with self._connection.cursor() as cursor:
            if self._returned:
                cursor.executemany(
                    "delete from quality.suppressed_records where (stream, record_hash) = (%s, %s)",
                    self._returned,
                )
            for stream, records in self._suppressed.items():
                if records:
                    cursor.executemany(
                        "insert into quality.suppressed_records values (%s, %s) "
                        "on conflict do nothing",
                        [(stream, digest) for digest in records],
                    )
                    _delete_keys(cursor, self._landings[stream], filter(None, records.values()))
        return sum(map(len, self._suppressed.values()))

    def _merge(self, landing: Landing, incoming: "_Buffer") -> tuple[int, int]:
        """Merge a stream's incoming rows; return the numbers of inserted and updated rows."""
        connection = self._connection
        prepare(connection, landing)
        overwrite = landing.settings.sync_mode.overwrites
        if overwrite:
            connection.execute(sql.SQL("delete from {}").format(landing.table))
        if incoming.is_empty:
            return 0, 0
        _delete_repaired(connection, landing, incoming.table)
        is_empty = not _exists(connection, sql.SQL("select from {}").format(landing.table))
        if overwrite or is_empty:
            return self._fill(landing, incoming.table), 0
        connection.execute(sql.SQL("analyze {}").format(incoming.table))
        parts = self._parts(landing, incoming.table)
        updated = connection.execute(_UPDATE.format(**parts)).rowcount
        absent = sql.SQL("not exists (select from {table} t where {matches})").format(**parts)
        return connection.execute(_INSERT.format(where=absent, **parts)).rowcount, updated

    def _fill(self, landing: Landing, incoming: sql.Identifier) -> int:
        """Insert the incoming rows into an empty table; return their number.

        Nothing has to be looked up, and for many rows the indexes are built afterwards.
        """
        connection = self._connection
        parts = self._parts(landing, incoming)
        duplicates = sql.SQL("select from {} group by {} having count(*) > 1")
        if not _exists(connection, duplicates.format(incoming, listed(landing.settings.key))):
            parts["latest"] = sql.SQL("select * from {}").format(incoming)
        # For many rows only: dropping indexes and truncating block readers until the commit.
        many = self.rows_read >= _MANY_ROWS
        indexes = dropped_indexes(connection, landing) if many else []
        if many:  # after a truncate the rows go to a new file, unlogged with wal_level minimal
            connection.execute(sql.SQL("truncate {}").format(landing.table))
        inserted = connection.execute(_INSERT.format(where=sql.SQL("true"), **parts)).rowcount
        for definition in indexes:
            connection.execute(sql.SQL(definition))
        # Statistics of JSON columns take half as long as the insert, and no plan uses them.
        plain = [column.name for column in landing.columns if column.sql_type != "jsonb"]
        connection.execute(
            sql.SQL("analyze {} ({})").format(
                landing.table, listed(["_airbyte_extracted_at", *plain])
            )
        )
        return inserted

    def _parts(self, landing: Landing, incoming: sql.Identifier) -> dict[str, sql.Composable]:
        key, cursor = landing.settings.key, landing.settings.cursor
        names = [sql.Identifier(name) for name in landing.names]
        comma = sql.SQL(", ")
        airbyte = sql.SQL(
            "gen_random_uuid()::varchar, to_timestamp(n._emitted / 1000.0), "
            "case when n._changes is null then {meta}::jsonb "
            "else jsonb_set({meta}::jsonb, '{{changes}}', n._changes) end, {generation}::bigint"
        ).format(
            meta=json_text({"sync_id": self._job_id, "changes": []}), generation=self._generation
        )
        newest = [sql.SQL("{} desc nulls last").format(sql.Identifier(cursor))] if cursor else []
        return {
            "table": landing.table,
            "columns": listed(landing.sql_types),
            "airbyte": airbyte,
            "new_values": comma.join(sql.SQL("n.{}").format(name) for name in names),
            "old_values": comma.join(sql.SQL("t.{}").format(name) for name in names),
            "latest": sql.SQL("select distinct on ({}) * from {} order by {}").format(
                listed(key),
                incoming,
                comma.join([*map(sql.Identifier, key), *newest, sql.SQL("_seq desc")]),
            ),
            "matches": sql.SQL(" and ").join(
                sql.SQL("t.{0} = n.{0}").format(sql.Identifier(name)) for name in key
            ),
            "cursor": sql.Identifier(cursor) if cursor else sql.SQL("_seq"),
        }

    def _store_states(self, connection_name: str, states: Mapping[str, StreamState]) -> None:
        for name, state in states.items():
            if not self._landings[name].settings.sync_mode.overwrites:
                self._connection.execute(
                    "insert into quality.sync_states (connection_name, stream, state, job_id) "
                    "values (%s, %s, %s, %s) on conflict (connection_name, stream) do update set "
                    "state = excluded.state, job_id = excluded.job_id, updated_at = now()",
                    [connection_name, name, json_text(state.state), self._job_id],
                )


_INSERT = sql.SQL(
    "insert into {table} ({columns}) select {airbyte}, {new_values} from ({latest}) n where {where}"
)

# The cursor's lower bound is inclusive, so unchanged records are read again; their rows stay.
_UPDATE = sql.SQL(
    "update {table} t set ({columns}) = row({airbyte}, {new_values}) from ({latest}) n "
    "where {matches} and (t.{cursor} is null or n.{cursor} > t.{cursor} "
    "or (n.{cursor} = t.{cursor} and row({new_values}) is distinct from row({old_values})))"
)


def reject(
    connection: psycopg.Connection, stream: str, records: Sequence[tuple[Mapping[str, Any], str]]
) -> int:
    """Store records that were rejected before the sync; return the number of new ones.

    Args:
        connection: The caller's transaction, in a session that has stored no rejected records.
        stream: The stream of the records.
        records: The records, each with its reason.
    """
    buffer = _rejected_buffer(connection)
    lines = [rejected_line(stream, record, reason) for record, reason in records]
    buffer.write("".join(lines).encode())
    return _store_rejected(connection, buffer)


def stored_states(connection: psycopg.Connection, connection_name: str) -> list[dict[str, Any]]:
    """Return the states of a connection's last successful sync, as Airbyte's messages.

    Args:
        connection: A session.
        connection_name: The name of the Airbyte connection.
    """
    rows = connection.execute(
        "select stream, state from quality.sync_states where connection_name = %s",
        [connection_name],
    ).fetchall()
    return [
        {
            "type": "STREAM",
            "stream": {"stream_descriptor": {"name": stream}, "stream_state": state},
        }
        for stream, state in rows
    ]


class _Buffer:
    """A temporary table that is created when the first lines are written."""

    def __init__(
        self, connection: psycopg.Connection, name: str, columns: Mapping[str, str]
    ) -> None:
        self.table = sql.Identifier("pg_temp", name)
        self.is_empty = True
        self._connection = connection
        self._create = sql.SQL("create temporary table {} ({})").format(
            sql.Identifier(name), definitions(columns)
        )
        self._copy = sql.SQL("copy {} ({}) from stdin").format(self.table, listed(columns))

    def write(self, block: bytes) -> None:
        """Copy lines into the table."""
        if not block:
            return
        if self.is_empty:
            self._connection.execute(self._create)
            self.is_empty = False
        with self._connection.cursor() as cursor, cursor.copy(self._copy) as copy:
            copy.write(block)


def _incoming_buffer(connection: psycopg.Connection, name: str, landing: Landing) -> _Buffer:
    columns = {"_seq": "bigint", "_emitted": "bigint", "_changes": "jsonb", **landing.sql_types}
    return _Buffer(
        connection, name, {key: each for key, each in columns.items() if key not in AIRBYTE_COLUMNS}
    )


def _rejected_buffer(connection: psycopg.Connection) -> _Buffer:
    columns = {"stream": "text", "record_hash": "text", "record": "jsonb", "reason": "text"}
    return _Buffer(connection, "rejected", columns)


def _exists(connection: psycopg.Connection, query: sql.Composable) -> bool:
    """Return whether a query returns a row."""
    found = connection.execute(sql.SQL("select exists ({})").format(query)).fetchone()
    return found == (True,)


def _store_rejected(connection: psycopg.Connection, rejected: _Buffer) -> int:
    if rejected.is_empty:
        return 0
    return connection.execute(
        sql.SQL(
            "insert into quality.rejected_records (stream, record_hash, record, reason) "
            "select distinct on (stream, record_hash) stream, record_hash, record, reason from {} "
            "on conflict (stream, record_hash) do nothing"
        ).format(rejected.table)
    ).rowcount


def _delete_repaired(
    connection: psycopg.Connection, landing: Landing, incoming: sql.Identifier
) -> None:
    """Delete the rejected versions of records of which a version has now landed."""
    stream = landing.settings.name
    rejected = sql.SQL("select from quality.rejected_records where stream = {}").format(stream)
    if not _exists(connection, rejected):
        return
    same_key = sql.SQL(" and ").join(
        sql.SQL("r.record ->> {} = n.{}::text").format(name, sql.Identifier(name))
        for name in landing.settings.key
    )
    connection.execute(
        sql.SQL(
            "delete from quality.rejected_records r using {incoming} n "
            "where r.stream = {stream} and {same_key}"
        ).format(incoming=incoming, stream=stream, same_key=same_key)
    )


def _delete_keys(cursor: psycopg.Cursor, landing: Landing, keys: Iterable[list[Any]]) -> None:
    columns = [c for name in landing.settings.key for c in landing.columns if c.name == name]
    same = sql.SQL(" and ").join(
        sql.SQL("{} = %s::{}").format(sql.Identifier(c.name), sql.SQL(c.sql_type)) for c in columns
    )
    cursor.executemany(
        sql.SQL("delete from {} where {}").format(landing.table, same),
        [[c.text(each) for c, each in zip(columns, key, strict=True)] for key in keys],
    )
