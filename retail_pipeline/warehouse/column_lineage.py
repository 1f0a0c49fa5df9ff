"""Which columns a column comes from, kept between builds: it follows from the code alone.

dagster-dbt derives it from the compiled SQL, which takes longer than a build without news.
What it has found is kept in a file for as long as the dbt project is the same.
"""

import json
from pathlib import Path
from typing import Any

from dagster import AssetKey, MarkdownMetadataValue, Output, TableColumnDep, TableColumnLineage

COLUMN_LINEAGE = "dagster/column_lineage"

COLUMN_SOURCES = "column_sources"
"""The same as a table to read: the open-source UI draws no lineage of columns."""

_Lineage = dict[str, list[tuple[list[str], str]]]


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

    def knows(self, unique_ids: set[str]) -> bool:
        """Return whether the lineage of each of these dbt models is known."""
        return unique_ids <= set(self._models)

    def add_to(self, event: Output[Any]) -> Output[Any]:
        """Return the event of a model with its lineage; learn it from an event that bears it."""
        unique_id = str(event.metadata["unique_id"].value)
        if unique_id not in self._models:
            found = event.metadata.get(COLUMN_LINEAGE)
            self._models[unique_id] = _columns(found.value) if found else {}
            self._is_kept = False
        columns = self._models[unique_id]
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


def _columns(lineage: Any) -> _Lineage:
    return {
        column: [(list(source.asset_key.path), source.column_name) for source in sources]
        for column, sources in lineage.deps_by_column.items()
    }


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
