"""The lines of a transactions file: checked, and the bad ones rejected with their reasons.

How values are read is in `values`; `orders` makes orders of lines.
"""

import hashlib
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
from retail_pipeline.retail_api.records import REJECTED_COLUMNS
from retail_pipeline.retail_api.source import values
from retail_pipeline.retail_api.source.columns import FileTable, read_table

IDS = ("customer_id", "order_id", "product_id")


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
    """Return the lines of a Parquet or CSV file, checked.

    Raises:
        UsageError: The file is missing, unreadable or empty, lacks a required column, has no usable
            line, or holds more than one currency.
    """
    file = read_table(path)
    count = file.table.num_rows + len(file.unusable)
    if not count:
        raise UsageError(f"the transactions file {path} has no lines")
    keys = _Keys.of(file)
    rejected, good = _rejected(file, keys), ~keys.bad
    if not good.any():
        raise UsageError(
            f"none of the {count} lines of {path} can be used; "
            f"line {rejected['line'].iloc[0]}: {rejected['reason'].iloc[0]}"
        )
    kept = file if good.all() else replace(file, table=file.table.filter(pa.array(good)))
    text = {name: id_.filter(pa.array(good)) for name, id_ in keys.ids.items()}
    nulled: dict[str, int] = {}
    return FileLines(
        customer=text.pop("customer_id"),
        time=keys.time[good],
        amount=keys.amount[good],
        text=text | {"country": _text(kept, "country")},
        number={name: _number(kept, name, nulled) for name in ("quantity", "unit_price")},
        is_return=_is_return(kept, nulled),
        currency=_one_currency(kept),
        rejected=rejected,
        lines=count,
        nulled=nulled,
    )


def last_day(path: Path) -> date:
    """Return the day of the last readable timestamp in a file, reading that column alone.

    Raises:
        UsageError: As for `read_lines`, and where no timestamp is readable.
    """
    time = values.times(read_table(path, columns=("ts",)).table["ts"], path)
    known = time[~np.isnat(time)]
    if not len(known):
        raise UsageError(f"the column ts of {path} has no readable time; use 2011-06-01 12:30:00")
    return known.max().astype("datetime64[D]").item()


@dataclass(frozen=True)
class _Keys:
    """The values without which a line is rejected, of all lines of a file."""

    ids: dict[str, pa.Array]
    time: np.ndarray
    amount: np.ndarray
    bad: np.ndarray

    @classmethod
    def of(cls, file: FileTable) -> "_Keys":
        ids = {name: _text(file, name) for name in IDS}
        time = values.times(file.table["ts"], file.path)
        amount = values.numbers(file.table["amount"], "amount", file.path)
        bad = values.mask(ids["customer_id"].is_null()) | np.isnat(time) | ~np.isfinite(amount)
        for id_ in ids.values():
            bad |= values.mask(pc.match_substring(id_, "\0").fill_null(False))
        return cls(ids, time, amount, bad)

    def faults(self, at: int, record: dict[str, Any]) -> str:
        """Return why the line at a position is bad; the record is what the file says there."""
        ids = {name: id_[at].as_py() for name, id_ in self.ids.items()}
        found = [
            f"{name} holds a NUL character, which the database cannot store"
            for name, value in ids.items()
            if value and "\0" in value
        ]
        if ids["customer_id"] is None:
            found.append("customer_id is missing")
        if np.isnat(self.time[at]):
            found.append(_fault(record["ts"], "ts", "a date"))
        if not np.isfinite(self.amount[at]):
            found.append(_fault(record["amount"], "amount", "a finite number"))
        return "; ".join(found)


def _fault(value: Any, name: str, what: str) -> str:
    if value is None or str(value).strip() == "":
        return f"{name} is missing"
    return f"{name} is not {what}: {value!r}"


def _rejected(file: FileTable, keys: _Keys) -> pd.DataFrame:
    """Return the bad lines in the file's order; the line's number makes equal ones distinct."""
    positions = np.flatnonzero(keys.bad).tolist()
    rows: list[tuple[int, dict[str, Any], str, Any]] = [
        (row.line, {"text": row.text}, row.reason, values.NEVER) for row in file.unusable
    ]
    for at, record in zip(
        positions, _records(file.table.take(pa.array(positions, pa.int64()))), strict=True
    ):
        for name, id_ in keys.ids.items():  # as they are served and forgotten, not as 13085.0
            if record.get(name) is not None:
                record[name] = id_[at].as_py()
        rows.append((int(file.lines[at]), record, keys.faults(at, record), keys.time[at]))
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


def _text(file: FileTable, name: str) -> pa.Array:
    column = file.column(name)
    return pa.nulls(file.table.num_rows, pa.string()) if column is None else values.texts(column)


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
