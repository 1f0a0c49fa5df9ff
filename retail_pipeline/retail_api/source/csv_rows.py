"""Rows of a CSV file as columns of text, such that an unclosed quote spoils only its own line.

This module checks the shape of rows (RFC 4180 and UTF-8); `values` parses their values. A CSV
parser continues from an unclosed quote to the next quote and treats all lines between as one value.
Therefore the lines are counted: if there are as many rows as lines, each row is one line. Otherwise
the lines are examined one by one.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from retail_pipeline.errors import UsageError

_BLOCK_BYTES = 16 << 20
_MOST_LINES_OF_A_ROW = 1_000
_UNCLOSED = 'a quote (") is opened and not closed'
_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")

_QUOTED = rb'"(?:[^"]++|"")*+"'
_CLOSED_LINE = re.compile(
    rb'(?:%b[^,]*+|[^",][^,]*+|)(?:,(?:%b[^,]*+|[^",][^,]*+|))*+' % ((_QUOTED,) * 2)
)
"""A line in which every quote is closed, by the parser's own rules."""

_SPANNING_ROW = re.compile(
    rb'(?:%b|[^",\r\n][^,\r\n]*+|)(?:,(?:%b|[^",\r\n][^,\r\n]*+|))*+' % ((_QUOTED,) * 2)
)
"""A row whose newlines are all inside properly closed quotes."""


