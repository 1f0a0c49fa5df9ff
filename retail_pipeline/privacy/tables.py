"""Removal of a person's rows from the warehouse, in sessions of the roles that own the tables.

A trigger, rule or policy of a table runs with the rights of the session that changes the table, and
a role can make these for its own tables. So no session of the database's owner reads, changes or
rewrites a table that a role owns.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import psycopg
from psycopg import sql

from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, Role
from retail_pipeline.privacy.mentions import Person, redact_column
from retail_pipeline.privacy.suppression import (
    FILE_LINES,
    FILE_LINES_TEXT,
    SuppressionKey,
    enter_suppressed,
    remove_landed,
)
from retail_pipeline.settings import PROJECT_ROOT

_CUSTOMER_COLUMNS: Final = ("customer_id", "user_id")
_PERSONAL_COLUMNS: Final = ("name", "email", "phone", "address")
_SHORTEST_DETAIL: Final = 4
"""Shortest detail to search for: shorter ones match by chance. Ids are searched at any length."""

_LANDED: Final = ("transactional", "quality")
_THEIR_TRANSACTIONS: Final = (
    "select transaction_id::text from transactional.transactions where user_id = %s"
)
_TABLES: Final = """
select n.nspname, c.relname, nullif(pg_get_userbyid(c.relowner), session_user), c.relkind = 'm',
    array_agg(a.attname::text)
from pg_class as c
inner join pg_namespace as n on n.oid = c.relnamespace
inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^pg_'
    and n.nspname <> all('{information_schema, public}')
group by c.oid, n.nspname
order by c.oid
"""


@dataclass(frozen=True)
class Removed:
    """A place and the number of its removed rows, mentions, files or databases (`what`)."""

    place: str
    what: str
    count: int


@dataclass(frozen=True)
class Table:
    """A table or materialized view of the warehouse.

    Attributes:
        role: The role or login that owns it; None for the database's owner.
    """

    schema: str
    name: str
    role: str | None
    is_view: bool
    columns: Sequence[str]

    @property
    def place(self) -> str:
        """The name with the schema."""
        return f"{self.schema}.{self.name}"

    @property
    def has_customers(self) -> bool:
        """Whether the rows belong to customers or their transactions."""
        return not {*_CUSTOMER_COLUMNS, "transaction_id"}.isdisjoint(self.columns)

    @property
    def is_foreign(self) -> bool:
        """Whether it belongs to a login of somebody else, whose triggers must not run here."""
        return self.role is not None and self.role not in set(Role)


def read_tables(database: Database) -> list[Table]:
    """Return the tables of all schemas that can have rows or sentences about customers."""
    with database.connect() as connection:
        tables = [Table(*row) for row in connection.execute(_TABLES).fetchall()]
    return [each for each in tables if each.has_customers or "reason" in each.columns]


def remove_rows(
    database: Database, tables: Sequence[Table], key: SuppressionKey, person: Person, dry_run: bool
) -> list[Removed]:
    """Delete a person's rows; return every changed table.

    Landed and rejected records are deleted last and at once, so that an interrupted call can find
    the person's details and transactions again.
    """
    loader = database.as_role(Role.LOADER)
    with loader.connect() as connection:
        rows = connection.execute(_THEIR_TRANSACTIONS, [person.customer_id]).fetchall()
    transactions = [transaction for (transaction,) in rows]
    layers = [each for each in tables if each.schema not in _LANDED and not each.is_view]
    removed: list[Removed] = []
    for role, group in groupby(sorted(layers, key=_deleting), key=_deleting):
        with _changed(database, role, dry_run) as connection:
            for table in group:
                removed += _remove_from_layer(connection, table, person, transactions)
    with _changed(database, Role.LOADER, dry_run) as connection:
        removed += _remove_rejected(connection, key, person, transactions)
        removed += _remove_landed(connection, key, person.customer_id)
        for table in (each for each in tables if each.schema == "quality"):
            removed += _redact_reason(connection, table, person.pattern())
    return [each for each in removed if each.count]


def _deleting(table: Table) -> str:
    """Return the role that deletes from a table; empty for the database's owner."""
    return Role.SCIENTIST if table.schema == "clv" else table.role or ""


