"""The lines of a transactions file: read, checked, and the bad ones set aside with their reasons.

Columns and values of single lines belong here; what makes an order of lines is in
`transactions_file`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.records import REJECTED_COLUMNS

REQUIRED = ("customer_id", "ts", "amount")
ORDER_ID_NAMES = ("order_id", "invoice")
OPTIONAL = ("product_id", "quantity", "unit_price", "country", "currency", "is_return")

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_DATE = r"^\s*\d{4}-?\d{2}-?\d{2}"
_NO_TIME = np.iinfo(np.int64).min
"""How NumPy writes a missing time."""

_YES = ("true", "t", "yes", "y", "1")


@dataclass(frozen=True)
class FileLines:
    """The good lines of a file as columns of equal length, and the bad ones.

    Attributes:
        customer: Ids as text.
        time: UTC, `datetime64[us]`.
        amount: Net value of the line, finite.
        text: Columns `order_id, product_id, country` as text with nulls (null where absent).
        number: Columns `quantity, unit_price` as numbers with NaN (NaN where absent).
        is_return: Marked as a return by the file.
        currency: The one currency of the file, or None.
        rejected: Bad lines: `record_hash, record, reason, line, transacted_at`.
        lines: Lines in the file, good and bad.
        nulled: Unreadable optional values by column; their lines are served without them.
    """

    customer: pa.Array
    time: np.ndarray
    amount: np.ndarray
    text: dict[str, pa.Array]
    number: dict[str, np.ndarray]
    is_return: np.ndarray
    currency: str | None
    rejected: pd.DataFrame
    lines: int
    nulled: dict[str, int]


def read_lines(path: Path) -> FileLines:
    """Read and check a Parquet or CSV file of order lines.

    Raises:
        UsageError: The file is missing, unreadable or empty, lacks a required column, has no usable
            line, or holds more than one currency.
    """
    table, misshapen = _read_table(path, columns=None)
    lines = table.num_rows + len(misshapen)
    if not lines:
        raise UsageError(f"the transactions file {path} has no lines")
    good, rejected, times, amounts = _checked(table, misshapen, path)
    if not len(times):
        raise UsageError(
            f"none of the {lines} lines of {path} can be used; "
            f"line {rejected['line'].iloc[0]}: {rejected['reason'].iloc[0]}"
        )
    nulled: dict[str, int] = {}
    return FileLines(
        customer=_text(good["customer_id"]),
        time=times,
        amount=amounts,
        text={name: _optional_text(good, name) for name in ("order_id", "product_id", "country")},
        number={name: _optional(good, name, path, nulled) for name in ("quantity", "unit_price")},
        is_return=_flags(good["is_return"])
        if "is_return" in good.column_names
        else np.zeros(good.num_rows, dtype=bool),
        currency=_one_currency(good, path),
        rejected=rejected,
        lines=lines,
        nulled=nulled,
    )


def last_day(path: Path) -> date:
    """The day of the last readable timestamp in a file, reading that column alone.

    Raises:
        UsageError: As for `read_lines`, and where no timestamp is readable.
    """
    table, _ = _read_table(path, columns=("ts",))
    times = _times(table["ts"], path)
    known = times[~np.isnat(times)]
    if not len(known):
        raise UsageError(f"the column ts of {path} has no readable time; use 2011-06-01 12:30:00")
    return known.max().astype("datetime64[D]").item()


def _read_table(path: Path, columns: tuple[str, ...] | None) -> tuple[pa.Table, dict[int, str]]:
    """The known columns of a file (or some of them), and the text of rows of another shape."""
    if not path.exists():
        raise UsageError(f"the transactions file {path} does not exist; check its path")
    if not path.is_file():
        raise UsageError(f"{path} is not a file; give a Parquet or CSV file of order lines")
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        names = pq.read_schema(path).names if is_parquet else _csv_header(path)
        wanted = _wanted_columns(names, path)
        take = [wanted[name] for name in columns] if columns else list(wanted.values())
        misshapen: dict[int, str] = {}
        table = pq.read_table(path, columns=take) if is_parquet else _csv(path, take, misshapen)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(
            f"the transactions file {path} cannot be read as Parquet or UTF-8 CSV: "
            f"{_first_line(error)}"
        ) from error
    known = {given: name for name, given in wanted.items()}
    return table.rename_columns([known[given] for given in table.column_names]), misshapen


def _csv_header(path: Path) -> list[str]:
    try:
        with pa_csv.open_csv(path, parse_options=_csv_shape({})) as reader:
            return list(reader.schema.names)
    except StopIteration:
        return []


def _csv(path: Path, columns: list[str], misshapen: dict[int, str]) -> pa.Table:
    """Read columns verbatim as text: type inference would eat the leading zeros of ids."""
    return pa_csv.read_csv(
        path,
        read_options=pa_csv.ReadOptions(use_threads=False),
        parse_options=_csv_shape(misshapen),
        convert_options=pa_csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=False,
        ),
    )


def _csv_shape(misshapen: dict[int, str]) -> pa_csv.ParseOptions:
    def keep_aside(row: pa_csv.InvalidRow) -> str:
        text = f"{row.actual_columns} values where {row.expected_columns} are expected"
        header = 1
        misshapen[(row.number or 0) - header] = f"{text}\n{row.text}"
        return "skip"

    return pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep_aside)


def _wanted_columns(names: list[str], path: Path) -> dict[str, str]:
    """The file's names of the columns that are used, by their own names."""
    given = {name.strip().removeprefix("\ufeff"): name for name in names}
    missing = [name for name in REQUIRED if name not in given]
    if missing:
        found = ", ".join(names) or "none"
        raise UsageError(
            f"the transactions file {path} has no column {' and no column '.join(missing)}; "
            f"it needs {', '.join(REQUIRED)} (its columns: {found}); rename or add it"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"the transactions file {path} has the column {twice[0]} twice")
    wanted = {name: given[name] for name in (*REQUIRED, *OPTIONAL) if name in given}
    order_id = next((name for name in ORDER_ID_NAMES if name in given), None)
    return wanted | ({"order_id": given[order_id]} if order_id else {})


