"""A file as a table of its known columns, in the few types that `values` parses.

`formats` opens the file, `column_names` finds its columns, `order_rules` applies its profile;
`values` and `lines` interpret the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import DEFAULT_READING, ReadingOptions
from retail_pipeline.retail_api.source.column_names import (
    REQUIRED,
    choose_columns,
    count_known,
    find_columns,
)
from retail_pipeline.retail_api.source.csv_rows import FileRows, UnusableRow
from retail_pipeline.retail_api.source.formats import OpenedFile, open_file
from retail_pipeline.retail_api.source.order_rules import LeftOut, apply_rules, sold_despite_status
from retail_pipeline.retail_api.source.profiles import (
    GENERIC,
    JoinedFile,
    Profile,
    load_profile,
    profile_of,
    with_profile,
)

_FIRST_DAY, _LAST_SERIAL = np.datetime64("1899-12-30", "us"), 2_958_466
"""Day 0 of spreadsheets, and the serial number after that of 9999-12-31."""

_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class FileTable:
    """The known columns of a file.

    Attributes:
        path: The file.
        table: The columns that have values, by their standard names: text (UTF-8), numbers,
            booleans, and times in `ts`.
        lines: The line number of each row, 1-based after the header.
        unusable: Rows that cannot be split into values.
        left_out: Lines that a rule of the profile does not count as sales; not in the table.
        sold: Lines that are sales although an unused status says that they are none.
        refunds: The number of rows that no line has, the last ones: the returns of refunded lines.
        words: How the file is read, such as "CSV, values separated by semicolons".
        columns: The file's name of each column, by its standard name.
    """

    path: Path
    table: pa.Table
    lines: np.ndarray
    unusable: list[UnusableRow]
    left_out: list[LeftOut] = field(default_factory=list)
    sold: list[LeftOut] = field(default_factory=list)
    refunds: int = 0
    words: str = ""
    columns: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of lines of the file."""
        gone = sum(len(each.lines) for each in self.left_out)
        return self.table.num_rows - self.refunds + gone + len(self.unusable)

    def with_refunds(self, kept: np.ndarray) -> Self:
        """Return the file with some of its refunds, by a mask of them."""
        rows = np.append(np.ones(self.table.num_rows - self.refunds, dtype=bool), kept)
        return replace(
            self,
            table=self.table.filter(pa.array(rows)),
            lines=self.lines[rows],
            refunds=int(kept.sum()),
        )

    def column(self, name: str) -> pa.ChunkedArray | None:
        """Return a column; None if the file has no such column or the column is empty."""
        return self.table[name] if name in self.table.column_names else None


