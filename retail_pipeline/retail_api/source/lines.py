"""The lines of a transactions file: a frame of the valid ones, and the rejected with reasons.

`values` parses the values of a column; `orders` groups lines into orders.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.retail_api.records import REJECTED_COLUMNS, categorical
from retail_pipeline.retail_api.source import values
from retail_pipeline.retail_api.source.file_table import FileTable, read_table
from retail_pipeline.retail_api.source.profiles import with_profile

IDS = ("customer_id", "order_id", "product_id")


@dataclass(frozen=True)
class FileLines:
    """The valid and the rejected lines of a file.

    Attributes:
        good: The valid lines in the file's order: `customer_id, order_id, product_id, country`
            (categories of text), `time` (UTC), `amount` (net, finite), `quantity, unit_price` (NaN
            if unknown), `is_return` (as marked in the file).
        currency: The only currency of the file, or None.
        rejected: The rejected lines: `record_hash, record, reason, line, transacted_at`.
        count: The number of lines in the file, valid and rejected.
        nulled: The number of invalid optional values by column; their lines are served without
            them.
    """

    good: pd.DataFrame
    currency: str | None
    rejected: pd.DataFrame
    count: int
    nulled: dict[str, int]


@dataclass(frozen=True)
class _Fault:
    """One reason for rejection, and the lines that it applies to.

    Attributes:
        column: The column with the invalid value.
        lines: A mask of the rejected lines.
        words: The end of the reason's sentence, in which `{!r}` stands for the value. If the value
            is blank, the reason is that the column is missing.
    """

    column: str
    lines: np.ndarray
    words: str

    def reason(self, record: dict[str, Any]) -> str:
        value = record[self.column]
        if value is None or not str(value).strip():
            return f"{self.column} is missing"
        return f"{self.column} {self.words.format(value)}"


def read_lines(path: Path, options: ReadingOptions) -> FileLines:
    """Return the valid and the rejected lines of a Parquet or CSV file.

    Raises:
        UsageError: The file is missing, unreadable or empty, lacks a required column, has no usable
            line, or holds more than one currency.
    """
    options = with_profile(options)
    file = read_table(path, options)
    count = file.count
    if not count:
        raise UsageError(f"the transactions file {path} has no lines")
    ids = {name: _text(file, name) for name in IDS}
    time = values.times(file.table["ts"], path, options.time_zone)
    amount = values.numbers(file.table["amount"], "amount", path)
    faults = [
        *(_nul_characters(name, id_) for name, id_ in ids.items()),
        _Fault("customer_id", values.mask(ids["customer_id"].is_null()), ""),
        _Fault("ts", np.isnat(time), "is not a date: {!r}"),
        _Fault("amount", ~np.isfinite(amount), "is not a finite number: {!r}"),
    ]
    good = ~np.any([fault.lines for fault in faults], axis=0)
    rejected = _rejected(file, ids, time, faults)
    if not good.any():
        raise UsageError(
            f"none of the {count} lines of {path} can be used; "
            f"line {rejected['line'].iloc[0]}: {rejected['reason'].iloc[0]}"
        )
    kept = pa.array(good)
    file = file if good.all() else replace(file, table=file.table.filter(kept))
    nulled: dict[str, int] = {}
    lines = pd.DataFrame(
        {
            **{name: _categories(id_.filter(kept)) for name, id_ in ids.items()},
            "country": _categories(_text(file, "country")),
            "time": time[good],
            "amount": amount[good],
            **{name: _number(file, name, nulled) for name in ("quantity", "unit_price")},
            "is_return": _is_return(file, nulled),
        }
    )
    return FileLines(lines, _one_currency(file), rejected, count, nulled)


def last_day(path: Path, options: ReadingOptions) -> date:
    """Return the day of the last valid timestamp in a file; only that column is read.

    Raises:
        UsageError: As for `read_lines`, or no timestamp is valid.
    """
    options = with_profile(options)
    table = read_table(path, options, columns=("ts",)).table
    time = values.times(table["ts"], path, options.time_zone)
    known = time[~np.isnat(time)]
    if not len(known):
        raise UsageError(f"the column ts of {path} has no valid time; use 2011-06-01 12:30:00")
    return known.max().astype("datetime64[D]").item()


def _nul_characters(name: str, ids: pa.Array) -> _Fault:
    found = values.mask(pc.match_substring(ids, "\0").fill_null(False))
    return _Fault(name, found, "holds a NUL character, which the database cannot store")


def _rejected(
    file: FileTable, ids: dict[str, pa.Array], time: np.ndarray, faults: Sequence[_Fault]
) -> pd.DataFrame:
    """Return the rejected lines in the file's order; line numbers make equal lines distinct."""
    rows: list[tuple[int, dict[str, Any], str, Any]] = [
        (row.line, {"text": row.text}, row.reason, values.NEVER) for row in file.unusable
    ]
    bad = np.flatnonzero(np.any([fault.lines for fault in faults], axis=0))
    for at, record in zip(bad.tolist(), _records(file.table.take(pa.array(bad))), strict=True):
        for name, id_ in ids.items():  # the served form, by which forget finds it: not 13085.0
            if record.get(name) is not None:
                record[name] = id_[at].as_py()
        reasons = [fault.reason(record) for fault in faults if fault.lines[at]]
        rows.append((int(file.lines[at]), record, "; ".join(reasons), time[at]))
    rows.sort(key=lambda row: row[0])
    records = [{"line": line, **record} for line, record, _, _ in rows]
    dumped = (orjson.dumps(record, option=orjson.OPT_SORT_KEYS) for record in records)
    columns: dict[str, Any] = {
        "record_hash": [hashlib.sha256(text).hexdigest() for text in dumped],
        "record": records,
        "reason": [reason for _, _, reason, _ in rows],
        "line": np.array([line for line, *_ in rows], dtype=np.int64),
        "transacted_at": np.array([time for *_, time in rows], dtype="datetime64[us]"),
    }
    return pd.DataFrame(columns)[list(REJECTED_COLUMNS)]


