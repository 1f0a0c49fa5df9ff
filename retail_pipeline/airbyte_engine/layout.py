"""The layout of a landing table, equal to that of Airbyte's PostgreSQL destination (direct load).

Airbyte's four columns are followed by the stream's columns in schema order, all nullable. There is
no primary key, but there are indexes on key, cursor and time of extraction. If a schema changes, a
new column is added, a removed column stays with its values, and a changed type fails the sync
before any record lands.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from retail_pipeline.airbyte_engine.columns import Column, columns_of
from retail_pipeline.airbyte_engine.files import AirbyteFolder, ConnectionFile, StreamSettings
from retail_pipeline.airbyte_engine.rendering import Renderer
from retail_pipeline.errors import PipelineError

AIRBYTE_COLUMNS: Mapping[str, str] = {
    "_airbyte_raw_id": "varchar",
    "_airbyte_extracted_at": "timestamptz",
    "_airbyte_meta": "jsonb",
    "_airbyte_generation_id": "bigint",
}
"""The SQL types of Airbyte's own columns, the first four of every landing table."""

AIRBYTE_DESCRIPTIONS: Mapping[str, str] = {
    "_airbyte_raw_id": "Identifier that the loader assigned to this version of the record.",
    "_airbyte_extracted_at": "When the record was read from the API.",
    "_airbyte_meta": "The sync's job, and the fields that became null because they did not fit.",
    "_airbyte_generation_id": "The generation of the data, which grows with every rebuild.",
}

_FULL_NAMES: Mapping[str, str] = {
    "varchar": "character varying",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
}


class ColumnTypeError(PipelineError):
    """The declared type of a column differs from its type in the table."""

    failure_type = "config_error"


@dataclass(frozen=True)
class Landing:
    """A stream's landing table.

    Attributes:
        schema: The database schema of the table.
        settings: The stream's settings, with the table's name, key and cursor.
        columns: The stream's columns.
    """

    schema: str
    settings: StreamSettings
    columns: Sequence[Column]

    @classmethod
    def of(cls, schema: str, settings: StreamSettings, json_schema: Mapping[str, Any]) -> "Landing":
        """Return the landing table of a stream, from its settings and its JSON schema."""
        identity = [*settings.key, *settings.cursor_field]
        return cls(schema, settings, columns_of(json_schema, identity=identity))

    @property
    def table(self) -> sql.Identifier:
        """The table's name as an SQL identifier."""
        return sql.Identifier(self.schema, self.settings.name)

    @cached_property
    def renderer(self) -> Renderer:
        """The renderer of the stream's records."""
        return Renderer(self.settings.name, self.columns, self.settings.key)

    @property
    def names(self) -> list[str]:
        """The names of the stream's columns."""
        return [column.name for column in self.columns]

    @property
    def sql_types(self) -> dict[str, str]:
        """The SQL types of all columns by name, in the table's order."""
        return {**AIRBYTE_COLUMNS, **{column.name: column.sql_type for column in self.columns}}


def landings(folder: AirbyteFolder, connection: ConnectionFile) -> dict[str, Landing]:
    """Return the landing tables of a connection by stream."""
    return {
        stream.name: Landing.of(
            connection.namespace, stream, folder.schema(connection, stream.name)
        )
        for stream in connection.streams
    }


def prepare(connection: psycopg.Connection, landing: Landing) -> None:
    """Create the landing table if it is missing; otherwise add its new columns.

    Raises:
        ColumnTypeError: A column's declared type has changed.
    """
    present = _present_columns(connection, landing)
    if not present:
        _create(connection, landing)
        return
    for column in landing.columns:
        if column.name not in present:
            connection.execute(
                sql.SQL("alter table {} add column {}").format(
                    landing.table, definitions({column.name: column.sql_type})
                )
            )
        elif present[column.name] != column.sql_type:
            raise ColumnTypeError(
                f"{landing.schema}.{landing.settings.name}.{column.name} is "
                f"{present[column.name]}, and the manifest declares {column.sql_type}: give the "
                "field its former type, or drop the column (`alter table … drop column … cascade`; "
                "dbt makes the views on it again) and run with --full-refresh"
            )


def differences(connection: psycopg.Connection, landing: Landing) -> str | None:
    """Return a sentence about a table that differs from its layout, else None.

    A different order of columns is a difference.
    """
    wanted = list(landing.sql_types.items())
    present = list(_present_columns(connection, landing).items())
    if present == wanted:
        return None
    odd = [f"{name} {sql_type}" for name, sql_type in wanted if (name, sql_type) not in present]
    odd += [
        f"not {name} {sql_type}" for name, sql_type in present if (name, sql_type) not in wanted
    ]
    return (
        f"layout of {landing.schema}.{landing.settings.name}: the loader makes "
        f"{', '.join(odd) or 'another order of columns'}"
    )


def dropped_indexes(connection: psycopg.Connection, landing: Landing) -> list[LiteralString]:
    """Drop the table's indexes except those of constraints; return their definitions."""
    indexes: list[tuple[str, LiteralString]] = connection.execute(
        "select c.relname, pg_get_indexdef(i.indexrelid) from pg_index i "
        "join pg_class c on c.oid = i.indexrelid "
        "where i.indrelid = to_regclass(%s) and not exists "
        "(select from pg_constraint k where k.conindid = i.indexrelid)",
        [landing.table.as_string(connection)],
    ).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL("drop index {}").format(sql.Identifier(landing.schema, name)))
    return [definition for _, definition in indexes]


def listed(names: Iterable[str]) -> sql.Composed:
    """Return column names as a comma-separated list of SQL identifiers."""
    return sql.SQL(", ").join(map(sql.Identifier, names))


def definitions(columns: Mapping[str, str]) -> sql.Composed:
    """Return the column definitions of a `create table` statement, from SQL types by name."""
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(sql_type))
        for name, sql_type in columns.items()
    )


def _present_columns(connection: psycopg.Connection, landing: Landing) -> dict[str, str]:
    """Return the SQL types of the table's columns by name, in the table's order.

    A type includes its precision: a `numeric(10,2)` column would silently round values.
    """
    short = {full: name for name, full in _FULL_NAMES.items()}
    rows: list[tuple[str, str]] = connection.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        [landing.table.as_string(connection)],
    ).fetchall()
    return {name: short.get(sql_type, sql_type) for name, sql_type in rows}


def _create(connection: psycopg.Connection, landing: Landing) -> None:
    not_null = {name: f"{sql_type} not null" for name, sql_type in AIRBYTE_COLUMNS.items()}
    # `create schema if not exists` needs the right to create schemas, and the loader has none.
    schema = connection.execute("select to_regnamespace(%s)", [landing.schema]).fetchone()
    if schema == (None,):
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(landing.schema)))
    connection.execute(
        sql.SQL("create table {} ({})").format(
            landing.table, definitions({**landing.sql_types, **not_null})
        )
    )
    indexed = [landing.settings.key, landing.settings.cursor_field, ["_airbyte_extracted_at"]]
    for names in filter(None, indexed):
        connection.execute(sql.SQL("create index on {} ({})").format(landing.table, listed(names)))