def _checked(
    table: pa.Table, misshapen: dict[int, str], path: Path
) -> tuple[pa.Table, pd.DataFrame, np.ndarray, np.ndarray]:
    """Good lines, rejected lines, and the times and amounts of the good ones."""
    times = _times(table["ts"], path)
    amounts = _numbers(table["amount"], "amount", path)
    no_customer = _text(table["customer_id"]).is_null().to_numpy(zero_copy_only=False)
    bad = no_customer | np.isnat(times) | ~np.isfinite(amounts)
    position = np.flatnonzero(bad)
    numbers = np.arange(1, len(bad) + len(misshapen) + 1)
    numbers = np.delete(numbers, np.array(list(misshapen), dtype=np.int64) - 1)
    records = [_plain(record) for record in table.take(pa.array(position)).to_pylist()]
    reasons = [
        _reason(record, no_customer[i], np.isnat(times[i]), not np.isfinite(amounts[i]))
        for record, i in zip(records, position, strict=True)
    ]
    rows = list(zip(records, reasons, numbers[position].tolist(), times[position], strict=True))
    for number, text in misshapen.items():
        reason, _, raw = text.partition("\n")
        rows.append(({"text": raw}, reason, number, np.datetime64("NaT")))
    good = table.filter(pa.array(~bad)) if bad.any() else table
    return good, _rejected_frame(rows), times[~bad], amounts[~bad]


def _reason(record: dict[str, Any], no_customer: bool, no_time: bool, no_amount: bool) -> str:
    faults = []
    if no_customer:
        faults.append("customer_id is missing")
    if no_time:
        faults.append(_fault(record["ts"], "ts", "a date"))
    if no_amount:
        faults.append(_fault(record["amount"], "amount", "a finite number"))
    return "; ".join(faults)


def _fault(value: Any, name: str, what: str) -> str:
    if value is None or str(value).strip() == "":
        return f"{name} is missing"
    return f"{name} is not {what}: {value!r}"


