"""The lines of a transactions file: read, checked, and the bad ones set aside with their reasons.

What values of single lines mean belongs here; how a file holds them is in `file_table`, what makes
an order of lines in `transactions_file`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.records import REJECTED_COLUMNS
from retail_pipeline.retail_api.source.file_table import (
    FileTable,
    read_table,
)

IDS = ("customer_id", "order_id", "product_id")

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_DATE = r"^\s*\d{4}-?\d{2}-?\d{2}"
_ZONED = r"[T ].*([Zz]|[+-]\d{2}(:?\d{2})?)$"
_NEVER = np.datetime64("NaT", "us")

_FIRST_TIME, _LAST_TIME = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")
"""Times that nanoseconds since 1970 can hold, as pandas counts in places."""

_YES = ("true", "t", "yes", "y", "1")
_NO = ("false", "f", "no", "n", "0")


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
    file = read_table(path)
    lines = file.table.num_rows + len(file.unusable)
    if not lines:
        raise UsageError(f"the transactions file {path} has no lines")
    good, ids, rejected, times, amounts = _checked(file, path)
    if not len(times):
        raise UsageError(
            f"none of the {lines} lines of {path} can be used; "
            f"line {rejected['line'].iloc[0]}: {rejected['reason'].iloc[0]}"
        )
    nulled: dict[str, int] = {}
    return FileLines(
        customer=ids.pop("customer_id"),
        time=times,
        amount=amounts,
        text=ids | {"country": _optional_text(good, "country")},
        number={name: _optional(good, name, path, nulled) for name in ("quantity", "unit_price")},
        is_return=_flags(good, "is_return", nulled),
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
    times = _times(read_table(path, columns=("ts",)).table["ts"], path)
    known = times[~np.isnat(times)]
    if not len(known):
        raise UsageError(f"the column ts of {path} has no readable time; use 2011-06-01 12:30:00")
    return known.max().astype("datetime64[D]").item()


def _checked(
    file: FileTable, path: Path
) -> tuple[pa.Table, dict[str, pa.Array], pd.DataFrame, np.ndarray, np.ndarray]:
    """Good lines, their ids, rejected lines, and the times and amounts of the good ones."""
    table = file.table
    times = _times(table["ts"], path)
    amounts = _numbers(table["amount"], "amount", path)
    ids = {name: _optional_text(table, name) for name in IDS}
    bad = _mask(ids["customer_id"].is_null()) | np.isnat(times) | ~np.isfinite(amounts)
    for id_ in ids.values():
        bad |= _mask(pc.match_substring(id_, "\0").fill_null(False))
    position = np.flatnonzero(bad)
    bad_ids = {name: id_.take(pa.array(position)).to_pylist() for name, id_ in ids.items()}
    records = _records(table.take(pa.array(position)))
    for row, record in enumerate(records):  # as they are served and forgotten, not as 13085.0
        record |= {name: bad_ids[name][row] for name in IDS if record.get(name) is not None}
    reasons = [
        _reason(
            record,
            {name: bad_ids[name][row] for name in IDS},
            has_time=not np.isnat(times[at]),
            has_amount=bool(np.isfinite(amounts[at])),
        )
        for row, (record, at) in enumerate(zip(records, position, strict=True))
    ]
    lines = file.lines[position].tolist()
    rows = list(zip(records, reasons, lines, times[position], strict=True))
    rows += [({"text": row.text}, row.reason, row.line, _NEVER) for row in file.unusable]
    if bad.any():
        keep = pa.array(~bad)
        table, ids = table.filter(keep), {name: id_.filter(keep) for name, id_ in ids.items()}
    return table, ids, _rejected_frame(rows), times[~bad], amounts[~bad]


def _reason(
    record: dict[str, Any], ids: dict[str, str | None], *, has_time: bool, has_amount: bool
) -> str:
    faults = [
        f"{name} holds a NUL character, which the database cannot store"
        for name, value in ids.items()
        if value and "\0" in value
    ]
    if ids["customer_id"] is None:
        faults.append("customer_id is missing")
    if not has_time:
        faults.append(_fault(record["ts"], "ts", "a date"))
    if not has_amount:
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


def _records(table: pa.Table) -> list[dict[str, Any]]:
    """Lines as JSON values."""
    ts = table["ts"]
    if pa.types.is_timestamp(ts.type):
        # A time that Python's datetime cannot hold is shown all the same.
        ts = ts.cast(pa.timestamp(ts.type.unit)).cast(pa.string())
    elif pa.types.is_date(ts.type):
        ts = ts.cast(pa.string())
    table = table.set_column(table.column_names.index("ts"), "ts", ts)
    return [
        {name: _plain_value(value) for name, value in record.items()}
        for record in table.to_pylist()
    ]


def _plain_value(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _text(column: pa.ChunkedArray) -> pa.Array:
    """A column as text, verbatim; blank is null, as are NaN and infinity.

    Whole numbers are written as such: a column of numbers with gaps comes as floats or decimals.
    """
    values = column.combine_chunks()
    if pa.types.is_floating(values.type):
        values = _float_text(values)
    elif pa.types.is_decimal(values.type):
        values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")
    elif not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(values)), 0)
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)


def _float_text(values: pa.Array) -> pa.Array:
    """Floats as the shortest text that means them, whole ones without point and exponent."""
    encoded = values.dictionary_encode()
    numbers = encoded.dictionary.cast(pa.float64()).to_numpy()
    whole = np.isfinite(numbers) & (numbers == np.rint(numbers))
    fits = whole & (np.abs(numbers) < 2.0**63)
    integers = pa.array(np.where(fits, numbers, 0).astype(np.int64)).cast(pa.string())
    texts = pc.if_else(pa.array(fits), integers, encoded.dictionary.cast(pa.string()))
    large = whole & ~fits
    written = pa.array([str(int(number)) for number in numbers[large]], pa.string())
    texts = pc.replace_with_mask(texts, pa.array(large), written)
    texts = pc.if_else(pa.array(np.isfinite(numbers)), texts, pa.scalar(None, pa.string()))
    return texts.take(encoded.indices)


def _optional_text(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    return _text(table[name])


def _times(column: pa.ChunkedArray, path: Path) -> np.ndarray:
    """UTC times, NaT where missing or unreadable; a time without a zone is UTC."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _typed_times(column)
    if not pa.types.is_string(kind):
        raise UsageError(f"the column ts of {path} holds {kind}; it must hold times or text")
    return _by_distinct_value(column, _parsed_times)