@contextmanager
def _changed(database: Database, role: str, dry_run: bool) -> Iterator[psycopg.Connection]:
    with connected(database, role or None) as connection:
        yield connection
        if dry_run:
            connection.rollback()


def _remove_from_layer(
    connection: psycopg.Connection, table: Table, person: Person, transactions: Sequence[str]
) -> Iterator[Removed]:
    customer = next((each for each in _CUSTOMER_COLUMNS if each in table.columns), None)
    if table.has_customers:
        done = connection.execute(
            sql.SQL("delete from {} where {}::text = any(%s)").format(
                sql.Identifier(table.schema, table.name),
                sql.Identifier(customer or "transaction_id"),
            ),
            [[person.customer_id] if customer else transactions],
        )
        yield Removed(table.place, "rows", done.rowcount)
    if table.schema == "clv":
        yield from _redact_reason(connection, table, person.pattern())


def _redact_reason(
    connection: psycopg.Connection, table: Table, pattern: re.Pattern[str]
) -> Iterator[Removed]:
    """Redact the column `reason`, which has sentences about failures and decisions."""
    if "reason" in table.columns:
        count = redact_column(connection, (table.schema, table.name), "reason", pattern)
        yield Removed(table.place, "mentions", count)


def person_of(database: Database, customer_id: str) -> Person:
    """Return a person with name, e-mail, phone and address of landed and rejected records."""
    with connected(database, Role.LOADER) as connection:
        rows = connection.execute(
            "select to_jsonb(u) from transactional.users u where user_id = %(id)s union all "
            "select record from quality.rejected_records where record ->> 'user_id' = %(id)s",
            {"id": customer_id},
        ).fetchall()
    values = [str(record.get(name) or "") for (record,) in rows for name in _PERSONAL_COLUMNS]
    return Person(customer_id, {value for value in values if len(value) >= _SHORTEST_DETAIL})


def _remove_rejected(
    connection: psycopg.Connection,
    key: SuppressionKey,
    person: Person,
    transactions: Sequence[str],
) -> Iterator[Removed]:
    """Delete a person's rejected records, found by id, e-mail address, transaction or mention."""
    emails = [each for each in person.details if "@" in each]
    rows = connection.execute(
        "delete from quality.rejected_records where "
        "exists (select from jsonb_path_query(record, '$.**.user_id') as v "
        "where v #>> '{}' = %(id)s) or exists "
        "(select from jsonb_path_query(record, '$.**.customer_id') as v "
        "where v #>> '{}' = %(id)s) or "
        "lower(record ->> 'email') in (select lower(unnest(%(emails)s::text[]))) "
        "or record ->> 'transaction_id' = any(%(transactions)s) returning stream, record",
        {"id": person.customer_id, "emails": emails, "transactions": transactions},
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


def _remove_landed(
    connection: psycopg.Connection, key: SuppressionKey, customer_id: str
) -> Iterator[Removed]:
    for landing in _folder().connections.values():
        for stream in (each for each in landing.streams if each.person_field):
            count = remove_landed(connection, key.digest, landing.namespace, stream, [customer_id])
            yield Removed(f"{landing.namespace}.{stream.name}", "rows", count)


def rewrite(database: Database, tables: Sequence[Table]) -> None:
    """Rewrite tables, which removes deleted rows from the files, and renew their statistics."""
    for table in tables:
        name = sql.Identifier(table.schema, table.name)
        renew = "refresh materialized view {}" if table.is_view else "vacuum (full, analyze) {}"
        with (
            connected(database, table.role, rewritten=table.place) as connection,
            suppress(psycopg.errors.UndefinedTable),  # a build dropped the table and its file
        ):
            connection.execute(sql.SQL(renew).format(name))


@contextmanager
def connected(
    database: Database, role: str | None = None, *, rewritten: str | None = None
) -> Iterator[psycopg.Connection]:
    """Yield a connection; after a lock timeout, raise an error that names the lock's holder.

    Args:
        database: The database.
        role: The role of the session; None for the database's owner.
        rewritten: The table that is rewritten, for which the connection is in autocommit; any
            lock on the table blocks that, even a reader's.
    """
    session = database.as_role(Role(role)) if role else database
    try:
        with session.connect(autocommit=rewritten is not None) as connection:
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
