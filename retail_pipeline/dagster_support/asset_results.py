"""Materialization results of table assets, with rows, as-of date, column schema and seconds."""

import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
from psycopg import sql

from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database

if TYPE_CHECKING:
    import pandas as pd


def table_result(
    database: Database, table: str, rows: int, started: float, **metadata: Any
) -> dg.MaterializeResult:
    """Return the materialization of a table.

    Args:
        database: The database of the table.
        table: The table's name with its schema.
        rows: The number of rows written.
        started: The value of `time.monotonic()` at the start of the step.
        metadata: Further metadata, by name.
    """
    with database.connect() as connection:
        columns = columns_of(connection, table)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "dagster/column_schema": columns,
            "dagster/table_name": table,
            "as_of": read_state(database).as_of.isoformat(),
            "seconds": round(time.monotonic() - started, 3),
            **metadata,
        }
    )


def columns_of(connection: psycopg.Connection, table: str) -> dg.TableSchema:
    """Return the columns of a table or view.

    A column without a comment gets the comment of the same column of `warehouse.customer_features`.
    """
    columns = connection.execute(
        "select own.attname, format_type(own.atttypid, own.atttypmod), "
        "coalesce(col_description(own.attrelid, own.attnum), "
        "col_description(mart.attrelid, mart.attnum)), not own.attnotnull "
        "from pg_attribute as own left join pg_attribute as mart "
        "on mart.attrelid = to_regclass('warehouse.customer_features') "
        "and mart.attname = own.attname "
        "where own.attrelid = %s::regclass and own.attnum > 0 and not own.attisdropped "
        "order by own.attnum",
        [sql.Identifier(*table.split(".")).as_string(connection)],
    )
    return dg.TableSchema(
        [
            dg.TableColumn(
                name, kind, description, constraints=dg.TableColumnConstraints(nullable=nullable)
            )
            for name, kind, description, nullable in columns
        ]
    )


def markdown(table: "pd.DataFrame") -> dg.MetadataValue:
    """Return a frame as a Markdown table; missing values are empty cells."""
    import pandas as pd

    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [["" if pd.isna(cell) else str(cell) for cell in row] for row in table.to_numpy()]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))
