"""Rows of a CSV file as columns of text, such that an unclosed quote spoils only its own line.

This module checks the shape of rows (RFC 4180 and UTF-8) and finds the header and the delimiter;
`values` parses the values. A CSV parser continues from an unclosed quote to the next quote and
treats all lines between as one value. Therefore the lines are counted: if there are as many rows as
lines, each row is one line. Otherwise the lines are examined one by one.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from retail_pipeline.errors import UsageError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
"""The characters that may separate values, and their names."""

_BLOCK_BYTES = 16 << 20
_MOST_LINES_OF_A_ROW = 1_000
_MOST_TITLE_LINES = 20
_FEWEST_NAMES = 3
_UNCLOSED = 'a quote (") is opened and not closed'
_BOM = b"\xef\xbb\xbf"
_SEP_LINE = re.compile(r"sep=(.)", re.IGNORECASE)
_LINE = re.compile(rb"([^\r\n]*+)(?:\r\n?|\n|\Z)")

_QUOTED = rb'"(?:[^"]++|"")*+"'


@cache
def _closed_line(delimiter: str) -> re.Pattern[bytes]:
    """Return the pattern of a line in which every quote is closed, by the parser's own rules."""
    mark = re.escape(delimiter).encode()
    value = rb'(?:%b[^%b]*+|[^"%b][^%b]*+|)' % (_QUOTED, mark, mark, mark)
    return re.compile(value + rb"(?:%b%b)*+" % (mark, value))


@cache
def _spanning_row(delimiter: str) -> re.Pattern[bytes]:
    """Return the pattern of a row whose newlines are all inside properly closed quotes."""
    mark = re.escape(delimiter).encode()
    value = rb'(?:%b|[^"%b\r\n][^%b\r\n]*+|)' % (_QUOTED, mark, mark)
    return re.compile(value + rb"(?:%b%b)*+" % (mark, value))


@dataclass(frozen=True)
class CsvLayout:
    """Where the rows of a CSV file begin, and how their values are separated.

    Attributes:
        names: The names of the columns.
        delimiter: The character between values.
        start: The byte offset of the first row.
        header_line: The line of the header, 1-based; lines before it are a title or `sep=`.
    """

    names: list[str]
    delimiter: str
    start: int
    header_line: int


