"""The lines of a transactions file: a frame of the valid ones, and the rejected with reasons.

`values`, `times` and `numbers` parse columns, `faults` finds invalid lines, `losses` sums them up;
`orders` groups the valid ones.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import DecimalMark, ReadingOptions
from retail_pipeline.retail_api.records import REJECTED_COLUMNS, categorical, exact_sum
from retail_pipeline.retail_api.source import values
from retail_pipeline.retail_api.source.faults import (
    Fault,
    find_faults,
    refuse_unknown_marks,
)
from retail_pipeline.retail_api.source.file_table import FileTable, read_table
from retail_pipeline.retail_api.source.losses import (
    USUAL_LIMIT,
    Facts,
    Loss,
    Treatment,
    losses_by_reason,
    refuse_exchanged_signs,
    refuse_nulled_column,
    refuse_systematic_loss,
)
from retail_pipeline.retail_api.source.numbers import LARGEST, Numbers, read_numbers
from retail_pipeline.retail_api.source.order_rules import LeftOut
from retail_pipeline.retail_api.source.profiles import with_profile
from retail_pipeline.retail_api.source.times import read_times

IDS = ("customer_id", "order_id", "product_id")
NUMBERS = ("amount", "quantity", "unit_price")

_EXAMPLES = 3
_LONGEST_WORD = 40


@dataclass(frozen=True)
class FileLines:
    """The valid and the rejected lines of a file.

    Attributes:
        good: The valid lines in the file's order: `customer_id` (missing for guests), `order_id,
            product_id, country` (categories of text), `time` (UTC), `amount` (net, finite),
            `quantity, unit_price` (NaN if unknown), `is_return` (as marked in the file).
        currency: The only currency of the file, or None.
        rejected: The rejected lines: `record_hash, record, reason, line, transacted_at`.
        count: The number of lines in the file, valid and rejected.
        nulled: The number of invalid optional values by column; their lines are served without
            them.
        losses: The lines and the values that are not used, by reason.
        decimal_marks: The decimal mark of each column of numbers that is text.
        file: The file, with the way it was read.
    """

    good: pd.DataFrame
    currency: str | None
    rejected: pd.DataFrame
    count: int
    nulled: dict[str, int]
    losses: tuple[Loss, ...]
    decimal_marks: dict[str, DecimalMark]
    file: FileTable


@dataclass(frozen=True)
class _Parsed:
    """The rows of a file.

    Attributes:
        file: The file.
        ids: The columns of ids.
        time: UTC; NaT if invalid.
        numbers: The columns of numbers.
        amount: The amount, negative for marked returns; NaN if invalid.
        is_return: As marked.
        guests: A mask of the valid rows without a customer.
        faults: The reasons for which rows are not used.
    """

    file: FileTable
    ids: dict[str, pa.DictionaryArray]
    time: np.ndarray
    numbers: Numbers
    amount: np.ndarray
    is_return: np.ndarray
    guests: np.ndarray
    faults: list[Fault]


def read_lines(path: Path, options: ReadingOptions) -> FileLines:
    """Return the valid and the rejected lines of a transactions file.

    Raises:
        UsageError: The file is missing, unreadable or empty, lacks a required column, has no usable
            line, holds more than one currency, can be read in two ways, or loses more than a few
            stray lines.
    """
    options = with_profile(options)
    file = read_table(path, options)
    if not file.count:
        raise UsageError(f"the transactions file {path} has no lines")
    parsed, good = _validated(file, options)
    refunds = good[len(good) - file.refunds :]
    if not refunds.all():  # their lines are rejected, and without a sale there is no refund
        file = file.with_refunds(refunds)
        parsed, good = _validated(file, options)
    examples = _rejected(parsed, most=_EXAMPLES)
    _refuse_nothing(parsed, good, examples)
    nulls = {name: good & _nulled(parsed, name) for name in NUMBERS[1:]}
    _refuse_losses(parsed, examples, nulls, options.accept_loss)
    rejected = _rejected(parsed)
    lines = pd.DataFrame(
        {
            **{name: _categories(id_, good) for name, id_ in _served_ids(parsed).items()},
            "country": _categories(_text(file, "country"), good),
            "time": parsed.time[good],
            "amount": parsed.numbers.columns["amount"][good],
            **{name: _number(parsed, name)[good] for name in NUMBERS[1:]},
            "is_return": parsed.is_return[good],
        }
    )
    return FileLines(
        lines,
        _one_currency(file, pa.array(good)),
        rejected[list(REJECTED_COLUMNS)],
        file.count,
        {name: int(lost.sum()) for name, lost in nulls.items() if lost.any()},
        tuple(_losses(parsed, rejected, nulls)),
        parsed.numbers.marks,
        file,
    )


def last_time(path: Path, options: ReadingOptions) -> datetime:
    """Return the last valid timestamp in a file, in UTC; only that column is read.

    Raises:
        UsageError: As for `read_lines`, or no timestamp is valid.
    """
    options = with_profile(options)
    time = _times(read_table(path, options, columns=("ts",)), options)
    known = time[~np.isnat(time)]
    if not len(known):
        raise UsageError(f"the column ts of {path} has no valid time; use 2011-06-01 12:30:00")
    return known.max().astype("datetime64[us]").item()


def _refuse_nothing(parsed: _Parsed, good: np.ndarray, rejected: pd.DataFrame) -> None:
    """Raise a UsageError if no row can be used, or none has a customer."""
    file = parsed.file
    if not good.any():
        told = [f"line {row.line:,}: {row.reason}" for row in rejected.head(1).itertuples()]
        told += [f"{len(rule.lines):,} are left out: {rule.reason}" for rule in file.left_out[:3]]
        raise UsageError(
            f"none of the {file.count:,} lines of {file.path} can be used; {'; '.join(told)}"
        )
    if not (good & ~parsed.guests).any():
        raise UsageError(
            f"no line of {file.path} has a customer: customer_id is {_guest_words(parsed)[0]}; use "
            "another column (--columns), or --missing-customer-words none"
        )


def _validated(file: FileTable, options: ReadingOptions) -> tuple[_Parsed, np.ndarray]:
    """Return the parsed rows of a file, and a mask of the valid ones."""
    parsed = _parsed(file, options)
    return parsed, ~_lost(parsed)


def _parsed(file: FileTable, options: ReadingOptions) -> _Parsed:
    ids = {name: _text(file, name).dictionary_encode() for name in IDS}
    time = _times(file, options)
    given = {name: file.table[name] for name in NUMBERS if name in file.table.column_names}
    numbers = read_numbers(given, file.path, options.decimal)
    is_return, unmarked = np.zeros((2, file.table.num_rows), dtype=bool)
    if (marks := file.column("is_return")) is not None:
        is_return, unmarked = values.flags(marks)
        if options.accept_loss is None:
            refuse_unknown_marks(file.path, marks, unmarked)
    amount = numbers.columns["amount"]
    faults, guests = find_faults(ids, time, amount, unmarked, options.missing_customer_words)
    with np.errstate(invalid="ignore"):
        amount = np.where(np.abs(amount) <= LARGEST, amount, np.nan)
    signed = np.where(is_return, -np.abs(amount), amount)
    return _Parsed(file, ids, time, numbers, signed, is_return, guests, faults)


def _times(file: FileTable, options: ReadingOptions) -> np.ndarray:
    zone, order = options.time_zone, options.date_order
    return read_times(file.table["ts"], file.path, zone=zone, date_order=order)


def _rejected(parsed: _Parsed, most: int | None = None) -> pd.DataFrame:
    """Return the rejected lines in the file's order; line numbers make equal lines distinct.

    Beside the columns of rejected records the frame has `kind`, the reason without the value, and
    `amount`. With `most`, a few lines are enough.
    """
    file, faults = parsed.file, parsed.faults
    rows: list[dict[str, Any]] = [
        {"line": row.line, "record": {"text": row.text}, "reason": row.reason, "kind": row.reason}
        for row in file.unusable[:most]
    ]
    bad = np.flatnonzero(_lost(parsed))[:most]
    for at, record in zip(bad.tolist(), _records(file.table.take(pa.array(bad))), strict=True):
        for name, id_ in parsed.ids.items():  # as served, so that forget finds it: 7, not 7.0
            if record.get(name) is not None:
                record[name] = id_[at].as_py()
        reasons = [fault.reason(record) for fault in faults if fault.lines[at]]
        rows.append(
            {
                "line": int(file.lines[at]),
                "record": record,
                "reason": "; ".join(reason for _, reason in reasons),
                "kind": reasons[0][0],
                "transacted_at": parsed.time[at],
                "amount": parsed.amount[at],
            }
        )
    rows.sort(key=lambda row: row["line"])
    for row in rows:
        row["record"] = {"line": row["line"], **row["record"]}
        text = orjson.dumps(row["record"], option=orjson.OPT_SORT_KEYS)
        row["record_hash"] = hashlib.sha256(text).hexdigest()
    frame = pd.DataFrame(rows, columns=[*REJECTED_COLUMNS, "kind", "amount"])
    return frame.astype({"line": "int64", "transacted_at": "datetime64[us]", "amount": float})


def _lost(parsed: _Parsed) -> np.ndarray:
    """Return a mask of the rows that are not used."""
    lost = np.zeros(len(parsed.time), dtype=bool)
    for fault in parsed.faults:
        lost |= fault.lines
    return lost


def _served_ids(parsed: _Parsed) -> dict[str, pa.DictionaryArray]:
    """Return the ids, without those that stand for no customer."""
    customers = parsed.ids["customer_id"]
    if not parsed.guests.any():
        return parsed.ids
    indices = pc.if_else(pa.array(parsed.guests), None, customers.indices)
    named = pa.DictionaryArray.from_arrays(indices, customers.dictionary)
    return {**parsed.ids, "customer_id": named}


def _guest_words(parsed: _Parsed) -> list[str]:
    """Return what stands for the customer on the lines without one."""
    words = parsed.ids["customer_id"].filter(pa.array(parsed.guests)).cast(pa.string())
    return [word[:_LONGEST_WORD] for word in words.fill_null("blank").to_pylist()]


def _losses(parsed: _Parsed, rejected: pd.DataFrame, nulls: dict[str, np.ndarray]) -> list[Loss]:
    """Return what is not used of a file, by reason."""
    file, guests, amount = parsed.file, parsed.guests, parsed.amount
    lost: list[tuple[Treatment, pd.DataFrame]] = [("rejected", rejected)]
    if guests.any():
        kinds = [f"customer_id is {word}" for word in _guest_words(parsed)]
        lost.append(("no customer", _rows(kinds, file.lines[guests], amount[guests])))
    for name, nulled in nulls.items():
        kind = f"{name} is not a number, or beyond {LARGEST:,.0f}"
        lost.append(("nulled", _rows(kind, file.lines[nulled], amount[nulled])))
    losses = [loss for treatment, rows in lost for loss in losses_by_reason(treatment, rows)]
    return [
        *losses,
        *(_loss("left out", rule) for rule in file.left_out),
        *(_loss("sold", rule) for rule in file.sold),
        *_refunds(parsed),
    ]


def _rows(kind: str | list[str], line: np.ndarray, amount: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"kind": kind, "line": line, "amount": amount})


def _loss(treatment: Treatment, rule: LeftOut) -> Loss:
    unknown, first = rule.unknown_amounts, int(rule.lines.min())
    return Loss(treatment, rule.reason, len(rule.lines), rule.amount, unknown, first)


def _refunds(parsed: _Parsed) -> Iterator[Loss]:
    """Yield the money of lines that count as sales and as returns."""
    file = parsed.file
    if file.refunds:
        amount = exact_sum(-parsed.amount[-file.refunds :])
        first = int(file.lines[-file.refunds :].min())
        yield Loss("refunded", "the file has one line for both", file.refunds, amount, 0, first)


def _refuse_losses(
    parsed: _Parsed, rejected: pd.DataFrame, nulls: dict[str, np.ndarray], limit: float | None
) -> None:
    """Raise a UsageError if more than a few stray lines, or values of a column, would be lost."""
    file = parsed.file
    lost = _lost(parsed)
    lost = np.append(lost, np.ones(len(file.unusable), dtype=bool))
    if lost.any():
        rows = rejected.head(_EXAMPLES).itertuples()
        examples = [f"line {row.line:,}: {row.reason}" for row in rows]
        try:
            refuse_systematic_loss(file.path, _facts(parsed), lost, examples, limit)
        except UsageError as error:
            if not _lacks_order_fields(parsed, lost[: len(parsed.time)]):
                raise
            raise UsageError(
                f"{error}. Most of these lines lack what another line of their order has: a "
                "profile with carry_down fills it, such as --profile generic-orders"
            ) from None
    if limit is None:
        refuse_exchanged_signs(file.path, parsed.amount[~lost[: len(parsed.amount)]])
    for name, nulled in nulls.items():
        if nulled.any():
            some = file.table[name].filter(pa.array(nulled)).slice(0, _EXAMPLES).to_pylist()
            refuse_nulled_column(
                file.path,
                name,
                nulled,
                ~values.missing(file.table[name]),
                [values.shown(value) for value in some],
                USUAL_LIMIT if limit is None else limit,
            )


def _lacks_order_fields(parsed: _Parsed, lost: np.ndarray) -> bool:
    """Return whether most lost rows have no time or customer, and an order that another row has."""
    orders = parsed.ids["order_id"].cast(pa.string())
    known = pc.is_in(orders, orders.filter(pa.array(~lost)).drop_null())
    blank = values.missing(parsed.file.table["ts"]) | values.mask(
        parsed.ids["customer_id"].is_null()
    )
    return 2 * int((lost & blank & values.mask(known)).sum()) > int(lost.sum())


def _facts(parsed: _Parsed) -> Facts:
    """Return amount and kinds of all rows, missing for rows that cannot be split into values."""
    file, amount = parsed.file, parsed.amount
    texts = values.texts(file.table["amount"]).fill_null("")
    whole = pc.replace_substring_regex(texts, r"[.,]\d{1,2}$|\D", "")
    sizes = pc.utf8_length(whole).to_numpy(zero_copy_only=False)
    known = np.isfinite(amount)
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = np.where(known, np.floor(np.log10(np.maximum(np.abs(amount), 1))) + 1, sizes)
    minus = values.mask(pc.match_substring_regex(texts, r"^\s*[(\x{2212}-]|-$"))
    is_return = parsed.is_return | np.where(known, amount < 0, minus)
    country = pd.Series(_text(file, "country").to_pandas())
    none = len(file.unusable)
    return Facts(
        np.append(amount, np.full(none, np.nan)),
        np.append(digits, np.zeros(none)).astype(int),
        {
            "{}": pd.Series([*np.where(is_return, "returns", "sales"), *[None] * none]),
            "lines of {:%Y-%m}": pd.Series(parsed.time.astype("datetime64[M]")).reindex(
                range(len(amount) + none)
            ),
            "lines of the country {}": country.reindex(range(len(amount) + none)),
        },
    )


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


def _categories(texts: pa.Array | pa.DictionaryArray, kept: np.ndarray) -> pd.Categorical:
    """Return the kept texts as a categorical, its categories in order of first appearance."""
    if not kept.all() or texts.null_count:
        texts = texts.filter(pa.array(kept)).cast(pa.string())
    encoded = texts.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()
    return categorical(codes, encoded.dictionary.to_pylist())


def _number(parsed: _Parsed, name: str) -> np.ndarray:
    found = parsed.numbers.columns.get(name)
    if found is None:
        return np.full(len(parsed.time), np.nan)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(found) <= LARGEST, found, np.nan)


def _nulled(parsed: _Parsed, name: str) -> np.ndarray:
    """Return a mask of the rows with a value that is no number."""
    column = parsed.file.column(name)
    if column is None:
        return np.zeros(len(parsed.time), dtype=bool)
    return np.isnan(_number(parsed, name)) & ~values.missing(column)


def _one_currency(file: FileTable, kept: pa.Array) -> str | None:
    given = pc.unique(_text(file, "currency").filter(kept)).drop_null().to_pylist()
    found = {name.upper(): name for name in given}
    if len(found) > 1:
        raise UsageError(
            f"the transactions file {file.path} holds several currencies "
            f"({', '.join(sorted(found.values())[:5])}); convert its amounts to one or split it"
        )
    return next(iter(found.values()), None)
