"""Landing of PostgreSQL's tables in the lake, read by all workers at once from one snapshot.

The driver exports the snapshot of its transaction, and a worker reads a range of a table's pages in
a transaction of the same snapshot. So parts have no row in common and miss none while others write,
and a part that a lost worker leaves is read again with the same rows.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg

from retail_pipeline.errors import PipelineError
from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database, arrow
from retail_pipeline.postgres.session import session_url
from retail_pipeline.spark.session import parts_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

PERSONAL: Final = frozenset({"name", "email", "phone", "address"})
"""Columns of `transactional.users` that are null in the lake: personal data stay in PostgreSQL."""

DECIMAL: Final = "decimal(38,9)"
_MOST_PAGES: Final = 4096
"""Most pages of a part: 32 MiB."""

_KINDS: Final = {
    **{"boolean": "boolean", "smallint": "smallint", "integer": "int", "bigint": "bigint"},
    **{"double precision": "double", "numeric": DECIMAL, "date": "date"},
    "timestamp with time zone": "timestamp",
}
"""The types of Spark by PostgreSQL's; every other type, as jsonb, is landed as its text."""


class _Part(NamedTuple):
    """A statement that reads some pages of a table, and the snapshot that it reads."""

    statement: str
    snapshot: str


def land(spark: "SparkSession", database: Database, lake: Lake, tables: Sequence[str]) -> None:
    """Replace the landed tables in the lake.

    Args:
        spark: The session.
        database: The database, with a role that may read the tables.
        lake: The lake.
        tables: Names with schema.

    Raises:
        PipelineError: A number needs more than nine decimals.
    """
    with database.connect() as connection, lake.landing() as folder:
        connection.execute("set transaction isolation level repeatable read, read only")
        (snapshot,) = connection.execute("select pg_export_snapshot()").fetchone() or ("",)
        url = session_url(database.url)
        parts_wanted = parts_of(spark)
        for table in tables:
            columns = _columns(connection, table)
            statements = _statements(connection, table, columns, parts_wanted)
            parts = [_Part(each, snapshot) for each in statements]
            _copy(spark, url, parts, columns, lake.uri(f"{folder}/{table.replace('.', '/')}"))


def _copy(
    spark: "SparkSession",
    url: str,
    parts: Sequence[_Part],
    columns: Sequence[tuple[str, str]],
    uri: str,
) -> None:
    """Write the parts of a table as Parquet, each by the worker that reads it."""

    def read(batches: Iterator["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from _read(url, parts[number])

    schema = ", ".join(f"`{name}` {_KINDS.get(kind, 'string')}" for name, kind in columns)
    numbers = spark.range(0, len(parts), 1, len(parts))
    numbers.mapInArrow(read, schema).write.parquet(uri)


def _read(url: str, part: _Part) -> Iterator["pa.RecordBatch"]:
    with arrow.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read")
        cursor.execute(f"set transaction snapshot '{part.snapshot}'")
        cursor.execute(part.statement)
        for batch in cursor.fetch_record_batch():
            yield _typed(batch)


def _typed(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    """Return a batch with decimals of nine digits for `numeric`, which arrives as text."""
    import pyarrow as pa

    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if (field.metadata or {}).get(b"ADBC:postgresql:typname") != b"numeric":
            columns.append(column)
            continue
        try:
            columns.append(column.cast(pa.string()).cast(pa.decimal128(38, 9)))
        except pa.ArrowInvalid as error:
            raise PipelineError(
                f"a number of the column {field.name} does not fit {DECIMAL}, the lake's type of "
                f"numbers: {error}"
            ) from None
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _columns(connection: psycopg.Connection, table: str) -> list[tuple[str, str]]:
    """Return names and types of a table's columns."""
    found = connection.execute(
        "select attname::text, format_type(atttypid, null) from pg_attribute "
        "where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        [table],
    )
    return list(found.fetchall())


def _statements(
    connection: psycopg.Connection,
    table: str,
    columns: Sequence[tuple[str, str]],
    parts_wanted: int,
) -> list[str]:
    """Return the statements that read a table, each a range of its pages; a view is one part."""
    hidden = PERSONAL if table.endswith(".users") else ()
    chosen = ", ".join(_expression(name, kind, name in hidden) for name, kind in columns)
    statement = f"select {chosen} from {table}"
    found = connection.execute(
        "select relkind = 'r', pg_relation_size(oid) / current_setting('block_size')::integer "
        "from pg_class where oid = %s::regclass",
        [table],
    ).fetchone()
    is_table, pages = found or (False, 0)
    if not is_table:
        return [statement]
    size = min(-(-pages // parts_wanted) or 1, _MOST_PAGES)
    starts = range(0, max(pages, 1), size)
    conditions = [
        f"ctid >= '({start},0)'"
        + (f" and ctid < '({start + size},0)'" if start != starts[-1] else "")
        for start in starts
    ]
    return [f"{statement} where {condition}" for condition in conditions]


def _expression(name: str, kind: str, is_hidden: bool) -> str:
    if is_hidden:
        return f'null::text as "{name}"'
    return f'"{name}"' if kind in _KINDS else f'"{name}"::text as "{name}"'
