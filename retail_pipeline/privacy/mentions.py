"""Search and redaction of a person's id and details in text and in text columns.

Logs, artifacts and Dagster's storage contain names and ids within sentences and JSON. In a JSON
document only strings are changed; its structure and its numbers stay.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql

from retail_pipeline.privacy.spellings import detail_pattern, id_pattern

REDACTED: Final = "[forgotten]"

_PERSON_KEYS: Final = ("customer_id", "user_id")
"""Keys of a JSON document whose value is an id, even where it is a number."""

_IDENTITIES: Final = (
    *("run_id", "asset_key", "step_key", "dagster_event_type", "partition", "snapshot_id"),
    *("job_origin_id", "selector_id", "repository_origin_id", "origin_id"),
    "materialization_run_id",
)
"""Text columns of Dagster's storage with Dagster's own keys, which are not searched."""

_STRUCTURE: Final = (
    *("__class__", "__enum__", "tags", "step_key", "run_id", "pipeline_name", "job_name"),
)
"""Keys of Dagster's serialized events whose values are not changed, as they contain no data."""


_KEPT_KEYS: Final = re.compile(r"[a-z_]+|\d+")
"""Keys of a JSON document that are its structure, whoever has such an id."""

_ENCODED_IMAGE: Final = re.compile(r"(;base64,[A-Za-z0-9+/=]+)")


@dataclass
class Person:
    """A person's id and details: name, e-mail, phone and address."""

    customer_id: str
    details: set[str] = field(default_factory=set)

    def pattern(self) -> re.Pattern[str]:
        """Return a pattern that matches the id as a whole word, and the details anywhere."""
        details = sorted(map(detail_pattern, self.details), key=len, reverse=True)
        return re.compile("|".join([id_pattern(self.customer_id), *details]))


def redacted(text: str, pattern: re.Pattern[str], structure: Collection[str] = ()) -> str:
    """Return a text with mentions redacted; in a JSON document only strings are changed.

    Args:
        text: A JSON document or plain text.
        pattern: The pattern of mentions.
        structure: The keys of a document whose values are not changed.
    """
    if not pattern.search(text):
        return text
    try:
        document = json.loads(text)
    except ValueError:
        return _redacted_text(text, pattern)
    changed = _redacted_strings(document, pattern, structure)
    return text if changed == document else json.dumps(changed)


def _redacted_text(text: str, pattern: re.Pattern[str]) -> str:
    parts = _ENCODED_IMAGE.split(text)  # every second part is an image, with matches by chance
    parts[::2] = [pattern.sub(REDACTED, part) for part in parts[::2]]
    return "".join(parts)


def _redacted_strings(node: Any, pattern: re.Pattern[str], structure: Collection[str]) -> Any:
    if isinstance(node, str):
        return _redacted_text(node, pattern)
    if isinstance(node, list):
        return [_redacted_strings(each, pattern, structure) for each in node]
    if isinstance(node, dict):
        return {
            name
            if name in structure or _KEPT_KEYS.fullmatch(name)
            else _redacted_text(name, pattern): value
            if name in structure
            else _redacted_value(name, value, pattern, structure)
            for name, value in node.items()
        }
    return node


def _redacted_value(
    name: str, value: Any, pattern: re.Pattern[str], structure: Collection[str]
) -> Any:
    is_number = isinstance(value, int) and name in _PERSON_KEYS
    if is_number and pattern.fullmatch(str(value)):
        return REDACTED
    return _redacted_strings(value, pattern, structure)


def redact_column(
    connection: psycopg.Connection,
    table: tuple[str, str],
    column: str,
    pattern: re.Pattern[str],
    structure: Collection[str] = (),
) -> int:
    """Redact a text column of a table (schema, name); return the number of changed rows."""
    names = {"table": sql.Identifier(*table), "column": sql.Identifier(column)}
    select = sql.SQL("select ctid::text, {column} from {table} where {column} is not null")
    update = sql.SQL("update {table} set {column} = %s where ctid = %s::tid")
    with connection.cursor("mentions") as rows:
        rows.execute(select.format(**names))
        changes = [
            (text, place)
            for place, old in rows
            if (text := redacted(old, pattern, structure)) != old
        ]
    with connection.cursor() as cursor:
        cursor.executemany(update.format(**names), changes)
    return len(changes)


def redact_dagster(connection: psycopg.Connection, pattern: re.Pattern[str]) -> dict[str, int]:
    """Redact Dagster's storage; return the number of changed rows of each searched `table.column`.

    No event is deleted, and Dagster can still read the changed ones.
    """
    columns = connection.execute(
        "select table_schema, table_name, column_name from information_schema.columns "
        "where table_schema = 'public' and data_type in ('text', 'character varying') "
        "and column_name <> all(%s) order by 2, 3",
        [list(_IDENTITIES)],
    ).fetchall()
    return {
        f"{table}.{column}": redact_column(connection, (schema, table), column, pattern, _STRUCTURE)
        for schema, table, column in columns
    }
