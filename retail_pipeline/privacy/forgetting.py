"""Removal of a person's data from all storage of the pipeline, such that no later sync restores it.

One transaction over the warehouse adds the person to the suppression list, reads their details,
redacts Dagster's storage and files, and deletes their rows. Then the tables are rewritten, because
the files still contain the bytes of deleted rows. An interrupted call is simply repeated: until the
rows are deleted their details can be read again, and every call rewrites every table.

The person's rows are deleted at once. Aggregates over many people keep the old totals until the
next build, which leaves out the person's revenue; models and figures follow in the same run.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.postgres import Database, open_database
from retail_pipeline.postgres.open import sibling_url
from retail_pipeline.postgres.scratch import drop_abandoned
from retail_pipeline.privacy.mentions import Person, redact_column, redact_dagster, redact_files
from retail_pipeline.privacy.suppression import (
    FILE_LINES,
    FILE_LINES_TEXT,
    SuppressionKey,
    enter_suppressed,
    remove_landed,
)
from retail_pipeline.settings import PROJECT_ROOT, Settings

_CUSTOMER_COLUMNS: Final = ("customer_id", "user_id")
_PERSONAL_COLUMNS: Final = ("name", "email", "phone", "address")
_SHORTEST_DETAIL: Final = 4
"""Shortest detail to search for: shorter ones match by chance. Ids are searched at any length."""


@dataclass(frozen=True)
class Removed:
    """A place and the number of its removed rows, mentions or databases (`what` is the unit)."""

    place: str
    what: str
    count: int


def forget(
    settings: Settings, customer_id: str, *, while_running: bool = False, dry_run: bool = False
) -> list[Removed]:
    """Remove a customer's data and suppress their records in later syncs; idempotent.

    Args:
        settings: The settings with the database, the suppression key and the home.
        customer_id: The id, unchanged.
        while_running: Whether to continue although Dagster lists an unfinished run, for example
            one whose process was killed.
        dry_run: Whether only to count, without changes; a missing suppression key is created.

    Returns:
        The places with removed data, in order; empty if there was no data of the person.

    Raises:
        UsageError: The id is empty.
        PipelineError: A run is unfinished, the suppression list belongs to another key, or a
            session locks a table for too long; in the last case another call finishes the work.
    """
    if not customer_id.strip():
        raise UsageError("the customer's id is empty")
    database = open_database(settings)
    dagster = _dagster(database)
    if dagster is not None and not (while_running or dry_run):
        _refuse_while_running(dagster)
    key = SuppressionKey.of(settings, create=True)
    abandoned = [] if dry_run else drop_abandoned(database)
    with _connected(database) as connection:
        # Waits for committing syncs; a sync that is still reading will refuse to commit.
        connection.execute("lock table quality.source_state in exclusive mode")
        key.check_list(connection)
        connection.execute(
            "insert into quality.suppressed_customers (customer_hash, key_id) values (%s, %s) "
            "on conflict do nothing",
            [key.digest(customer_id), key.id],
        )
        person = Person(customer_id, _details(connection, customer_id))
        events = _redact_dagster(dagster, person.pattern(), dry_run) if dagster else {}
        files = list(_redact_files(settings, person.pattern(), dry_run))
        rows = _remove_rows(connection, key, person)
        if dry_run:
            connection.rollback()
    if not dry_run:
        _rewrite(database, {each.place for each in rows})
        if dagster is not None:
            _rewrite(dagster, {place.partition(".")[0] for place in events})
    removed = [
        *(Removed(name, "database", 1) for name in abandoned),
        *rows,
        *(Removed(f"dagster: {place}", "mentions", count) for place, count in events.items()),
        *files,
    ]
    return [each for each in removed if each.count]


def _details(connection: psycopg.Connection, customer_id: str) -> set[str]:
    """Return name, e-mail, phone and address of a person, from landed and rejected records."""
    rows = connection.execute(
        "select to_jsonb(u) from transactional.users u where user_id = %(id)s union all "
        "select record from quality.rejected_records where record ->> 'user_id' = %(id)s",
        {"id": customer_id},
    ).fetchall()
    values = [str(record.get(name) or "") for (record,) in rows for name in _PERSONAL_COLUMNS]
    return {value for value in values if len(value) >= _SHORTEST_DETAIL}


def _remove_rows(
    connection: psycopg.Connection, key: SuppressionKey, person: Person
) -> list[Removed]:
    """Delete a person's rows; return every searched table, with a count of 0 or more."""
    return [  # in this order, because landed rows are needed to find a person's transactions
        *_remove_rejected(connection, key, person),
        *_remove_from_layers(connection, person.customer_id),
        *_remove_landed(connection, key, person.customer_id),
        *_redact_reasons(connection, person.pattern()),
    ]