@dataclass(frozen=True)
class UnusableRow:
    """A row that cannot be split into values: its line in the file, the reason and its text."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class FileRows:
    """The rows of a file, of any format.

    Attributes:
        table: The requested columns, named by their indices; in CSV as unchanged text.
        lines: The number of each row's first line in the file, 1-based after the header.
        unusable: Rows that cannot be split into values, such as one with an unclosed quote. Empty
            lines are ignored.
    """

    table: pa.Table
    lines: np.ndarray
    unusable: list[UnusableRow]


def check_encoding(data: bytes, path: Path) -> None:
    """Raise a UsageError that says how to convert the file if its content is not UTF-8."""
    try:
        _ = data.isascii() or data.decode()
    except UnicodeDecodeError as error:
        line = _count_lines(data[: error.start] + b"x")
        raise UsageError(
            f"line {line} of {path} is not UTF-8; save the file as UTF-8, for example with: "
            f"iconv -f WINDOWS-1252 -t UTF-8 '{path.name}' > utf8.csv"
        ) from None


def find_layout(data: bytes, path: Path, known: Callable[[Sequence[str]], int]) -> CsvLayout:
    """Return the header (see `find_header`) and the delimiter of a CSV file.

    Args:
        data: The content, UTF-8; may begin with a byte order mark, a line `sep=;` or a title.
        path: The file, for messages.
        known: Returns how many of some column names have a meaning.

    Raises:
        UsageError: The file is binary, or a quote of its header is not closed.
    """
    opening = list(_opening_lines(data, path))
    if not opening:
        return CsvLayout([], ",", len(data), 1)
    separators = list(DELIMITERS)
    if given := _SEP_LINE.fullmatch(opening[0][1]):
        separators, opening = [given[1]], opening[1:]
    splits = [[_split(text, mark) for mark in separators] for _, text, _ in opening]
    at, which = find_header(splits, known)
    number, text, end = opening[at]
    if not _closed_line(separators[which]).fullmatch(text.encode()):
        raise UsageError(f"the header of {path} has a quote that is not closed; close or remove it")
    names = splits[at][which]
    if len(names) == 1 and any(mark in names[0] for mark in separators):
        raise UsageError(f"each line of {path} is in quotes as a whole; write it without these")
    return CsvLayout(names, separators[which], end, number)


def find_header(
    splits: Sequence[Sequence[list[str]]], known: Callable[[Sequence[str]], int]
) -> tuple[int, int]:
    """Return the index of the header among a file's first lines, and of its way to split a line.

    The header is the line with the most known names, if all lines before it have fewer values. If
    no line has a known name, it is the first one with three values or more, or else the first.

    Args:
        splits: The values of each line, for each way to split it; there is at least one line.
        known: Returns how many of some column names have a meaning.
    """
    found = most = None
    for at, ways in enumerate(splits):
        merits = [(known(values), _width(values)) for values in ways]
        way = max(range(len(ways)), key=merits.__getitem__)
        count, width = merits[way]
        is_widest = all(_width(earlier[way]) < width for earlier in splits[:at])
        is_first_wide = most is None or (not most[0] and most[1] < _FEWEST_NAMES <= width)
        if is_first_wide or (most is not None and count > most[0] and is_widest):
            found, most = (at, way), (count, width)
    assert found is not None
    return found


def _opening_lines(data: bytes, path: Path) -> Iterator[tuple[int, str, int]]:
    """Yield the first lines that are not empty: number, text and the offset of the next line."""
    at = number = 0
    while at < len(data) and number < _MOST_TITLE_LINES:
        match = _LINE.match(data, at)
        assert match is not None
        line, at, number = match[1].removeprefix(_BOM), match.end(), number + 1
        if number == 1 and b"\0" in line:
            raise UsageError(f"{path} is binary, or UTF-16 without its mark; save it as UTF-8 CSV")
        if text := line.decode().strip("\r\n "):
            yield number, text, at


def _width(names: list[str]) -> int:
    return sum(map(bool, names))


def _split(line: str, delimiter: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]


def read_rows(data: bytes, layout: CsvLayout, columns: list[int], path: Path) -> FileRows:
    """Return some columns of a CSV file; in the table, a column's name is its index as text.

    A quoted value may contain newlines. If a quote is not closed before the next line that looks
    like a row, only the quote's own line is unusable; the following lines are rows.

    Args:
        data: The content, UTF-8.
        layout: Its header and delimiter, from `find_layout`.
        columns: The indices of the columns.
        path: The file, for messages.

    Raises:
        UsageError: Rows cannot be separated.
        pyarrow.ArrowException: The file cannot be read.
    """
    body = data[layout.start :].rstrip(b"\r\n")
    if not _has_empty_line(body) and _is_closed(_last_line(body), layout.delimiter):
        lines = np.arange(1, _count_lines(body) + 1)
        rows = _parsed(body, lines, layout, columns)
        if rows is not None:
            return rows
    return _read_closely(body, layout, columns, path)


def _read_closely(body: bytes, layout: CsvLayout, columns: list[int], path: Path) -> FileRows:
    """Return the rows of a file that has empty lines, or rows of several lines."""
    texts = body.splitlines(keepends=True)
    rows, lines, unclosed = [], [], []
    at = 0
    while at < len(texts):
        end = _end_of_row(texts, at, layout)
        row = b"".join(texts[at:end]).rstrip(b"\r\n")
        if end is None:
            stray = texts[at].rstrip(b"\r\n").decode()
            unclosed.append(UnusableRow(at + 1, _UNCLOSED, stray))
        elif row:
            rows.append(row)
            lines.append(at + 1)
        at = end or at + 1
    found = _parsed(b"\n".join(rows), np.array(lines, dtype=np.int64), layout, columns)
    if found is None:
        raise UsageError(
            f"the rows of {path} between its lines {lines[0]} and {lines[-1]} cannot be "
            "separated; put values with newlines or quotes into quotes"
        )
    return FileRows(found.table, found.lines, [*found.unusable, *unclosed])


def _end_of_row(texts: list[bytes], at: int, layout: CsvLayout) -> int | None:
    """Return the index of the line after a row; None if the row has an unclosed quote.

    A following line with as many delimiters as a row counts as a row, not as part of a value.
    """
    mark, least = layout.delimiter.encode(), len(layout.names) - 1
    if _is_closed(texts[at], layout.delimiter):
        return at + 1
    for end in range(at + 1, min(len(texts), at + _MOST_LINES_OF_A_ROW)):
        if texts[end].count(mark) >= least:
            return None
        if b'"' in texts[end]:
            row = b"".join(texts[at : end + 1]).rstrip(b"\r\n")
            if _spanning_row(layout.delimiter).fullmatch(row):
                return end + 1
    return None


def _parsed(
    body: bytes, lines: np.ndarray, layout: CsvLayout, columns: list[int]
) -> FileRows | None:
    """Return the rows that Arrow parses from some lines; None unless each line is one row."""
    wanted = [str(position) for position in columns]
    if not body:
        schema = pa.schema([(name, pa.string()) for name in wanted])
        return FileRows(schema.empty_table(), np.empty(0, dtype=np.int64), [])
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
            column_names=[str(position) for position in range(len(layout.names))],
            block_size=min(len(body) + 1, _BLOCK_BYTES),
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=layout.delimiter,
            newlines_in_values=True,
            ignore_empty_lines=False,
            invalid_row_handler=skip,
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
    return FileRows(table, shaped, list(misshapen.values()))


def _is_closed(line: bytes, delimiter: str) -> bool:
    return b'"' not in line or _closed_line(delimiter).fullmatch(line.rstrip(b"\r\n")) is not None


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