@dataclass(frozen=True)
class UnusableRow:
    """A row that cannot be split into values: its line in the file, the reason and its text."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class CsvRows:
    """The rows of a file.

    Attributes:
        table: The requested columns, as unchanged text.
        lines: The number of each row's first line in the file, 1-based without the header.
        unusable: Rows with another number of values, or with an unclosed quote. Empty lines are
            ignored.
    """

    table: pa.Table
    lines: np.ndarray
    unusable: list[UnusableRow]


def read_header(path: Path) -> list[str]:
    """Return the names of a CSV file's columns; none if the file is empty.

    Raises:
        UsageError: The file is not UTF-8, or a quote of its header is not closed.
    """
    with path.open("rb") as file:
        return _header(file.read(1 << 20), path)[0]


def read_rows(path: Path, columns: list[int]) -> CsvRows:
    """Return some columns of a CSV file; in the table, a column's name is its index as text.

    A quoted value may contain newlines. If a quote is not closed before the next line that looks
    like a row, only the quote's own line is unusable; the following lines are rows.

    Raises:
        UsageError: The file is not UTF-8, or a quote of its header is not closed.
        pyarrow.ArrowException: The file cannot be read.
    """
    data = path.read_bytes()
    names, start = _header(data, path)
    _check_encoding(data, start, path)
    body = data[start:].rstrip(b"\r\n")
    if not _has_empty_line(body) and _is_closed(_last_line(body)):
        lines = np.arange(1, _count_lines(body) + 1)
        rows = _parsed(body, lines, len(names), columns)
        if rows is not None:
            return rows
    return _read_closely(body, len(names), columns, path)


def _header(opening: bytes, path: Path) -> tuple[list[str], int]:
    """Return the names of the columns, and the byte offset of the first row."""
    before = len(opening) - len(opening.lstrip(b"\r\n"))
    end = re.compile(rb"\r\n?|\n|\Z").search(opening, before)
    line = opening[before : end.start()] if end else b""
    if opening.startswith(_OTHER_BOMS) or b"\0" in line:
        raise UsageError(f"the transactions file {path} is UTF-16 or binary; save it as UTF-8 CSV")
    text = line.removeprefix(_BOM)
    if not _CLOSED_LINE.fullmatch(text):
        raise UsageError(f"the header of {path} has a quote that is not closed; close or remove it")
    try:
        return next(csv.reader([text.decode()]), []), end.end() if end else 0
    except UnicodeDecodeError:
        raise _not_utf8(path, "its header") from None


def _check_encoding(data: bytes, start: int, path: Path) -> None:
    try:
        _ = data.isascii() or data.decode()
    except UnicodeDecodeError as error:
        line = _count_lines(data[start : error.start] + b"x")
        raise _not_utf8(path, f"line {line}") from None


def _not_utf8(path: Path, place: str) -> UsageError:
    return UsageError(
        f"the transactions file {path} is not UTF-8 ({place}); save it as UTF-8, "
        f"for example with: iconv -f WINDOWS-1252 -t UTF-8 {path.name}"
    )


def _read_closely(body: bytes, width: int, columns: list[int], path: Path) -> CsvRows:
    """Return the rows of a file in which some lines are empty, or belong to one row."""
    texts = body.splitlines(keepends=True)
    rows, lines, unclosed = [], [], []
    at = 0
    while at < len(texts):
        end = _end_of_row(texts, at, width)
        row = b"".join(texts[at:end]).rstrip(b"\r\n")
        if end is None:
            stray = texts[at].rstrip(b"\r\n").decode()
            unclosed.append(UnusableRow(at + 1, _UNCLOSED, stray))
        elif row:
            rows.append(row)
            lines.append(at + 1)
        at = end or at + 1
    found = _parsed(b"\n".join(rows), np.array(lines, dtype=np.int64), width, columns)
    if found is None:
        raise UsageError(
            f"the rows of {path} between its lines {lines[0]} and {lines[-1]} cannot be "
            "separated; put values with newlines or quotes into quotes"
        )
    return CsvRows(found.table, found.lines, [*found.unusable, *unclosed])


def _end_of_row(texts: list[bytes], at: int, width: int) -> int | None:
    """Return the index of the line after a row; None if the row has an unclosed quote.

    A following line with as many commas as a row counts as a row, not as part of a value.
    """
    if _is_closed(texts[at]):
        return at + 1
    for end in range(at + 1, min(len(texts), at + _MOST_LINES_OF_A_ROW)):
        if texts[end].count(b",") >= width - 1:
            return None
        if b'"' in texts[end]:
            row = b"".join(texts[at : end + 1]).rstrip(b"\r\n")
            if _SPANNING_ROW.fullmatch(row):
                return end + 1
    return None


def _parsed(body: bytes, lines: np.ndarray, width: int, columns: list[int]) -> CsvRows | None:
    """Return the rows that Arrow parses from some lines; None unless each line is one row."""
    wanted = [str(position) for position in columns]
    if not body:
        schema = pa.schema([(name, pa.string()) for name in wanted])
        return CsvRows(schema.empty_table(), np.empty(0, dtype=np.int64), [])
    misshapen: dict[int, UnusableRow] = {}

    def skip(row: pa_csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} values where {row.expected_columns} are expected"
        position = row.number - 1
        line = int(lines[min(position, len(lines) - 1)])
        misshapen[position] = UnusableRow(line, reason, row.text)
        return "skip"

    table = pa_csv.read_csv(
        pa.BufferReader(body),
        # In one thread, because only then Arrow reports the numbers of invalid rows.
        read_options=pa_csv.ReadOptions(
            use_threads=False,
            column_names=[str(position) for position in range(width)],
            block_size=min(len(body) + 1, _BLOCK_BYTES),
        ),
        parse_options=pa_csv.ParseOptions(
            newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=wanted,
            # As text, because type inference would drop the leading zeros of ids.
            column_types=dict.fromkeys(wanted, pa.string()),
            strings_can_be_null=False,
        ),
    )
    if table.num_rows + len(misshapen) != len(lines):
        return None
    shaped = np.delete(lines, list(misshapen)) if misshapen else lines
    return CsvRows(table, shaped, list(misshapen.values()))


def _is_closed(line: bytes) -> bool:
    return b'"' not in line or _CLOSED_LINE.fullmatch(line.rstrip(b"\r\n")) is not None


def _last_line(body: bytes) -> bytes:
    return body[max(body.rfind(b"\n"), body.rfind(b"\r")) + 1 :]


def _count_lines(data: bytes) -> int:
    """Return the number of lines; the last one may lack a line end."""
    returns = data.count(b"\r")
    ends = data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)
    return ends + (not data.endswith((b"\n", b"\r")))


def _has_empty_line(body: bytes) -> bool:
    if body.startswith((b"\n", b"\r")) or b"\n\n" in body:
        return True
    return b"\r" in body and (b"\n\r" in body or b"\r\r" in body)
