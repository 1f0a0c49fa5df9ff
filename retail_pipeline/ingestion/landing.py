"""The landing tables and the rejected records, as numbers.

SQL over `transactional.*` and `quality.rejected_records` only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import psycopg
from psycopg import sql

from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.airbyte_engine.layout import differences, landings
from retail_pipeline.ingestion.specs import LANDING_LAYER
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
class LandedMoney:
    """Lines and exact amounts of the landed transactions; returns are positive."""

    lines: int
    sales_amount: Decimal
    returns_amount: Decimal

    @property
    def net_amount(self) -> Decimal:
        """Sales less returns."""
        return self.sales_amount - self.returns_amount


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
    table = sql.Identifier(LANDING_LAYER, stream)
    same = sql.SQL(" and ").join(
        sql.SQL("t.{}::text = r.record ->> {}").format(sql.Identifier(name), name) for name in key
    )
    identity = sql.SQL("coalesce({}, r.record_hash)").format(
        sql.SQL(" || '/' || ").join(sql.SQL("(r.record ->> {})").format(name) for name in key)
    )
    with database.connect() as connection:
        rows = connection.execute(sql.SQL("select count(*) from {}").format(table)).fetchone()
        rejected = connection.execute(
            sql.SQL(
                "select count(distinct {identity}) from quality.rejected_records r "
                "where r.stream = {stream} and not exists (select from {table} t where {same})"
            ).format(identity=identity, stream=stream, table=table, same=same)
        ).fetchone()
        suppressed = connection.execute(
            "select count(*) from quality.suppressed_records where stream = %s", [stream]
        ).fetchone()
    assert rows is not None and rejected is not None and suppressed is not None
    return Landed(rows[0], rejected[0], suppressed[0])


def count_rejected(database: Database, stream: str) -> int:
    """Return how many records of a stream were rejected."""
    with database.connect() as connection:
        row = connection.execute(
            "select count(*) from quality.rejected_records where stream = %s", [stream]
        ).fetchone()
    assert row is not None
    return row[0]


def sum_transactions(database: Database) -> LandedMoney:
    """Return the exact sums of the landed transactions' lines."""
    with database.connect() as connection:
        row = connection.execute(
            "select count(*), coalesce(sum(amount) filter (where type = 'sale'), 0), "
            "coalesce(-sum(amount) filter (where type = 'return'), 0) "
            f"from {LANDING_LAYER}.transactions, lateral (select (line ->> 'amount')::numeric "
            "from jsonb_array_elements(items) as line) as lines(amount)"
        ).fetchone()
    assert row is not None
    return LandedMoney(*row)


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
    with database.connect() as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return Volume(row[0], float(row[1]))


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
            sql.SQL(_MISFITS).format(table), [since, stream, since]
        ).fetchall()
        missing = _missing(connection, table, columns, since)
    known = {name: count for name, count in misfits if name in columns}
    return Drift(tuple(undeclared), known, tuple(missing))


_MISFITS = (
    "select name, count(*) from ("
    "select substring(change ->> 'field' from '^[^.[]+') as name from {} "
    "cross join jsonb_array_elements(_airbyte_meta -> 'changes') as change "
    "where _airbyte_extracted_at >= %s and _airbyte_meta -> 'changes' <> '[]' union all "
    "select split_part(reason, ' ', 1) from quality.rejected_records "
    "where stream = %s and seen_at >= %s) as misfits group by name order by name"
)


def _missing(
    connection: psycopg.Connection,
    table: sql.Identifier,
    columns: Sequence[str],
    since: datetime,
) -> list[str]:
    names = [sql.Identifier(name) for name in columns]
    filled = connection.execute(
        sql.SQL("select count(*), {} from {} where _airbyte_extracted_at >= %s").format(
            sql.SQL(", ").join(sql.SQL("count({})").format(name) for name in names), table
        ),
        [since],
    ).fetchone()
    assert filled is not None
    if filled[0] < _ENOUGH_TO_MISS:
        return []
    empty = [column for column, count in zip(columns, filled[1:], strict=True) if count == 0]
    return [column for column in empty if _had_values(connection, table, column, since)]


def _had_values(
    connection: psycopg.Connection, table: sql.Identifier, column: str, since: datetime
) -> bool:
    row = connection.execute(
        sql.SQL(
            "select exists (select from {} where _airbyte_extracted_at < %s and {} is not null)"
        ).format(table, sql.Identifier(column)),
        [since],
    ).fetchone()
    return bool(row and row[0])


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
