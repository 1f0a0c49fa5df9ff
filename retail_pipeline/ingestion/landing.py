"""Counts and sums of the landing tables and the rejected records, for checks and metadata.

The SQL reads only `transactional.*` and the rejected and suppressed records in `quality`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import sql

from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.airbyte_engine.layout import differences, landings
from retail_pipeline.ingestion.specs import LANDING_LAYER
from retail_pipeline.ingestion.totals import MONEY_STREAM, Money
from retail_pipeline.postgres import Database

_ENOUGH_TO_MISS = 20
"""Fewest new rows in which a column without any value is reported."""


@dataclass(frozen=True)
class Landed:
    """The numbers of a stream's rows, rejected records and suppressed records."""

    rows: int
    rejected: int
    suppressed: int = 0


@dataclass(frozen=True)
class Volume:
    """The number of records of the last week, and the weekly mean of the four weeks before it."""

    last_week: int
    weekly_before: float


@dataclass(frozen=True)
class Drift:
    """The differences between the records of a sync and the declared columns.

    Attributes:
        undeclared: Served fields that have no column.
        misfits: The number of misfits by column; each became null or rejected its record.
        missing: Columns that had values before and have none in at least 20 new rows.
    """

    undeclared: tuple[str, ...] = ()
    misfits: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def count_landed(database: Database, stream: str, key: Sequence[str]) -> Landed:
    """Return the numbers of a stream's rows, rejected and suppressed records.

    Rejected versions of one record count once, and not at all if a version has landed.

    Args:
        database: The warehouse.
        stream: The stream.
        key: Its primary key's columns.
    """
    given = [sql.SQL("(r.record ->> {})").format(name) for name in key]
    same = [
        sql.SQL("t.{}::text = {}").format(sql.Identifier(name), value)
        for name, value in zip(key, given, strict=True)
    ]
    statement = sql.SQL(
        "select (select count(*) from {table}), (select count(distinct "
        "coalesce({identity}, r.record_hash)) from quality.rejected_records r "
        "where r.stream = {stream} and not exists (select from {table} t where {same})), "
        "(select count(*) from quality.suppressed_records where stream = {stream})"
    ).format(
        identity=sql.SQL(" || '/' || ").join(given),
        stream=stream,
        table=sql.Identifier(LANDING_LAYER, stream),
        same=sql.SQL(" and ").join(same),
    )
    return Landed(*_row(database, statement))


def count_rejected(database: Database, stream: str) -> int:
    """Return the number of a stream's rejected records."""
    statement = sql.SQL("select count(*) from quality.rejected_records where stream = {}")
    return int(_row(database, statement.format(stream))[0])


def sum_transactions(database: Database) -> Money:
    """Return the number of lines and the exact amounts of the landed transactions."""
    statement = sql.SQL(
        "select count(*)::numeric, coalesce(sum(amount) filter (where type = 'sale'), 0), "
        "coalesce(-sum(amount) filter (where type = 'return'), 0), coalesce(sum(amount), 0) "
        "from {}, lateral (select case when jsonb_typeof(line -> 'amount') = 'number' "
        "then (line -> 'amount')::numeric end from jsonb_array_elements(case when "
        "jsonb_typeof(items) = 'array' then items else '[]' end) as line) as lines(amount)"
    )
    return Money(*_row(database, statement.format(sql.Identifier(LANDING_LAYER, MONEY_STREAM))))


def count_volume(database: Database, stream: str, cursor: str, end: str) -> Volume:
    """Return the number of a stream's records that changed in the last week and in the four before.

    Args:
        database: The warehouse.
        stream: The stream.
        cursor: The column with the time of the last change.
        end: The instant before which the API's records lie.
    """
    statement = sql.SQL(
        "select count(*) filter (where {cursor} >= {end} - interval '7 days'), "
        "count(*) filter (where {cursor} < {end} - interval '7 days') / 4.0 from {table} "
        "where {cursor} >= {end} - interval '35 days' and {cursor} < {end}"
    ).format(
        cursor=sql.Identifier(cursor),
        end=sql.SQL("{}::timestamptz").format(end),
        table=sql.Identifier(LANDING_LAYER, stream),
    )
    last_week, weekly_before = _row(database, statement)
    return Volume(last_week, float(weekly_before))


def find_drift(
    database: Database,
    stream: str,
    columns: Sequence[str],
    *,
    since: datetime,
    undeclared: Sequence[str] = (),
) -> Drift:
    """Return how a sync's landed and rejected records differ from the declared columns.

    Args:
        database: The warehouse.
        stream: The stream.
        columns: The declared columns.
        since: The start of the sync.
        undeclared: Fields that the sync found and the schema does not declare.
    """
    table = sql.Identifier(LANDING_LAYER, stream)
    with database.connect() as connection:
        misfits = connection.execute(
            sql.SQL(_MISFITS).format(table=table, since=since, stream=stream)
        ).fetchall()
    filled = [sql.SQL("count({})").format(sql.Identifier(name)) for name in columns]
    new_rows, *counts = _row(
        database,
        sql.SQL("select count(*), {} from {} where _airbyte_extracted_at >= {}").format(
            sql.SQL(", ").join(filled), table, since
        ),
    )
    had_values = sql.SQL(
        "select exists (select from {} where _airbyte_extracted_at < {} and {} is not null)"
    )
    missing = [
        name
        for name, count in zip(columns, counts, strict=True)
        if count == 0
        and new_rows >= _ENOUGH_TO_MISS
        and _row(database, had_values.format(table, since, sql.Identifier(name)))[0]
    ]
    known = {name: count for name, count in misfits if name in columns}
    return Drift(tuple(undeclared), known, tuple(missing))


_MISFITS = (
    "select name, count(*) from ("
    "select substring(change ->> 'field' from '^[^.[]+') as name from {table} "
    "cross join jsonb_array_elements(_airbyte_meta -> 'changes') as change "
    "where _airbyte_extracted_at >= {since} and _airbyte_meta -> 'changes' <> '[]' union all "
    "select split_part(reason, ' ', 1) from quality.rejected_records "
    "where stream = {stream} and seen_at >= {since}) as misfits group by name order by name"
)


def layout_differences(database: Database, folder: AirbyteFolder) -> list[str]:
    """Return a sentence for each landing table that differs from the layout of its stream.

    The migrations in `database/` create the tables before the first sync, so that dbt can read
    them. They must create the same layout as the engine.

    Args:
        database: The warehouse, migrated.
        folder: The connection files.
    """
    with database.connect() as connection:
        found = [
            differences(connection, landing)
            for each in folder.connections.values()
            for landing in landings(folder, each).values()
        ]
    return [line for line in found if line]


def _row(database: Database, statement: sql.Composed) -> Sequence[Any]:
    """Return the only row of a statement's result."""
    with database.connect() as connection:
        row: Sequence[Any] | None = connection.execute(statement).fetchone()
    assert row is not None
    return row
