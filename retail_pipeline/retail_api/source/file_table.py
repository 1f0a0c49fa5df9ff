"""A Parquet or CSV file as a table of its known columns, in the few types that `values` parses.

The module handles file formats and column names; `values` and `lines` interpret the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.source.csv_rows import UnusableRow, read_header, read_rows

REQUIRED = ("customer_id", "ts", "amount")
ORDER_ID_NAMES = ("order_id", "invoice")
OPTIONAL = ("product_id", "quantity", "unit_price", "country", "currency", "is_return")


@dataclass(frozen=True)
class FileTable:
    """The known columns of a file.

    Attributes:
        path: The file.
        table: The columns that have values, by their standard names: text (UTF-8), numbers,
            booleans, and times in `ts`.
        lines: The line number of each row, 1-based without the header.
        unusable: Rows of a CSV file that cannot be split into values.
    """

    path: Path
    table: pa.Table
    lines: np.ndarray
    unusable: list[UnusableRow]

    def column(self, name: str) -> pa.ChunkedArray | None:
        """Return a column; None if the file has no such column or the column is empty."""
        return self.table[name] if name in self.table.column_names else None


def read_table(path: Path, columns: Sequence[str] | None = None) -> FileTable:
    """Return the known columns of a Parquet or CSV file, or some of them.

    Raises:
        UsageError: The file is missing, unreadable or not UTF-8, or a required column is missing,
            is empty or has an unsupported type.
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
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(
            f"the transactions file {path} cannot be read as Parquet or UTF-8 CSV: {reason}"
        ) from error


def _csv(path: Path, columns: Sequence[str] | None) -> FileTable:
    header = read_header(path)
    wanted = _wanted_columns(header, path, columns)
    rows = read_rows(path, [header.index(given) for given in wanted.values()])
    return FileTable(path, rows.table.rename_columns(list(wanted)), rows.lines, rows.unusable)


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
    return FileTable(path, pa.table(held), np.arange(1, table.num_rows + 1), [])


def _wanted_columns(names: list[str], path: Path, columns: Sequence[str] | None) -> dict[str, str]:
    """Return the file's spelling of each column that is used, by the column's standard name."""
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