_THEIR_TRANSACTIONS: Final = (
    "(select transaction_id::text from transactional.transactions where user_id = %(id)s)"
)


def _remove_rejected(
    connection: psycopg.Connection, key: SuppressionKey, person: Person
) -> Iterator[Removed]:
    """Delete a person's rejected records, found by id, e-mail address, transaction or mention."""
    rows = connection.execute(
        "delete from quality.rejected_records where "
        "exists (select from jsonb_path_query(record, '$.**.user_id') as v "
        "where v #>> '{}' = %(id)s) or exists "
        "(select from jsonb_path_query(record, '$.**.customer_id') as v "
        "where v #>> '{}' = %(id)s) or record ->> 'email' = any(%(details)s) "
        f"or record ->> 'transaction_id' in {_THEIR_TRANSACTIONS} returning stream, record",
        {"id": person.customer_id, "details": list(person.details)},
    ).fetchall()
    for stream in (each for one in _folder().connections.values() for each in one.streams):
        # Only records of a stream count as served; invalid lines of a file do not.
        records = [record for name, record in rows if name == stream.name]
        enter_suppressed(connection, key.digest, stream, records)
    lines = connection.execute(
        "select record_hash, record ->> %s from quality.rejected_records where stream = %s",
        [FILE_LINES_TEXT, FILE_LINES],
    ).fetchall()
    pattern = person.pattern()
    done = connection.execute(
        "delete from quality.rejected_records where stream = %s and record_hash = any(%s)",
        [FILE_LINES, [digest for digest, text in lines if text and pattern.search(text)]],
    )
    yield Removed("quality.rejected_records", "rows", len(rows) + done.rowcount)


def _remove_from_layers(connection: psycopg.Connection, customer_id: str) -> Iterator[Removed]:
    """Delete a person's rows from all later tables with a customer or transaction id."""
    tables = connection.execute(
        "select table_schema, table_name, array_agg(column_name::text) "
        "from information_schema.columns join information_schema.tables "
        "using (table_schema, table_name) where table_type = 'BASE TABLE' and table_schema <> all "
        "('{pg_catalog, information_schema, quality, public, transactional}') group by 1, 2"
    ).fetchall()
    for schema, name, columns in tables:
        customer = next((each for each in _CUSTOMER_COLUMNS if each in columns), None)
        if customer is None and "transaction_id" not in columns:
            continue
        rest = "= %(id)s" if customer else f"in {_THEIR_TRANSACTIONS}"
        done = connection.execute(
            sql.SQL(f"delete from {{}} where {{}}::text {rest}").format(
                sql.Identifier(schema, name), sql.Identifier(customer or "transaction_id")
            ),
            {"id": customer_id},
        )
        yield Removed(f"{schema}.{name}", "rows", done.rowcount)


def _remove_landed(
    connection: psycopg.Connection, key: SuppressionKey, customer_id: str
) -> Iterator[Removed]:
    for landing in _folder().connections.values():
        for stream in (each for each in landing.streams if each.person_field):
            count = remove_landed(connection, key.digest, landing.namespace, stream, [customer_id])
            yield Removed(f"{landing.namespace}.{stream.name}", "rows", count)


