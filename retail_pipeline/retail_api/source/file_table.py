"""The known columns of a Parquet or CSV file, in the few types that lines are checked in.

Which columns there are and how they are stored belongs here; what their values mean is in
`file_lines`, how CSV rows are told apart in `csv_rows`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.source.csv_rows import (
    UnusableRow,
    read_header,
    read_rows,
)

REQUIRED = ("customer_id", "ts", "amount")
ORDER_ID_NAMES = ("order_id", "invoice")
OPTIONAL = ("product_id", "quantity", "unit_price", "country", "currency", "is_return")


@dataclass(frozen=True)
class FileTable:
    """What is read of a file.

    Attributes:
        table: The known columns that hold anything, by their own names: text (UTF-8), numbers,
            booleans, and times in `ts`.
        lines: The line of each row in the file, 1-based, a header not counted.
        unusable: Rows of another shape (CSV).
    """

    table: pa.Table
    lines: np.ndarray
    unusable: list[UnusableRow]


def read_table(path: Path, columns: Sequence[str] | None = None) -> FileTable:
    """Read the known columns of a Parquet or CSV file, or some of them.

    Raises:
        UsageError: The file is missing, unreadable or not UTF-8, lacks a required column, has one
            that is empty, or holds one in a type that says nothing.
    """
    if not path.exists():
        raise UsageError(f"the transactions file {path} does not exist; check its path")
    if not path.is_file():
        raise UsageError(f"{path} is not a file; give a Parquet or CSV file of order lines")
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        return _parquet(path, columns) if is_parquet else _csv(path, columns)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(
            f"the transactions file {path} cannot be read as Parquet or UTF-8 CSV: "
            f"{_first_line(error)}"
        ) from error


def _csv(path: Path, columns: Sequence[str] | None) -> FileTable:
    header = read_header(path)
    wanted = _wanted_columns(header, path, columns)
    rows = read_rows(path, [header.index(given) for given in wanted.values()])
    return FileTable(rows.table.rename_columns(list(wanted)), rows.lines, rows.unusable)


def _parquet(path: Path, columns: Sequence[str] | None) -> FileTable:
    wanted = _wanted_columns(pq.read_schema(path).names, path, columns)
    table = pq.read_table(path, columns=list(wanted.values())).select(list(wanted.values()))
    held = {}
    for name, given in wanted.items():
        column = _simple(table[given], name, path)
        if not pa.types.is_null(column.type):
            held[name] = column
        elif name in REQUIRED and table.num_rows:
            raise UsageError(f"the column {name} of {path} holds no value at all; fill it")
    if not table.num_rows:
        held = {name: pa.chunked_array([], pa.string()) for name in wanted}
    return FileTable(pa.table(held), np.arange(1, table.num_rows + 1), [])


def _wanted_columns(names: list[str], path: Path, columns: Sequence[str] | None) -> dict[str, str]:
    """The file's names of the columns that are used, by their own names."""
    plain = [name.strip().removeprefix("\ufeff") for name in names]
    missing = [name for name in REQUIRED if name not in plain]
    if missing:
        found = ", ".join(names) or "none"
        raise UsageError(
            f"the transactions file {path} has no column {' and no column '.join(missing)}; "
            f"it needs {', '.join(REQUIRED)} (its columns: {found}); rename or add it"
        )
    order_id = next((name for name in ORDER_ID_NAMES if name in plain), "order_id")
    used = {name: name for name in (*REQUIRED, *OPTIONAL)} | {"order_id": order_id}
    twice = [name for name in used.values() if plain.count(name) > 1]
    if twice:
        raise UsageError(
            f"the transactions file {path} has the column {twice[0]} twice; remove or rename one"
        )
    return {
        name: names[plain.index(given)]
        for name, given in used.items()
        if given in plain and (columns is None or name in columns)
    }


def _simple(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """A column as text, numbers, booleans or (in `ts`) times; the null type where it is empty.

    Raises:
        UsageError: The column holds something else, or text that is not UTF-8.
    """
    given = column.type
    if isinstance(given, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], given.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if _is_text(kind):
        return _utf8(column, given, name, path)
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_temporal(kind):
        return column if name == "ts" else _utf8(column, given, name, path)
    if pa.types.is_nested(kind):
        raise UsageError(f"the column {name} of {path} holds {given}; give it one plain value")
    return column


def _is_text(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
            pa.types.is_binary_view,
        )
    )


def _utf8(column: pa.ChunkedArray, given: pa.DataType, name: str, path: Path) -> pa.ChunkedArray:
    """Text that is known to be UTF-8: Parquet readers take a file's word for it."""
    try:
        text = column.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowException as error:
        raise UsageError(
            f"the column {name} of {path} holds {given} that is not UTF-8 text; convert it to text"
        ) from error
    return text


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
