"""Which columns a column comes from, derived from compiled SQL and kept between builds.

It follows from the code alone, so it is derived once per state of the dbt project and kept in a
file. Where the SQL and the columns of its inputs are found, the caller knows.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from dagster import AssetKey, MarkdownMetadataValue, Output, TableColumnDep, TableColumnLineage

COLUMN_LINEAGE = "dagster/column_lineage"

COLUMN_SOURCES = "column_sources"
"""The same as a table to read: the open-source UI draws no lineage of columns."""

_DIALECT: Final = "postgres"

_Lineage = dict[str, list[tuple[list[str], str]]]

Table = tuple[str, str]
"""Schema and name."""


def sources_of(
    sql: str, inputs: Mapping[Table, Collection[str]]
) -> dict[str, set[tuple[Table, str]]]:
    """Return the columns of the inputs that each column of a query is made from.

    dagster-dbt does the same by parsing the query anew for each column (docs/decisions/0018).

    Args:
        sql: A query, as dbt has compiled it.
        inputs: The columns of the tables that it reads; what comes from others has no source.
    """
    from sqlglot import MappingSchema, exp
    from sqlglot.lineage import lineage

    schema = MappingSchema(dialect=_DIALECT)
    for (schema_name, name), columns in inputs.items():
        schema.add_table(exp.table_(name, schema_name), dict.fromkeys(columns, "text"))
    found: dict[str, set[tuple[Table, str]]] = {}
    for column, root in lineage(None, sql, schema, dialect=_DIALECT, trim_selects=False).items():
        found[column] = set()
        for node in root.walk():
            table = None if node.downstream else node.expression.find(exp.Table)
            if table is not None and (table.db, table.name) in inputs:
                source = exp.to_column(node.name).name
                found[column].add(((table.db, table.name), source))
    return found


class KeptLineage:
    """The column lineage of the models of one state of the dbt project.

    Args:
        file: Where it is kept.
        digest: Names the state of the project; what was kept for another one is forgotten.
    """

    def __init__(self, file: Path, digest: str) -> None:
        self._file = file
        self._digest = digest
        self._models: dict[str, _Lineage] = {}
        self._is_kept = True
        if file.exists():
            kept = json.loads(file.read_text())
            if kept["digest"] == digest:
                self._models = kept["models"]

    def knows(self, unique_id: str) -> bool:
        """Return whether the lineage of a dbt model is known."""
        return unique_id in self._models

    def learn(
        self, unique_id: str, sources: Mapping[str, Collection[tuple[AssetKey, str]]]
    ) -> None:
        """Take in what each column of a model is made from: columns of assets."""
        self._models[unique_id] = {
            column: sorted((list(key.path), name) for key, name in found)
            for column, found in sources.items()
        }
        self._is_kept = False

    def add_to(self, event: Output[Any], unique_id: str) -> Output[Any]:
        """Return the event of a model with its lineage, if it is known."""
        columns = self._models.get(unique_id)
        if not columns:
            return event
        return event.with_metadata(
            {
                **event.metadata,
                COLUMN_LINEAGE: _lineage(columns),
                COLUMN_SOURCES: _table(columns),
            }
        )

    def keep(self) -> None:
        """Write what was learned."""
        if not self._is_kept:
            kept = {"digest": self._digest, "models": self._models}
            self._file.write_text(json.dumps(kept))


def _lineage(columns: _Lineage) -> TableColumnLineage:
    return TableColumnLineage(
        {
            column: [TableColumnDep(AssetKey(key), name) for key, name in sources]
            for column, sources in columns.items()
        }
    )


def _table(columns: _Lineage) -> MarkdownMetadataValue:
    rows = [
        f"| `{column}` | {', '.join(f'`{key[-1]}.{name}`' for key, name in sorted(sources))} |"
        for column, sources in sorted(columns.items())
    ]
    return MarkdownMetadataValue("\n".join(["| column | made from |", "|---|---|", *rows]))
