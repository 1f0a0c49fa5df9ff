"""Search and redaction of a person's id and details in text and files.

Logs, artifacts and Dagster's storage contain names and ids within sentences and JSON. In a JSON
document only strings are changed; its structure and its numbers stay.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from retail_pipeline.privacy.spellings import detail_pattern, id_pattern

REDACTED: Final = "[forgotten]"

_PERSON_KEYS: Final = ("customer_id", "user_id")
"""Keys of a JSON document whose value is an id, even where it is a number."""

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


_KEPT_KEYS: Final = re.compile(r"[a-z_]+|\d+")
"""Keys of a JSON document that are its structure, whoever has such an id."""

_ENCODED_IMAGE: Final = re.compile(r"(;base64,[A-Za-z0-9+/=]+)")
_IMAGES: Final = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"wOF2", b"wOFF")
"""First bytes of images and fonts, which match by chance. No figure shows a single customer."""

_DECOMPRESS: Final[Mapping[bytes, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\0": lzma.decompress,
}
_NOT_OPENED: Final = (b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"\x04\x22\x4d\x18", b"Rar!", b"ARROW1")
_CACHES: Final = (".msgpack", ".pickle", ".gpickle", ".pkl")
_LOGS: Final = (".log", ".out", ".err")
_DAMAGED: Final = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)


@dataclass
class Person:
    """A person's id and details: name, e-mail, phone and address."""

    customer_id: str
    details: set[str] = field(default_factory=set)

    def pattern(self) -> re.Pattern[str]:
        """Return a pattern that matches the id as a whole word, and the details anywhere."""
        details = sorted(map(detail_pattern, self.details), key=len, reverse=True)
        return re.compile("|".join([id_pattern(self.customer_id), *details]))


@dataclass(frozen=True)
class Searched:
    """A file with mentions, or one that could not be searched.

    Attributes:
        path: The file.
        mentions: The number of mentions in a rewritten text; 0 otherwise.
        removed: Whether the file is removed, because it is compressed or binary.
    """

    path: Path
    mentions: int = 0
    removed: bool = False


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


def redact_files(
    folder: Path, pattern: re.Pattern[str], *, write: bool = True
) -> Iterator[Searched]:
    """Redact logs and artifacts under a folder; yield the files with mentions and the unsearched.

    Texts are overwritten in place, because a server may be writing to its log. A compressed or
    binary file with a mention is removed: all that the pipeline writes are caches and copies.
    Bytes that are not UTF-8 stay as they are.
    """
    for path in _files(folder):
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise OSError("a link or a device, whose content lies elsewhere")
            data = path.read_bytes()
            if data.startswith(_IMAGES):
                continue
            contents = list(_contents(data))
        except FileNotFoundError:
            continue  # just deleted
        except _DAMAGED:
            yield Searched(path)
            continue
        if contents == [data] and _is_text(path, data):
            old = data.decode(errors="surrogateescape")
            new = redacted(old, pattern)
            if new != old:
                if write:
                    _overwrite(path, new.encode(errors="surrogateescape"))
                count = len(pattern.findall(old)) - len(pattern.findall(new))
                yield Searched(path, mentions=max(count, 1))
        elif any(_mentions(content, pattern) for content in contents):
            if write:
                path.unlink()
            yield Searched(path, removed=True)


def _contents(data: bytes) -> Iterator[bytes]:
    """Yield the content of a file, or the contents of what is compressed in it."""
    if data.startswith(_NOT_OPENED):
        raise OSError("compressed in a way that is not read here")
    for start, decompress in _DECOMPRESS.items():
        if data.startswith(start):
            yield from _contents(decompress(data))
            return
    if data.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode(errors="surrogateescape")
                yield from _contents(archive.read(name))
    elif data.startswith(b"PAR1"):
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile

        for batch in ParquetFile(pa.BufferReader(data)).iter_batches():
            yield json.dumps(batch.to_pylist(), default=str).encode()
    else:
        yield data


def _is_text(path: Path, data: bytes) -> bool:
    return path.suffix in _LOGS or not (b"\0" in data or path.suffix in _CACHES)


def _mentions(data: bytes, pattern: re.Pattern[str]) -> bool:
    """Return whether bytes mention the person, as UTF-8 or as UTF-16 of a Latin script."""
    forms = (data, data.replace(b"\0", b""))
    return any(pattern.search(form.decode(errors="surrogateescape")) for form in forms)


def _overwrite(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def _files(folder: Path) -> Iterator[Path]:
    skipped = [folder / each for each in _UNSEARCHED]
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(place) / name not in skipped]
        yield from (path for name in names if (path := Path(place) / name) not in skipped)
