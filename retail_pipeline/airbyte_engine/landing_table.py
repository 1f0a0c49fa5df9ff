"""A stream's landing table: laid out as Airbyte's PostgreSQL destination (direct load) does.

The rule for a schema that changes: a new column is added, one that is gone is kept, with what it
held; a wider type widens its column; any other change of type fails the sync, before it lands. What
is written into the table is `destination`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from retail_pipeline.airbyte_engine.columns import (
    AIRBYTE_COLUMNS,
    Column,
    columns_of,
)
from retail_pipeline.airbyte_engine.fast_reader.rendering import Renderer
from retail_pipeline.airbyte_engine.files import StreamSettings
from retail_pipeline.errors import PipelineError

_FULL_NAMES: Mapping[str, str] = {
    "varchar": "character varying",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
}
_WIDER = frozenset({("bigint", "numeric"), ("date", "timestamptz"), ("date", "timestamp")})
"""Types of a column and wider ones that hold all its values; text holds those of every type."""


class ColumnTypeError(PipelineError):
    """A column's type has changed in a way that its table cannot follow."""

    failure_type = "config_error"


@dataclass(frozen=True)
class Landing:
    """Where a stream lands and how."""

    schema: str
    settings: StreamSettings
    columns: Sequence[Column]

    @classmethod
    def of(cls, schema: str, settings: StreamSettings, json_schema: Mapping[str, Any]) -> "Landing":
        """Build it from a connection's stream and the stream's JSON schema."""
        identity = [*settings.key, *settings.cursor_field]
        return cls(schema, settings, columns_of(json_schema, identity=identity))

    @property
    def table(self) -> sql.Identifier:
        """The table, as an SQL identifier."""
        return sql.Identifier(self.schema, self.settings.name)

    @cached_property
    def renderer(self) -> Renderer:
        """What turns the stream's records into rows."""
        return Renderer(self.settings.name, self.columns, self.settings.key)

    @property
    def names(self) -> list[str]:
        """The stream's columns."""
        return [column.name for column in self.columns]


def prepare(connection: psycopg.Connection, landing: Landing) -> None:
    """Create the landing table where it is missing; add new columns, widen those that need it."""
    present: dict[str, str] = dict(
        connection.execute(
            "select attname, format_type(atttypid, null) from pg_attribute "
            "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
            [landing.table.as_string(connection)],
        ).fetchall()
    )
    if not present:
        _create_landing(connection, landing)
        return
    for column in landing.columns:
        declared = _FULL_NAMES.get(column.sql_type, column.sql_type)
        if column.name not in present:
            connection.execute(
                sql.SQL("alter table {} add column {}").format(
                    landing.table, definitions({column.name: column.sql_type})
                )
            )
        elif present[column.name] != declared:
            _widen(connection, landing, column, present[column.name], declared)


def _widen(
    connection: psycopg.Connection, landing: Landing, column: Column, present: str, declared: str
) -> None:
    what = (
        f"{landing.schema}.{landing.settings.name}.{column.name} is {present}, "
        f"and the manifest declares {declared}"
    )
    if (present, column.sql_type) not in _WIDER and column.sql_type != "varchar":
        raise ColumnTypeError(
            f"{what}, which may not hold every value that landed: give the field its former type, "
            "or drop the column and run with --full-refresh"
        )
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("alter table {table} alter column {name} type {type}").format(
                    table=landing.table,
                    name=sql.Identifier(column.name),
                    type=sql.SQL(column.sql_type),
                )
            )
    except psycopg.errors.FeatureNotSupported as error:
        raise ColumnTypeError(
            f"{what}; it would be widened, but {error.diag.message_detail}: drop the views that "
            "read it (dbt makes them anew) and sync again"
        ) from None


def _create_landing(connection: psycopg.Connection, landing: Landing) -> None:
    airbyte = {name: f"{sql_type} not null" for name, sql_type in AIRBYTE_COLUMNS.items()}
    own = {column.name: column.sql_type for column in landing.columns}
    # Even `if not exists` asks for the right to create schemas, which the loader lacks.
    schema = connection.execute("select to_regnamespace(%s)", [landing.schema]).fetchone()
    if schema == (None,):
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(landing.schema)))
    connection.execute(
        sql.SQL("create table {} ({})").format(landing.table, definitions({**airbyte, **own}))
    )
    indexed = [landing.settings.key, landing.settings.cursor_field, ["_airbyte_extracted_at"]]
    for names in filter(None, indexed):
        connection.execute(
            sql.SQL("create index on {} ({})").format(
                landing.table, sql.SQL(", ").join(map(sql.Identifier, names))
            )
        )


def dropped_indexes(connection: psycopg.Connection, landing: Landing) -> list[LiteralString]:
    """Drop the table's indexes but what a constraint needs; return their definitions."""
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
    """Return names as a list of identifiers."""
    return sql.SQL(", ").join(map(sql.Identifier, names))


def definitions(columns: Mapping[str, str]) -> sql.Composed:
    """Return columns, SQL types by name, as `create table` wants them."""
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(sql_type))
        for name, sql_type in columns.items()
    )