def _redact_reasons(connection: psycopg.Connection, pattern: re.Pattern[str]) -> Iterator[Removed]:
    """Redact the `reason` columns, which are sentences about failures and decisions."""
    tables = connection.execute(
        "select table_schema, table_name from information_schema.columns "
        "where column_name = 'reason' and data_type = 'text' "
        "and table_schema in ('quality', 'clv') order by 1, 2"
    ).fetchall()
    for schema, name in tables:
        count = redact_column(connection, (schema, name), "reason", pattern)
        yield Removed(f"{schema}.{name}", "mentions", count)


def _rewrite(database: Database, tables: Iterable[str]) -> None:
    """Rewrite tables, which removes deleted rows from the files, and renew their statistics."""
    for table in sorted(tables):
        with _connected(database, rewritten=table) as connection:
            name = sql.Identifier(*table.split("."))
            with suppress(psycopg.errors.UndefinedTable):  # a build dropped the table and its file
                connection.execute(sql.SQL("vacuum (full, analyze) {}").format(name))


def _dagster(database: Database) -> Database | None:
    """Return Dagster's database beside the warehouse, if there is one."""
    name = f"{database.name}_dagster"
    with database.connect() as connection:
        found = connection.execute("select from pg_database where datname = %s", [name]).fetchone()
    return Database(sibling_url(database.url, name)) if found is not None else None


def _refuse_while_running(dagster: Database) -> None:
    with dagster.connect() as connection:
        if connection.execute("select to_regclass('runs')").fetchone() == (None,):
            return
        row = connection.execute(
            "select run_id from runs where status in ('STARTING', 'STARTED', 'CANCELING')"
        ).fetchone()
    if row is not None:
        raise PipelineError(
            f"the run {row[0]} is unfinished and could store the person's data again: wait for "
            "its end, or, if its process has died, use --while-running"
        )


def _redact_dagster(dagster: Database, pattern: re.Pattern[str], dry_run: bool) -> dict[str, int]:
    """Redact Dagster's storage; return the number of changed rows of every searched column."""
    with _connected(dagster) as connection:
        counts = redact_dagster(connection, pattern)
        if dry_run:
            connection.rollback()
    return counts


def _redact_files(settings: Settings, pattern: re.Pattern[str], dry_run: bool) -> Iterator[Removed]:
    for folder in (settings.home, PROJECT_ROOT / "dbt_project" / "logs"):
        for path, count in redact_files(folder, pattern, write=not dry_run):
            yield Removed(str(path), "mentions", count)


@contextmanager
def _connected(database: Database, *, rewritten: str | None = None) -> Iterator[psycopg.Connection]:
    """Yield a connection; after a lock timeout, raise an error that names the lock's holder.

    Args:
        database: The database.
        rewritten: The table that is rewritten, for which the connection is in autocommit; any
            lock on the table blocks that, even a reader's.
    """
    try:
        with database.connect(autocommit=rewritten is not None) as connection:
            yield connection
    except psycopg.errors.LockNotAvailable:
        raise PipelineError(
            f"the customer is not wholly forgotten yet: {_holder(database, rewritten)}. Wait for "
            "its end, or end it, and run the same command again, which finishes the rest"
        ) from None


def _holder(database: Database, table: str | None) -> str:
    """Return a sentence about the session that locks a table, or has the strongest lock of any."""
    with database.connect() as connection:
        found = connection.execute(
            "select l.relation::regclass::text, a.pid, a.usename, "
            "coalesce(nullif(a.application_name, ''), 'no program named') "
            "from pg_locks l join pg_stat_activity a using (pid) "
            "join pg_class c on c.oid = l.relation and c.relkind in ('r', 'p') "
            "where l.granted and a.datname = current_database() and pid <> pg_backend_pid() "
            "and (%(table)s::text is null or l.relation = to_regclass(%(table)s)) "
            "order by l.mode = 'AccessShareLock', a.xact_start limit 1",
            {"table": table and sql.Identifier(*table.split(".")).as_string(connection)},
        ).fetchone()
    if found is None:
        return f"{table or 'a table'} was held by a session that has ended meanwhile"
    name, pid, user, program = found
    return f"{name} is held by session {pid} ({user}, {program})"


def _folder() -> AirbyteFolder:
    return AirbyteFolder.load(PROJECT_ROOT / "airbyte")