def _rejected_frame(rows: list[tuple[dict[str, Any], str, int, Any]]) -> pd.DataFrame:
    """Rejected lines in the file's order; the line's number makes equal lines distinct records."""
    rows = sorted(rows, key=lambda row: row[2])
    records = [{"line": line, **record} for record, _, line, _ in rows]
    dumped = (orjson.dumps(record, option=orjson.OPT_SORT_KEYS) for record in records)
    columns: dict[str, Any] = {
        "record_hash": [hashlib.sha256(text).hexdigest() for text in dumped],
        "record": records,
        "reason": [reason for _, reason, _, _ in rows],
        "line": np.array([line for _, _, line, _ in rows], dtype=np.int64),
        "transacted_at": np.array([time for *_, time in rows], dtype="datetime64[us]"),
    }
    return pd.DataFrame(columns)[list(REJECTED_COLUMNS)]


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A line as JSON values."""
    return {name: _plain_value(value) for name, value in record.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _text(column: pa.ChunkedArray) -> pa.Array:
    """A column as text, verbatim; blank is null. Whole floats lose the `.0` that ids once got."""
    values = column.combine_chunks()
    if pa.types.is_floating(values.type):
        values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0$", "")
    elif not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(values)), 0)
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)


def _optional_text(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    return _text(table[name])


def _times(column: pa.ChunkedArray, path: Path) -> np.ndarray:
    """UTC times, NaT where missing or unreadable; a time without a zone is UTC."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = getattr(kind, "tz", None)
        times = column.cast(pa.timestamp("us", tz=zone), safe=False)
        return times.cast(pa.int64()).fill_null(_NO_TIME).to_numpy().view("datetime64[us]")
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise UsageError(f"the column ts of {path} holds {kind}; it must hold times or text")
    return _by_distinct_value(column, _parsed_times)


def _parsed_times(texts: pa.Array) -> np.ndarray:
    dated = pc.if_else(pc.match_substring_regex(texts, _DATE), texts, None)
    trimmed = pc.utf8_trim_whitespace(dated).to_pandas()
    times = pd.to_datetime(trimmed, format="ISO8601", utc=True, errors="coerce")
    return times.dt.tz_localize(None).to_numpy().astype("datetime64[us]")


def _by_distinct_value(
    column: pa.ChunkedArray, parse: Callable[[pa.Array], np.ndarray]
) -> np.ndarray:
    """Parse each distinct text once; missing values parse as the missing value does."""
    encoded = column.combine_chunks().dictionary_encode()
    values = pa.concat_arrays([encoded.dictionary, pa.nulls(1, encoded.dictionary.type)])
    codes = encoded.indices.fill_null(len(values) - 1).to_numpy()
    return parse(values)[codes]


def _numbers(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray:
    """Numbers as float64, NaN where missing or unreadable; their shortest text is the file's."""
    kind = column.type
    if pa.types.is_float64(kind) or pa.types.is_integer(kind):
        return column.cast(pa.float64(), safe=False).to_numpy()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.string())
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise UsageError(f"the column {name} of {path} holds {kind}; it must hold numbers")
    return _by_distinct_value(column, _parsed_numbers)


def _parsed_numbers(texts: pa.Array) -> np.ndarray:
    trimmed = pc.utf8_trim_whitespace(texts)
    readable = pc.match_substring_regex(trimmed, _NUMBER)
    plain = pc.replace_substring_regex(trimmed, r"^\+", "")
    return pc.if_else(readable, plain, None).cast(pa.float64()).to_numpy(zero_copy_only=False)


def _optional(table: pa.Table, name: str, path: Path, nulled: dict[str, int]) -> np.ndarray:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    values = _numbers(table[name], name, path)
    values = np.where(np.isfinite(values), values, np.nan)
    lost = int(np.isnan(values).sum()) - int(_text(table[name]).null_count)
    if lost > 0:
        nulled[name] = lost
    return values


def _flags(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_boolean(column.type):
        return column.fill_null(False).to_numpy()
    text = pc.utf8_lower(pc.utf8_trim_whitespace(_text(column)))
    return pc.fill_null(pc.is_in(text, pa.array(_YES)), False).to_numpy(zero_copy_only=False)


def _one_currency(table: pa.Table, path: Path) -> str | None:
    if "currency" not in table.column_names:
        return None
    found = pc.unique(pc.utf8_trim_whitespace(_text(table["currency"]))).drop_null().to_pylist()
    if len(found) > 1:
        raise UsageError(
            f"the transactions file {path} holds several currencies "
            f"({', '.join(sorted(found)[:5])}); convert its amounts to one or split it"
        )
    return found[0] if found else None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
