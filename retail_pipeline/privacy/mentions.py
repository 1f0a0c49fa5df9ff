"""Search and redaction of a person's id and details in text.

Logs, artifacts and Dagster's storage contain names and ids within sentences and JSON. In a JSON
document only strings are changed; its structure and its numbers stay.
"""

import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

REDACTED: Final = "[forgotten]"

_UNSEARCHED: Final = (
    *("postgres/data", "postgres/credentials.json", "dbt/pgpass"),
    *("dagster/dagster.yaml", "suppression.key"),
)
"""Files under `RETAIL_HOME` that are not searched: those of the server, and settings."""

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


@dataclass
class Person:
    """A person's id and details: name, e-mail, phone and address."""

    customer_id: str
    details: set[str] = field(default_factory=set)

    def pattern(self) -> re.Pattern[str]:
        """Return a pattern that matches the id as a whole word, and the details anywhere."""
        details = {form for term in self.details for form in _written(term)}
        ids = "|".join(sorted(map(re.escape, _written(self.customer_id)), reverse=True))
        word = rf"(?<![\w\-])(?<!\w\.)(?:{ids})(?![\w\-])(?!\.\w)"
        return re.compile("|".join([word, *sorted(map(re.escape, details), key=len, reverse=True)]))


def _written(term: str) -> set[str]:
    """Return the forms of a text: plain, escaped in JSON, and escaped in JSON within JSON."""
    forms = {term}
    for ascii_only in (True, False):
        once = json.dumps(term, ensure_ascii=ascii_only)[1:-1]
        forms |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
    return forms


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
        return pattern.sub(REDACTED, text)
    changed = _redacted_strings(document, pattern, structure)
    return text if changed == document else json.dumps(changed)


def _redacted_strings(node: Any, pattern: re.Pattern[str], structure: Collection[str]) -> Any:
    if isinstance(node, str):
        # Encoded images contain matches only by chance.
        return node if ";base64," in node else pattern.sub(REDACTED, node)
    if isinstance(node, list):
        return [_redacted_strings(each, pattern, structure) for each in node]
    if isinstance(node, dict):
        return {
            name: value if name in structure else _redacted_strings(value, pattern, structure)
            for name, value in node.items()
        }
    return node


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


def redact_files(
    folder: Path, pattern: re.Pattern[str], *, write: bool = True
) -> Iterator[tuple[Path, int]]:
    """Redact logs and artifacts under a folder; yield each changed file and its number of mentions.

    Files are overwritten in place, because a server may be writing to its log.
    """
    for path in _files(folder):
        try:
            old = path.read_bytes().decode()
        except (UnicodeDecodeError, OSError):
            continue  # an image, or a file that was just deleted
        new = redacted(old, pattern)
        if new == old:
            continue
        if write:
            with path.open("r+b") as file:
                file.write(new.encode())
                file.truncate()
        yield path, len(pattern.findall(old)) - len(pattern.findall(new))


def _files(folder: Path) -> Iterator[Path]:
    skipped = [folder / each for each in _UNSEARCHED]
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(place) / name not in skipped]
        yield from (path for name in names if (path := Path(place) / name) not in skipped)
