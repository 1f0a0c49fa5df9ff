"""Marts that Spark has built, published in PostgreSQL for all that read them there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from retail_pipeline.lake import Build
from retail_pipeline.postgres import Database, arrow
from retail_pipeline.postgres.session import session_url
from retail_pipeline.shared_queries import features_id

if TYPE_CHECKING:
    import pyarrow as pa

_SCHEMA: Final = "warehouse"
_ROWS_AT_ONCE: Final = 50_000
_COLUMNS: Final = """
select attname::text, format_type(atttypid, null) from pg_attribute
where attrelid = to_regclass('{table}') and attnum > 0 and not attisdropped order by attnum
"""


def to_create(database: Database, build: Build, marts: Sequence[str]) -> list[str]:
    """Return the marts that PostgreSQL lacks, or has with other columns than the lake."""
    return [
        mart
        for mart in marts
        if set(_columns(database, mart)) != set(build.read(f"{_SCHEMA}.{mart}").schema.names)
    ]


def publish(database: Database, build: Build, marts: Sequence[str]) -> None:
    """Replace marts in PostgreSQL by those of the lake, all in one transaction.

    Rows are copied into new tables beside those that are read, with the same indexes, comments and
    rights; readers wait only while the tables change places.

    Args:
        database: The database, with the transformer's role.
        build: The build in the lake.
        marts: The names of the marts; PostgreSQL has a table with the columns of each.
    """
    columns = {mart: _columns(database, mart) for mart in marts}
    with arrow.connect(session_url(database.url)) as connection, connection.cursor() as cursor:
        for mart in marts:
            draft = f"{mart}__draft"
            cursor.execute(f"create table {_SCHEMA}.{draft} (like {_SCHEMA}.{mart} including all)")
            rows = _rows(build.read(f"{_SCHEMA}.{mart}"), columns[mart])
            cursor.adbc_ingest(draft, rows, mode="append", db_schema_name=_SCHEMA)
            cursor.execute(f"analyze {_SCHEMA}.{draft}")
        for mart in marts:
            cursor.execute(_SWAP.format(schema=_SCHEMA, mart=mart))
        connection.commit()
    build.note_published(features_id(database))


_SWAP: Final = """
do $swap$
begin
    execute format(
        'comment on table {schema}.{mart}__draft is %L',
        obj_description('{schema}.{mart}'::regclass, 'pg_class')
    );
    drop table {schema}.{mart} cascade;
    alter table {schema}.{mart}__draft rename to {mart};
end
$swap$
"""


def _columns(database: Database, mart: str) -> dict[str, str]:
    """Return the types of a mart's columns in PostgreSQL; empty if there is no such table."""
    found = database.query(_COLUMNS.format(table=f"{_SCHEMA}.{mart}"))
    return dict(found.to_numpy().tolist())


def _rows(found: Any, kinds: Mapping[str, str]) -> "pa.RecordBatchReader":
    """Return the rows of a dataset in the types that a binary COPY into the columns needs."""
    import pyarrow as pa

    types = {
        **{"text": pa.string(), "double precision": pa.float64(), "boolean": pa.bool_()},
        **{"smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64()},
        **{"date": pa.date32(), "timestamp with time zone": pa.timestamp("us", "UTC")},
    }
    fields = []
    for name, kind in kinds.items():
        there = found.schema.field(name).type
        # The last digits of a double are far behind the eighteenth decimal of a mean of money.
        number = pa.decimal128(38, 18) if pa.types.is_floating(there) else there
        fields.append(pa.field(name, types.get(kind, number)))
    schema = pa.schema(fields)

    def batches() -> Iterator["pa.RecordBatch"]:
        for batch in found.to_batches(columns=list(kinds), batch_size=_ROWS_AT_ONCE):
            yield batch.cast(schema)

    return pa.RecordBatchReader.from_batches(schema, batches())
