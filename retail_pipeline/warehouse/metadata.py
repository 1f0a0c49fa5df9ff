"""Metadata of a built table: row count, data version and column lineage.

dagster-dbt's own column metadata is not used, because it parses a model's SQL once per column and
has no descriptions (docs/decisions/0011).
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import psycopg
from dagster import (
    AssetKey,
    DataVersion,
    MarkdownMetadataValue,
    TableColumnDep,
    TableColumnLineage,
)
from psycopg import sql

_COSTLY: Final = 1e6
"""In PostgreSQL's cost units: some seconds while a build uses the cores."""

Sources = Mapping[str, Collection[tuple[AssetKey, str]]]
"""The source columns of each column, as pairs of asset key and name."""


def count_of_view(connection: psycopg.Connection, view: str) -> int | None:
    """Return the number of rows of a view; None if counting them would take long."""
    count = sql.SQL("select count(*) from ") + _named(view)
    plan = connection.execute(sql.SQL("explain (format json) ") + count).fetchone()
    if plan is None or plan[0][0]["Plan"]["Total Cost"] > _COSTLY:
        return None
    row = connection.execute(count).fetchone()
    return row[0] if row else 0


def count_and_version(connection: psycopg.Connection, table: str) -> tuple[int, DataVersion]:
    """Return the number of rows of a table and a digest of them, computed in one pass.

    The digest is a sum of hashes, so tables with equal rows have equal digests, in whatever order
    and at whatever time the rows were written.
    """
    digest = sql.SQL("select count(*), coalesce(sum(hash_record_extended(t, 0)), 0) from {} as t")
    row = connection.execute(digest.format(_named(table))).fetchone()
    assert row is not None
    return row[0], DataVersion(f"{row[0]}-{row[1]}")


def sources_of(
    query: str, inputs: Mapping[AssetKey, Collection[str]], dialect: str = "postgres"
) -> Sources:
    """Return the source columns of each column of a query.

    Args:
        query: SQL as compiled by dbt.
        inputs: The columns of the tables that the query reads, by asset key (schema, name). Columns
            of other tables are not listed as sources.
        dialect: sqlglot's name of the query's SQL.
    """
    from sqlglot import MappingSchema, exp
    from sqlglot.lineage import lineage

    schema = MappingSchema(dialect=dialect)
    for key, columns in inputs.items():
        schema.add_table(exp.table_(key.path[1], key.path[0]), dict.fromkeys(columns, "text"))
    found: dict[str, set[tuple[AssetKey, str]]] = {}
    roots = lineage(None, query, schema, dialect=dialect, trim_selects=False)
    for column, root in roots.items():
        found[column] = set()
        for node in root.walk():
            table = None if node.downstream else node.expression.find(exp.Table)
            if table is not None and (source := AssetKey([table.db, table.name])) in inputs:
                found[column].add((source, exp.to_column(node.name).name))
    return found


def lineage_metadata(sources: Sources) -> dict[str, Any]:
    """Return column lineage as Dagster metadata, and as a table for the open-source UI.

    The UI of open-source Dagster does not show column lineage.
    """
    ordered = {column: sorted(found) for column, found in sources.items()}
    deps = {
        column: [TableColumnDep(key, name) for key, name in found]
        for column, found in ordered.items()
    }
    rows = [
        f"| `{column}` | {', '.join(f'`{key.path[-1]}.{name}`' for key, name in found)} |"
        for column, found in sorted(ordered.items())
    ]
    table = "\n".join(["| column | made from |", "|---|---|", *rows])
    return {
        "dagster/column_lineage": TableColumnLineage(deps),
        "column_sources": MarkdownMetadataValue(table),
    }


def _named(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))
