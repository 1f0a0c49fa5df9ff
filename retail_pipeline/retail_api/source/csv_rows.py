"""Rows of a CSV file as columns of text: no row takes in the lines after it.

Only the shape of rows is judged here (RFC 4180 and UTF-8); what their values mean is in
`file_lines`. A parser alone reads on from a quote that nobody closes until it meets another one and
takes all lines between for one value. So the lines of each block are counted, and where a row spans
several of them it is looked at closely.
"""

import csv
import re
from dataclasses import dataclass, field
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
"""A line that leaves no quote open, to the letter as the parser reads quotes."""

_SPANNING_ROW = re.compile(
    rb'(?:%b|[^",\r\n][^,\r\n]*+|)(?:,(?:%b|[^",\r\n][^,\r\n]*+|))*+' % ((_QUOTED,) * 2)
)
"""A row with newlines inside proper quotes only."""


@dataclass(frozen=True)
class UnusableRow:
    """A row that has no values: its line in the file, the reason and its text."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class CsvRows:
    """The rows of a file.

    Attributes:
        table: The columns asked for, verbatim as text.
        lines: The line of each row in the file (of its first line, if it spans several), 1-based,
            the header not counted.
        unusable: Rows of another shape. Empty lines are no rows.
    """

    table: pa.Table
    lines: np.ndarray
    unusable: list[UnusableRow]


def read_header(path: Path) -> list[str]:
    """The names of a CSV file's columns; none where it is empty.

    Raises:
        UsageError: The file is not UTF-8, or a quote of its header is not closed.
    """
    return _header(path)[0]


def read_rows(path: Path, columns: list[int]) -> CsvRows:
    """Read columns, given by their positions; they are named by them in the table.

    A quoted value may hold newlines. A row whose quote does not close, or closes only where lines
    that look like rows have passed, is unusable alone: the lines after it are rows of their own.

    Raises:
        UsageError: The file is not UTF-8, or a quote of its header is not closed.
        pyarrow.ArrowException: The file cannot be read.
    """
    names, start = _header(path)
    rows = _Rows(path, len(names), [str(column) for column in columns])
    with path.open("rb") as file:
        file.seek(start)
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            data = rest + block
            end = _end_of_last_line(data)
            rest = rows.take(data[:end], is_last=False) + data[end:]
        rows.take(rest, is_last=True)
    return rows.result()


def _header(path: Path) -> tuple[list[str], int]:
    """Names of the columns, and where the bytes of the rows start."""
    with path.open("rb") as file:
        opening = file.read(1 << 20)
    before = len(opening) - len(opening.lstrip(b"\r\n"))
    line = next(iter(opening[before:].splitlines(keepends=True)), b"")
    if opening.startswith(_OTHER_BOMS) or b"\0" in line:
        raise UsageError(f"the transactions file {path} is UTF-16 or binary; save it as UTF-8 CSV")
    text = line.rstrip(b"\r\n").removeprefix(_BOM)
    if not _CLOSED_LINE.fullmatch(text):
        raise UsageError(f"the header of {path} has a quote that is not closed; close or remove it")
    try:
        return next(csv.reader([text.decode()]), []), before + len(line)
    except UnicodeDecodeError:
        raise _not_utf8(path, "its header") from None


def _not_utf8(path: Path, place: str) -> UsageError:
    return UsageError(
        f"the transactions file {path} is not UTF-8 ({place}); save it as UTF-8, "
        f"for example with: iconv -f WINDOWS-1252 -t UTF-8 {path.name}"
    )


@dataclass
class _Rows:
    """Takes a file block by block."""

    path: Path
    width: int
    columns: list[str]
    _tables: list[pa.Table] = field(default_factory=list)
    _lines: list[np.ndarray] = field(default_factory=list)
    _unusable: list[UnusableRow] = field(default_factory=list)
    _passed: int = 0

    def take(self, data: bytes, *, is_last: bool) -> bytes:
        """Read whole lines; return the last ones where a row may go on after them."""
        if not data:
            return b""
        self._check_encoding(data)
        count = _count_lines(data)
        lines = np.arange(1, count + 1) + self._passed
        if not _has_empty_line(data) and _is_closed(_last_line(data)):
            parsed = self._parsed(data, lines)
            if parsed is not None:
                self._passed += count
                self._keep(*parsed)
                return b""
        return self._take_closely(data, is_last=is_last)

    def result(self) -> CsvRows:
        """All rows taken."""
        schema = pa.schema([(name, pa.string()) for name in self.columns])
        return CsvRows(
            pa.concat_tables([schema.empty_table(), *self._tables]),
            np.concatenate([np.empty(0, dtype=np.int64), *self._lines]),
            self._unusable,
        )

    def _check_encoding(self, data: bytes) -> None:
        try:
            _ = data.isascii() or data.decode()
        except UnicodeDecodeError as error:
            line = self._passed + _count_lines(data[: error.start] + b"x")
            raise _not_utf8(self.path, f"line {line}") from None

    def _take_closely(self, data: bytes, *, is_last: bool) -> bytes:
        """Read lines some of which are empty or belong together."""
        texts = data.splitlines(keepends=True)
        rows, lines = [], []
        at = 0
        while at < len(texts):
            end = self._end_of_row(texts, at)
            if end is None and not is_last:
                break
            row = b"".join(texts[at:end]).rstrip(b"\r\n") if end else b""
            if row:
                rows.append(row)
                lines.append(self._passed + at + 1)
            if not end:
                stray = texts[at].rstrip(b"\r\n").decode(errors="replace")
                self._unusable.append(UnusableRow(self._passed + at + 1, _UNCLOSED, stray))
            at = end or at + 1
        self._passed += at
        if rows:
            parsed = self._parsed(b"\n".join(rows) + b"\n", np.array(lines))
            if parsed is None:
                raise UsageError(
                    f"the rows of {self.path} between its lines {lines[0]} and {lines[-1]} "
                    "cannot be told apart; put newlines and quotes of values into quotes"
                )
            self._keep(*parsed)
        return b"".join(texts[at:])

    def _end_of_row(self, texts: list[bytes], at: int) -> int | None:
        """Where a row ends: 0 if its quote is a stray one, None if the lines to tell are missing.

        A line that has the commas of a row is taken for one and not for the inside of a value.
        """
        if _is_closed(texts[at]):
            return at + 1
        for end in range(at + 1, min(len(texts), at + _MOST_LINES_OF_A_ROW)):
            if texts[end].count(b",") >= self.width - 1:
                return 0
            if b'"' in texts[end]:
                row = b"".join(texts[at : end + 1]).rstrip(b"\r\n")
                if _SPANNING_ROW.fullmatch(row):
                    return end + 1
        return None if len(texts) < at + _MOST_LINES_OF_A_ROW else 0

    def _parsed(
        self, data: bytes, lines: np.ndarray
    ) -> tuple[pa.Table, np.ndarray, list[UnusableRow]] | None:
        """The rows of lines; None where they are not as many."""
        misshapen: dict[int, UnusableRow] = {}

        def keep_aside(row: pa_csv.InvalidRow) -> str:
            reason = f"{row.actual_columns} values where {row.expected_columns} are expected"
            position = row.number - 1
            line = int(lines[min(position, len(lines) - 1)])
            misshapen[position] = UnusableRow(line, reason, row.text)
            return "skip"

        table = pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(
                use_threads=False,
                column_names=[str(position) for position in range(self.width)],
                block_size=len(data) + 1,
            ),
            parse_options=pa_csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=keep_aside
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=self.columns,
                # As text: type inference would eat the leading zeros of ids.
                column_types=dict.fromkeys(self.columns, pa.string()),
                strings_can_be_null=False,
            ),
        )
        if table.num_rows + len(misshapen) != len(lines):
            return None
        shaped = np.delete(lines, list(misshapen)) if misshapen else lines
        return table, shaped, list(misshapen.values())

    def _keep(self, table: pa.Table, lines: np.ndarray, unusable: list[UnusableRow]) -> None:
        self._tables.append(table)
        self._lines.append(lines)
        self._unusable.extend(unusable)


def _is_closed(line: bytes) -> bool:
    return b'"' not in line or _CLOSED_LINE.fullmatch(line.rstrip(b"\r\n")) is not None


def _end_of_last_line(data: bytes) -> int:
    """The length of the whole lines; a carriage return at the very end may be half a newline."""
    return data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, len(data) - 1) + 1


def _last_line(data: bytes) -> bytes:
    end = len(data) - data.endswith((b"\n", b"\r"))
    end -= data.endswith(b"\r\n")
    start = data.rfind(b"\n", 0, end) + 1
    return data[max(start, data.rfind(b"\r", start, end) + 1) : end]


def _count_lines(data: bytes) -> int:
    returns = data.count(b"\r")
    ends = data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)
    return ends + (not data.endswith((b"\n", b"\r")))


def _has_empty_line(data: bytes) -> bool:
    if data.startswith((b"\n", b"\r")) or b"\n\n" in data:
        return True
    return b"\r" in data and (b"\n\r" in data or b"\r\r" in data)
