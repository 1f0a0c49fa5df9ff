"""Search and redaction of a person in files: logs, artifacts, caches, archives.

Texts are overwritten in place, because a server may be writing to its log; bytes that are not UTF-8
stay as they are. In a SQLite database, as Superset has, texts are redacted. Any other binary or
compressed file with a mention is removed: all that the pipeline writes are caches and copies.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from retail_pipeline.privacy.mentions import redacted

_SECRETS: Final = ("*.key", "credentials.json", "logins.json", "pgpass")
_UNSEARCHED: Final = (*_SECRETS, "dagster.yaml")
"""Files with passwords and settings, which name no customer but may contain such a number."""

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
_SQLITE_COLUMNS: Final = """
select '"' || replace(m.name, '"', '""') || '"', '"' || replace(c.name, '"', '""') || '"'
from sqlite_master as m, pragma_table_info(m.name) as c
where m.type = 'table' and m.name not like 'sqlite_%'
    -- Rights of Superset, whose names have ids such as (id:12), and places of charts (CHART-12).
    and m.name not like 'ab_%' and m.name not in ('dbs', 'themes', 'alembic_version')
    and c.name not in ('perm', 'schema_perm', 'catalog_perm', 'position_json', 'external_url')
"""
_LONGEST_KEY: Final = 64
"""Longest binary value of a SQLite table that is a key or digest, which matches by chance."""

_DAMAGED: Final = (
    *(OSError, EOFError, ValueError, RuntimeError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, sqlite3.Error),
)


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


def redact_files(
    folder: Path, pattern: re.Pattern[str], *, write: bool = True
) -> Iterator[Searched]:
    """Redact logs and artifacts under a folder; yield the files with mentions and the unsearched.

    Args:
        folder: The folder; the server's data and Python environments in it are left out.
        pattern: The pattern of mentions.
        write: Whether to change the files.
    """
    for path in _files(folder):
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise OSError("a link or a device, whose content lies elsewhere")
            yield from _redact_file(path, path.read_bytes(), pattern, write)
        except FileNotFoundError:
            continue  # just deleted
        except _DAMAGED:
            yield Searched(path)


def _redact_file(
    path: Path, data: bytes, pattern: re.Pattern[str], write: bool
) -> Iterator[Searched]:
    if data.startswith(_IMAGES):
        return
    if data.startswith(b"SQLite format 3\0"):
        if _mentions(data, pattern) and (count := _redact_database(path, pattern, write)):
            yield Searched(path, mentions=count)
        return
    contents = list(_contents(data))
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


def _redact_database(path: Path, pattern: re.Pattern[str], write: bool) -> int:
    """Redact the texts of a SQLite database, and delete rows with mentions in binary values."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("redacted", 1, lambda text: redacted(text, pattern))
        connection.create_function("mentions", 1, lambda data: _mentions(data, pattern))
        connection.execute("begin")
        for table, column in connection.execute(_SQLITE_COLUMNS).fetchall():
            connection.execute(
                f"update {table} set {column} = redacted({column}) "
                f"where typeof({column}) = 'text' and {column} <> redacted({column})"
            )
            connection.execute(
                f"delete from {table} where typeof({column}) = 'blob' "
                f"and length({column}) > {_LONGEST_KEY} and mentions({column})"
            )
        count = connection.total_changes
        connection.execute("commit" if write else "rollback")
        if write and count:
            connection.execute("vacuum")  # rewrites the file without the old bytes
    return count


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
    for place, folders, names in os.walk(folder):
        if "pyvenv.cfg" in names or "PG_VERSION" in names or place.endswith("postgres/data"):
            folders.clear()  # a Python environment, or the server's data
            continue
        folders[:] = _searched(folders)
        yield from (Path(place) / name for name in _searched(names))


def _searched(names: Iterable[str]) -> list[str]:
    return [name for name in names if not any(fnmatch(name, each) for each in _UNSEARCHED)]
