"""Files opened by their content: CSV, JSON, Parquet, Excel, compressed, or a folder of such parts.

The ending of a file's name does not matter. An opened file has the names of its columns, a function
that reads them, and a description of how it is read.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.source.csv_rows import (
    DELIMITERS,
    FileRows,
    UnusableRow,
    check_encoding,
    find_header,
    find_layout,
    read_rows,
)

Known = Callable[[Sequence[str]], int]
"""A function that returns how many of some column names are known; it serves to find the header."""

_PARQUET, _GZIP, _ZIP, _OLD_EXCEL = b"PAR1", b"\x1f\x8b", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SPREADSHEET_PARTS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
_MOST_TITLE_ROWS = 20

ALL_SHEETS = "*"
"""Stands for all sheets of a spreadsheet, which must have the same columns."""

_NO_PART = ("_", ".")
"""First characters of the names of files that hold no data, such as `_SUCCESS`."""


@dataclass(frozen=True)
class OpenedFile:
    """A file of a recognized format.

    Attributes:
        names: The names of its columns.
        words: How it is read, such as "CSV, values separated by semicolons".
        read: Returns the columns of some indices.
        is_spreadsheet: Whether numbers may be the serial numbers of days.
    """

    names: list[str]
    words: str
    read: Callable[[list[int]], FileRows]
    is_spreadsheet: bool = False


def open_file(path: Path, known: Known, sheet: str | None = None) -> OpenedFile:
    """Return an opened file, or the parts of a folder as one.

    Args:
        path: The file or folder.
        known: See `Known`.
        sheet: The name of a spreadsheet's sheet, or `ALL_SHEETS`; by default the first.

    Raises:
        UsageError: The file is missing, cannot be read, or is not UTF-8.
    """
    if not path.exists():
        raise UsageError(f"the transactions file {path} does not exist; check its path")
    if path.is_dir():
        return _folder(path, known)
    with path.open("rb") as file:
        start = file.read(4)
    if start == _PARQUET:
        return _parquet(path)
    opened = _opened(path.read_bytes(), path, known, sheet)
    if sheet is not None and not opened.is_spreadsheet:
        raise UsageError(f"{path} is not a spreadsheet; leave out #{sheet}")
    return opened


def _opened(data: bytes, path: Path, known: Known, sheet: str | None) -> OpenedFile:
    if data.startswith(_PARQUET):
        return _parquet(io.BytesIO(data))
    if data.startswith(_GZIP):
        return _within("gzip", _gunzipped(data, path), path, known, sheet)
    if data.startswith(_OLD_EXCEL):
        return _spreadsheet(data, path, known, sheet)
    if data.startswith(_ZIP):
        return _zip(data, path, known, sheet)
    if data.startswith(_UTF16):
        return _within("UTF-16", _utf8(data, path), path, known, sheet)
    check_encoding(data, path)
    first = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return _json(data, path) if first in (b"[", b"{") else _csv(data, path, known)


def _within(words: str, data: bytes, path: Path, known: Known, sheet: str | None) -> OpenedFile:
    found = _opened(data, path, known, sheet)
    return OpenedFile(found.names, f"{words}, {found.words}", found.read, found.is_spreadsheet)


def _gunzipped(data: bytes, path: Path) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        raise UsageError(f"{path} is a damaged gzip file; write or download it again") from None


def _utf8(data: bytes, path: Path) -> bytes:
    try:
        return data.decode("utf-16").encode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is damaged UTF-16; save it as UTF-8") from None


def _zip(data: bytes, path: Path, known: Known, sheet: str | None) -> OpenedFile:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if any(part in names for part in _SPREADSHEET_PARTS):
                return _spreadsheet(data, path, known, sheet)
            names = [name for name in names if not name.startswith("__MACOSX/")]
            if len(names) != 1:
                found = f"{len(names)} files ({_few(names)})" if names else "no file"
                raise UsageError(f"{path} holds {found}; unpack it and give one file")
            content = archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error, RuntimeError):
        raise UsageError(f"{path} is a damaged or locked zip file; unpack it first") from None
    return _within(f"zip of {names[0]}", content, path, known, sheet)


def _csv(data: bytes, path: Path, known: Known) -> OpenedFile:
    layout = find_layout(data, path, known)
    mark = DELIMITERS.get(layout.delimiter, repr(layout.delimiter))
    header = "" if layout.header_line == 1 else f", header in line {layout.header_line}"
    return OpenedFile(
        layout.names,
        f"CSV, values separated by {mark}{header}",
        lambda columns: read_rows(data, layout, columns, path),
    )


def _parquet(source: Path | io.BytesIO) -> OpenedFile:
    file = pq.ParquetFile(source)
    names = file.schema_arrow.names

    def read(columns: list[int]) -> FileRows:
        table = file.read(columns=[names[at] for at in columns])
        chosen = [table.column(names[at]) for at in columns]
        return _rows(pa.table(dict(zip(map(str, columns), chosen, strict=True))), table.num_rows)

    return OpenedFile(names, "Parquet", read)


def _spreadsheet(data: bytes, path: Path, known: Known, sheet: str | None) -> OpenedFile:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        names = book.sheet_names
        if sheet not in (None, ALL_SHEETS, *names):
            raise UsageError(f"{path} has no sheet {sheet!r}; its sheets are {_few(names)}")
        chosen = names if sheet == ALL_SHEETS else [sheet or names[0]]
        cells = [book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in chosen]
    except (CalamineError, OSError) as error:
        raise UsageError(f"{path} cannot be read as a spreadsheet: {_line(error)}") from None
    parts = [_sheet(rows, name, known) for rows, name in zip(cells, chosen, strict=True)]
    others = [name for name in names if name not in chosen]
    opened = _as_one(parts, chosen, path)
    if not others or sheet is not None:
        return opened
    words = f"not {_few(others)}: name one as {path.name}#{others[0]}, or all as {path.name}#*"
    return replace(opened, words=f"{opened.words} ({words})")


def _sheet(cells: list[list[Any]], name: str, known: Known) -> OpenedFile:
    words = f"spreadsheet, sheet {name}"
    filled = [at for at, row in enumerate(cells) if any(_is_filled(cell) for cell in row)]
    if not filled:
        return OpenedFile([], words, lambda _: _rows(pa.table({}), 0), is_spreadsheet=True)
    headers = [[[_text(cell) or "" for cell in cells[at]]] for at in filled[:_MOST_TITLE_ROWS]]
    position, _ = find_header(headers, known)
    rows = filled[position + 1 :]
    lines = np.array(rows, dtype=np.int64) - filled[position]

    def read(columns: list[int]) -> FileRows:
        table = {
            str(at): _column([cells[r][at] if _is_filled(cells[r][at]) else None for r in rows])
            for at in columns
        }
        return FileRows(pa.table(table), lines, [])

    line = filled[position] + 1
    words += "" if line == 1 else f", header in row {line}"
    return OpenedFile([text.strip() for text in headers[position][0]], words, read, True)


def _json(data: bytes, path: Path) -> OpenedFile:
    """Return a JSON array of objects, or JSON lines, opened; names are in order of appearance."""
    records, lines, unusable = _json_records(data, path)
    names = list(dict.fromkeys(name for record in records for name in record))

    def read(columns: list[int]) -> FileRows:
        held = {}
        for at in columns:
            values = [record.get(names[at]) for record in records]
            if any(isinstance(value, list | dict) for value in values):
                raise UsageError(
                    f"the field {names[at]} of {path} holds lists or objects; give it one plain "
                    "value, and one object per order line"
                )
            held[str(at)] = _column(values)
        return FileRows(pa.table(held), lines, unusable)

    return OpenedFile(names, "JSON", read)


def _json_records(
    data: bytes, path: Path
) -> tuple[list[dict[str, Any]], np.ndarray, list[UnusableRow]]:
    """Return the objects, their lines (in an array, their positions), and what is no object."""
    plain = data.removeprefix(b"\xef\xbb\xbf")
    texts = plain.splitlines()
    try:
        whole = orjson.loads(plain)
    except orjson.JSONDecodeError as error:
        whole = None
        if plain.lstrip()[:1] == b"[":
            raise UsageError(f"{path} is not proper JSON: {_line(error)}") from None
    values = _objects(whole)
    if is_array := values is not None:
        texts = [b""] * len(values)
    else:
        values = [_loaded(text) if text.strip() else None for text in texts]
    good = [at for at, value in enumerate(values) if isinstance(value, dict)]
    if not good:
        raise UsageError(
            f"{path} holds JSON, but neither an array of objects nor an object on each line; "
            "write one object per order line"
        )
    unusable = [
        UnusableRow(at + 1, "not a JSON object", texts[at].decode())
        for at, value in enumerate(values)
        if not isinstance(value, dict) and (is_array or texts[at].strip())
    ]
    return [values[at] for at in good], np.array(good, dtype=np.int64) + 1, unusable


def _objects(whole: Any) -> list[Any] | None:
    """Return the values of an array, or of an object whose only list of objects they are."""
    if isinstance(whole, dict):
        lists = [each for each in whole.values() if isinstance(each, list)]
        return lists[0] if len(lists) == 1 and lists[0] and isinstance(lists[0][0], dict) else None
    return whole if isinstance(whole, list) else None


def _loaded(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _folder(path: Path, known: Known) -> OpenedFile:
    """Return the files of a folder as one, in the order of their names.

    Raises:
        UsageError: The folder is empty, or its files have different columns.
    """
    files = sorted(
        file for file in path.rglob("*") if file.is_file() and not file.name.startswith(_NO_PART)
    )
    if not files:
        raise UsageError(f"the folder {path} has no files")
    parts = [open_file(file, known) for file in files]
    return _as_one(parts, [file.name for file in files], path)


def _as_one(parts: Sequence[OpenedFile], titles: Sequence[str], path: Path) -> OpenedFile:
    """Return parts with the same columns as one file.

    Raises:
        UsageError: The parts have different columns.
    """
    if len(parts) == 1:
        return parts[0]
    names = parts[0].names
    for title, part in zip(titles, parts, strict=True):
        if sorted(part.names) != sorted(names):
            differing = sorted(set(names) ^ set(part.names))
            raise UsageError(
                f"the parts of {path} have different columns: {titles[0]} and {title} differ in "
                f"{_few(differing) or 'a column that occurs twice'}; give parts with "
                f"the same columns, or one file"
            )

    def read(columns: list[int]) -> FileRows:
        found = [part.read([part.names.index(names[at]) for at in columns]) for part in parts]
        return _joined(found, list(map(str, columns)))

    words = f"{len(parts)} parts, the first: {parts[0].words}"
    return OpenedFile(names, words, read, any(part.is_spreadsheet for part in parts))


def _joined(parts: Sequence[FileRows], names: list[str]) -> FileRows:
    """Return the rows of several parts as one file's, with line numbers that continue."""
    tables = [part.table.rename_columns(names) for part in parts]
    for name in names:
        kinds = {table.schema.field(name).type for table in tables if table.num_rows}
        if len(kinds) > 1 and not all(pa.types.is_null(kind) for kind in kinds):
            tables = [_as_text(table, name) for table in tables]
    schema = pa.unify_schemas([table.schema for table in tables])
    ends = np.cumsum([part.table.num_rows + len(part.unusable) for part in parts])
    starts = [0, *ends[:-1].tolist()]
    return FileRows(
        pa.concat_tables([table.cast(schema) for table in tables]),
        np.concatenate([part.lines + start for part, start in zip(parts, starts, strict=True)]),
        [
            UnusableRow(row.line + start, row.reason, row.text)
            for part, start in zip(parts, starts, strict=True)
            for row in part.unusable
        ],
    )


def _as_text(table: pa.Table, name: str) -> pa.Table:
    column = pa.array([_text(value) for value in table[name].to_pylist()], pa.string())
    return table.set_column(table.column_names.index(name), name, column)


def _rows(table: pa.Table, count: int) -> FileRows:
    return FileRows(table, np.arange(1, count + 1), [])


def _column(values: Sequence[Any]) -> pa.Array:
    """Return Python values as one Arrow column: flags, numbers, times, or else text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pa.array(values, pa.bool_() if kinds else pa.null())
    if kinds <= {int, float}:
        try:
            return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
        except (pa.ArrowException, OverflowError):
            pass  # a whole number beyond 64 bits
    elif kinds <= {datetime, date}:  # a spreadsheet's midnight is a date
        return pa.array(
            [datetime(v.year, v.month, v.day) if type(v) is date else v for v in values],
            pa.timestamp("us"),
        )
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    """Return a value as text; whole numbers have no point, times are ISO 8601."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


def _is_filled(cell: Any) -> bool:
    return cell is not None and cell != ""


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:5])
    return f"{shown}, …" if len(names) > 5 else shown


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
