"""The landing tables and the rejected records, as numbers.

SQL over `transactional.*` and `quality.rejected_records` only.
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
"""Among fewer new rows a column without any value is no sign."""


@dataclass(frozen=True)
class Landed:
    """A stream's rows, and its records without one: rejected and suppressed."""

    rows: int
    rejected: int
    suppressed: int = 0


@dataclass(frozen=True)
class Volume:
    """Records that changed in the week before the API's end, and a week's mean before that."""

    last_week: int
    weekly_before: float


@dataclass(frozen=True)
class Drift:
    """How the records of a sync differ from their declared columns.

    Attributes:
        undeclared: Fields that were served and have no column.
        misfits: Columns by how many values did not fit them: nulled, or a reason to reject.
        missing: Columns without any value in many new rows, that had some before.
    """

    undeclared: tuple[str, ...] = ()
    misfits: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def count_landed(database: Database, stream: str, key: Sequence[str]) -> Landed:
    """Return a stream's rows, rejected and suppressed records; a record's versions count once.

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
    """Return how many records of a stream were rejected."""
    statement = sql.SQL("select count(*) from quality.rejected_records where stream = {}")
    return int(_row(database, statement.format(stream))[0])


def sum_transactions(database: Database) -> Money:
    """Return the exact sums of the landed transactions' lines."""
    statement = sql.SQL(
        "select count(*)::numeric, coalesce(sum(amount) filter (where type = 'sale'), 0), "
        "coalesce(-sum(amount) filter (where type = 'return'), 0), coalesce(sum(amount), 0) "
        "from {}, lateral (select (line ->> 'amount')::numeric "
        "from jsonb_array_elements(items) as line) as lines(amount)"
    )
    return Money(*_row(database, statement.format(sql.Identifier(LANDING_LAYER, MONEY_STREAM))))


def count_volume(database: Database, stream: str, cursor: str, end: str) -> Volume:
    """Return how many of a stream's records changed in the last week, and in the four before.

    Args:
        database: The warehouse.
        stream: The stream.
        cursor: The column with the time of the change.
        end: Where the API's records end.
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
    """Return how the records that a sync landed and rejected differ from the declared columns.

    Args:
        database: The warehouse.
        stream: The stream.
        columns: Its declared columns.
        since: When the sync began.
        undeclared: Fields that the sync met and the schema does not have.
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
    """Return a line per landing table that differs from the layout of its stream.

    `database/` makes the tables before the first sync, so that dbt has something to read; both
    must agree.

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
    """Return the one row of a statement."""
    with database.connect() as connection:
        row: Sequence[Any] | None = connection.execute(statement).fetchone()
    assert row is not None
    return row