def read_table(
    path: Path,
    options: ReadingOptions = DEFAULT_READING,
    columns: Sequence[str] | None = None,
) -> FileTable:
    """Return the known columns of a file.

    Args:
        path: The file, or a folder of files.
        options: How it is read.
        columns: The standard names of the columns that are needed; by default all. A profile with
            rules needs all.

    Raises:
        UsageError: The file is missing, unreadable or not UTF-8, or a required column is missing,
            is empty or has an unsupported type.
    """
    profile = profile_of(options)
    try:
        opened = _opened(path, profile, options.sheet)
        given = [name for name, _ in options.columns]
        wanted = choose_columns(opened.names, profile, path, given=given)
        is_part = columns is not None and not (profile.carry_down or profile.left_out)
        if is_part:
            wanted = {name: at for name, at in wanted.items() if name in (columns or ())}
        status = None if is_part else _unused_status(opened.names, wanted, profile)
        read = wanted if status is None else {**wanted, "status": status}
        rows = opened.read(list(dict.fromkeys(read.values())))
    except (pa.ArrowException, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise UsageError(f"the transactions file {path} cannot be read: {reason}") from error
    table = _simplified(rows, read, opened, path)
    names = {name: opened.names[at].strip() for name, at in wanted.items()}
    if is_part:
        return FileTable(path, table, rows.lines, rows.unusable, words=opened.words, columns=names)
    decimal = with_profile(options).decimal
    ruled = apply_rules(table, rows.lines, profile, path, decimal)
    table, sold = ruled.table, list[LeftOut]()
    if status is not None and "status" in table.column_names:
        name = opened.names[status].strip()
        sold = sold_despite_status(table, ruled.lines, name, path, decimal)
        table = table.drop_columns(["status"])
    return FileTable(
        path=path,
        table=table,
        lines=ruled.lines,
        unusable=rows.unusable,
        left_out=ruled.left_out,
        sold=sold,
        refunds=ruled.refunds,
        words=opened.words,
        columns=names,
    )


def _unused_status(names: Sequence[str], wanted: dict[str, int], profile: Profile) -> int | None:
    """Return the index of a column of statuses for which the profile has no rule."""
    if profile.refunded or profile.partly_refunded or "status" in profile.left_out:
        return None
    usual = find_columns(names, load_profile(GENERIC)).get("status")
    return None if usual in wanted.values() else usual


def _opened(path: Path, profile: Profile, sheet: str | None) -> OpenedFile:
    def known(names: Sequence[str]) -> int:
        return count_known(names, profile)

    if path.is_dir() and profile.join and (path / profile.join[0].file).exists():
        files = [open_file(path / each.file, known) for each in profile.join]
        return _joined_files(files, profile.join, path)
    return open_file(path, known, sheet)


def _joined_files(
    files: Sequence[OpenedFile], joins: Sequence[JoinedFile], path: Path
) -> OpenedFile:
    """Return files as one table, joined by the values of a column."""
    names, rows = files[0].names, files[0].read(list(range(len(files[0].names))))
    table = rows.table.rename_columns(names)
    for file, join in zip(files[1:], joins[1:], strict=True):
        by = str(join.by)
        if by not in file.names or by not in table.column_names:
            raise UsageError(f"{path / join.file} cannot be joined: there is no column {by}")
        other = file.read(list(range(len(file.names)))).table.rename_columns(file.names)
        if len(pc.unique(other[by])) != other.num_rows:
            raise UsageError(f"{path / join.file} has a {by} twice; each may have one row")
        at = pc.index_in(table[by], other[by])
        for name in file.names:
            if name not in table.column_names:
                table = table.append_column(name, other[name].take(at))
    table_names = table.column_names
    joined = table.rename_columns(list(map(str, range(len(table_names)))))
    words = f"{files[0].words}, {len(files)} files joined"

    def read(columns: list[int]) -> FileRows:
        return FileRows(joined.select(list(map(str, columns))), rows.lines, rows.unusable)

    return OpenedFile(table_names, words, read)


def _simplified(rows: FileRows, wanted: dict[str, int], opened: OpenedFile, path: Path) -> pa.Table:
    """Return rows as a table by standard names, in simple types, without empty columns."""
    table, held = rows.table, {}
    for name, at in wanted.items():
        column = table[str(at)]
        if opened.is_spreadsheet and name == "ts":
            column = _days_of_serials(column)
        column = _simple(column, name, path)
        if not pa.types.is_null(column.type):
            held[name] = column
        elif name in REQUIRED and table.num_rows:
            raise UsageError(f"the column {name} of {path} holds no value at all; fill it")
    if not table.num_rows:
        held = {name: pa.chunked_array([], pa.string()) for name in wanted}
    return pa.table(held)


def _days_of_serials(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a spreadsheet's numbers of days since 1899-12-30 as times; others unchanged."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return column
    days = column.cast(pa.float64()).to_numpy()
    if not np.all(np.isnan(days) | ((days >= 1) & (days < _LAST_SERIAL))):
        return column
    passed = np.rint(np.nan_to_num(days) * _MICROSECONDS_A_DAY / 1e3) * 1e3  # to the millisecond
    times = _FIRST_DAY + passed.astype("timedelta64[us]")
    return pa.chunked_array([pa.array(times, mask=np.isnan(days))])


def _simple(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """Return a column as text, numbers, booleans or (in `ts`) times; of null type if it is empty.

    Raises:
        UsageError: The column holds lists or objects, or text that is not UTF-8.
    """
    given = column.type
    if isinstance(given, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], given.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if is_number or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column
    if pa.types.is_temporal(kind) and name == "ts":
        return column
    if pa.types.is_nested(kind):
        raise UsageError(f"the column {name} of {path} holds {given}; give it one plain value")
    try:
        text = column.cast(pa.string())
        text.validate(full=True)  # Parquet readers do not check that text is UTF-8
    except pa.ArrowException as error:
        raise UsageError(
            f"the column {name} of {path} holds {given} that is not UTF-8 text; convert it to text"
        ) from error
    return text