def _typed_times(column: pa.ChunkedArray) -> np.ndarray:
    """Times of a column of times or days; NaT beyond what can be told in nanoseconds."""
    kind = column.type
    unit = kind.unit if pa.types.is_timestamp(kind) else "D" if kind.bit_width == 32 else "ms"
    counts = column.cast(pa.int32() if unit == "D" else pa.int64()).cast(pa.int64())
    first, last = (time.astype(f"datetime64[{unit}]") for time in (_FIRST_TIME, _LAST_TIME))
    missing = _mask(column.is_null())
    values = counts.fill_null(0).to_numpy()
    bad = missing | (values < first.astype(np.int64)) | (values >= last.astype(np.int64))
    times = np.where(bad, 0, values).view(f"datetime64[{unit}]").astype("datetime64[us]")
    times[bad] = _NEVER
    return times


def _parsed_times(texts: pa.Array) -> np.ndarray:
    dated = pc.if_else(pc.match_substring_regex(texts, _DATE), texts, None)
    trimmed = pc.utf8_trim_whitespace(dated)
    zoned = _mask(pc.match_substring_regex(trimmed, _ZONED).fill_null(False))
    times = np.full(len(trimmed), _NEVER, "datetime64[us]")
    for part in (zoned, ~zoned):  # in one go pandas reads a text without a zone in that of another
        values = trimmed.filter(pa.array(part)).to_pandas()
        read = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
        times[part] = read.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return times


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
    if not pa.types.is_string(column.type):
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
    _count(nulled, name, np.isnan(values) & ~_missing(table[name]))
    return values


def _flags(table: pa.Table, name: str, nulled: dict[str, int]) -> np.ndarray:
    """Yes or no; missing is no, as is anything else, which is counted."""
    if name not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool)
    column = table[name]
    if pa.types.is_boolean(column.type):
        return _mask(column.fill_null(False))
    trimmed = pc.utf8_lower(pc.utf8_trim_whitespace(_text(column)))
    text = pc.replace_substring_regex(trimmed, r"^([01])\.0*$", r"\1")
    yes, no = (_mask(pc.is_in(text, pa.array(words))) for words in (_YES, _NO))
    _count(nulled, name, ~yes & ~no & ~_missing(column))
    return yes


def _missing(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_floating(column.type):
        return _mask(pc.is_null(column, nan_is_null=True))
    return _mask(_text(column).is_null() if pa.types.is_string(column.type) else column.is_null())


def _mask(flags: pa.Array | pa.ChunkedArray) -> np.ndarray:
    if isinstance(flags, pa.ChunkedArray):
        return flags.to_numpy()
    return flags.to_numpy(zero_copy_only=False)


def _count(nulled: dict[str, int], name: str, lost: np.ndarray) -> None:
    if lost.any():
        nulled[name] = int(lost.sum())


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
