"""Metadata of a built table: rows, columns, the columns that they are made from, its data version.

dagster-dbt's own column metadata parses a model's SQL anew for each column and has no descriptions
(docs/decisions/0011).
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import psycopg
from dagster import (
    AssetKey,
    DataVersion,
    MarkdownMetadataValue,
    TableColumn,
    TableColumnConstraints,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
)

COLUMN_SOURCES: Final = "column_sources"
"""The column lineage as a table to read: the open-source UI draws none."""

_COSTLY: Final = 1e6
"""In PostgreSQL's units: some seconds, beside a build that needs the cores."""

Table = tuple[str, str]
"""Schema and name."""

Sources = Mapping[str, Collection[tuple[AssetKey, str]]]
"""The columns of assets that each column is made from."""


def count_of_view(connection: psycopg.Connection, view: Table) -> int | None:
    """Return the number of rows of a view; None where counting them would take long."""
    count = psycopg.sql.SQL("select count(*) from {}").format(psycopg.sql.Identifier(*view))
    plan = connection.execute(psycopg.sql.SQL("explain (format json) ") + count).fetchone()
    if plan is None or plan[0][0]["Plan"]["Total Cost"] > _COSTLY:
        return None
    row = connection.execute(count).fetchone()
    return row[0] if row else 0


def count_and_version(connection: psycopg.Connection, table: Table) -> tuple[int, DataVersion]:
    """Return the number of rows of a table and a digest of them, in one pass.

    The digest is a sum of hashes, so the order of the rows does not matter; equal rows have equal
    ones, whenever they were written.
    """
    row = connection.execute(
        psycopg.sql.SQL(
            "select count(*), coalesce(sum(hash_record_extended(t, 0)), 0) from {} as t"
        ).format(psycopg.sql.Identifier(*table))
    ).fetchone()
    assert row is not None
    return row[0], DataVersion(f"{row[0]}-{row[1]}")


def columns_of(connection: psycopg.Connection, table: Table) -> TableSchema:
    """Return the columns that a table or view has, with types and descriptions."""
    columns = connection.execute(
        "select attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum), "
        "attnotnull from pg_attribute where attrelid = %s::regclass and attnum > 0 "
        "and not attisdropped order by attnum",
        [psycopg.sql.Identifier(*table).as_string(connection)],
    )
    return TableSchema(
        [
            TableColumn(
                name, kind, description, constraints=TableColumnConstraints(nullable=not required)
            )
            for name, kind, description, required in columns
        ]
    )


def sources_of(
    sql: str, inputs: Mapping[Table, Collection[str]]
) -> dict[str, set[tuple[Table, str]]]:
    """Return the columns of the inputs that each column of a query is made from.

    Args:
        sql: A query, as dbt has compiled it.
        inputs: The columns of the tables that it reads; a column of another table has no source.
    """
    from sqlglot import MappingSchema, exp
    from sqlglot.lineage import lineage

    schema = MappingSchema(dialect="postgres")
    for (schema_name, name), columns in inputs.items():
        schema.add_table(exp.table_(name, schema_name), dict.fromkeys(columns, "text"))
    found: dict[str, set[tuple[Table, str]]] = {}
    for column, root in lineage(None, sql, schema, dialect="postgres", trim_selects=False).items():
        found[column] = set()
        for node in root.walk():
            table = None if node.downstream else node.expression.find(exp.Table)
            if table is not None and (table.db, table.name) in inputs:
                source = exp.to_column(node.name).name
                found[column].add(((table.db, table.name), source))
    return found


def lineage_metadata(sources: Sources) -> dict[str, Any]:
    """Return column lineage as Dagster's metadata, and as a table for people."""
    ordered = {column: sorted(found) for column, found in sources.items()}
    rows = [
        f"| `{column}` | {', '.join(f'`{key.path[-1]}.{name}`' for key, name in found)} |"
        for column, found in sorted(ordered.items())
    ]
    return {
        "dagster/column_lineage": TableColumnLineage(
            {
                column: [TableColumnDep(key, name) for key, name in found]
                for column, found in ordered.items()
            }
        ),
        COLUMN_SOURCES: MarkdownMetadataValue(
            "\n".join(["| column | made from |", "|---|---|", *rows])
        ),
    }