def _records(table: pa.Table) -> list[dict[str, Any]]:
    """Return lines as JSON values."""
    ts = table["ts"]
    if pa.types.is_timestamp(ts.type):
        # As text, which also shows times outside the range of Python's datetime.
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


def _text(file: FileTable, name: str) -> pa.Array:
    column = file.column(name)
    return pa.nulls(file.table.num_rows, pa.string()) if column is None else values.texts(column)


def _categories(texts: pa.Array) -> pd.Categorical:
    """Return texts as a categorical with its categories in order of first appearance."""
    encoded = texts.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()
    return categorical(codes, encoded.dictionary.to_pylist())


def _number(file: FileTable, name: str, nulled: dict[str, int]) -> np.ndarray:
    column = file.column(name)
    if column is None:
        return np.full(file.table.num_rows, np.nan)
    found = values.numbers(column, name, file.path)
    found = np.where(np.isfinite(found), found, np.nan)
    _count(nulled, name, np.isnan(found) & ~values.missing(column))
    return found


def _is_return(file: FileTable, nulled: dict[str, int]) -> np.ndarray:
    column = file.column("is_return")
    if column is None:
        return np.zeros(file.table.num_rows, dtype=bool)
    yes, unreadable = values.flags(column)
    _count(nulled, "is_return", unreadable)
    return yes


def _count(nulled: dict[str, int], name: str, lost: np.ndarray) -> None:
    if lost.any():
        nulled[name] = int(lost.sum())


def _one_currency(file: FileTable) -> str | None:
    given = _text(file, "currency")
    found = pc.unique(pc.utf8_trim_whitespace(given)).drop_null().to_pylist()
    if len(found) > 1:
        raise UsageError(
            f"the transactions file {file.path} holds several currencies "
            f"({', '.join(sorted(found)[:5])}); convert its amounts to one or split it"
        )
    return found[0] if found else None
