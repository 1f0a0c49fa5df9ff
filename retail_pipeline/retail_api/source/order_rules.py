"""The rules of a profile, applied to the rows of a file.

Blank fields are carried down within an order, amounts are computed, lines that are no sales are
left out and counted, and refunds become returns. `lines` then checks each line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.reading_options import DecimalMark
from retail_pipeline.retail_api.records import exact_sum
from retail_pipeline.retail_api.source import values
from retail_pipeline.retail_api.source.numbers import read_numbers
from retail_pipeline.retail_api.source.profiles import ANY, GENERIC, Profile, load_profile

_OF_THE_ORDER = ("customer_id", "ts", "country", "currency", "status", "cancelled")
_DIGITS = 9
"""Computed amounts are rounded to so many decimals: 3 times 4.1 is 12.3, not 12.299999999999999."""


@dataclass(frozen=True)
class LeftOut:
    """Lines of a file that are no sales by their status, for one reason.

    Attributes:
        reason: The column and its value, such as "status is pending".
        lines: Their line numbers in the file.
        amount: The sum of their readable amounts.
        unknown_amounts: The number of lines whose amount cannot be read.
    """

    reason: str
    lines: np.ndarray
    amount: Decimal
    unknown_amounts: int


@dataclass(frozen=True)
class RuledRows:
    """The rows of a file after the rules of a profile.

    Attributes:
        table: The rows by standard column names, with `amount`.
        lines: The line number of each row.
        left_out: The lines that are not among the rows.
        refunds: The number of rows that were added: the returns of refunded lines and orders.
    """

    table: pa.Table
    lines: np.ndarray
    left_out: list[LeftOut]
    refunds: int


def apply_rules(
    table: pa.Table,
    lines: np.ndarray,
    profile: Profile,
    path: Path,
    decimal: DecimalMark | None = None,
) -> RuledRows:
    """Return the rows of a file after the rules of a profile.

    Raises:
        UsageError: Numbers of which amounts are computed cannot be read.
    """
    if profile.currency is not None and "currency" not in table.column_names:
        currency = pa.repeat(pa.scalar(profile.currency), table.num_rows)
        table = table.append_column("currency", currency)
    if profile.carry_down:
        table = _carried_down(table)
    if "amount" not in table.column_names:
        table = table.append_column("amount", pa.array(_line_totals(table, path, decimal)))
    if profile.return_orders is not None and "order_id" in table.column_names:
        ids = pc.utf8_trim_whitespace(values.texts(table["order_id"]))
        returned = pc.starts_with(ids, profile.return_orders).fill_null(False)
        table = _marked_as_returns(table, values.mask(returned))
    table, lines, left_out = _left_out(table, lines, profile, path, decimal)
    table, lines, refunds = _with_refunds(table, lines, profile, path, decimal)
    return RuledRows(table, lines, left_out, refunds)


def _carried_down(table: pa.Table) -> pa.Table:
    """Return the rows with blank fields filled from the first row of their order that has one."""
    if "order_id" not in table.column_names:
        return table
    encoded = values.texts(table["order_id"]).dictionary_encode()
    order = encoded.indices.fill_null(-1).to_numpy()
    for name in _OF_THE_ORDER:
        if name not in table.column_names:
            continue
        blank = values.missing(table[name])
        if not blank.any():
            continue
        first = np.full(len(encoded.dictionary) + 1, -1)  # the last one is of rows without order
        filled = np.flatnonzero(~blank & (order >= 0))[::-1]
        first[order[filled]] = filled
        at = np.where(blank & (first[order] >= 0), first[order], np.arange(len(order)))
        position = table.column_names.index(name)
        table = table.set_column(position, name, table[name].take(pa.array(at)))
    return table


def _line_totals(table: pa.Table, path: Path, decimal: DecimalMark | None) -> np.ndarray:
    """Return quantity times unit price less the discount of the line."""
    names = ("quantity", "unit_price", "discount")
    given = {name: table[name] for name in names if name in table.column_names}
    found = read_numbers(given, path, decimal).columns
    unknown = np.full(table.num_rows, np.nan)
    total = found.get("quantity", unknown) * found.get("unit_price", unknown)
    if "discount" in found:
        total -= np.abs(np.nan_to_num(found["discount"]))
    return np.round(total, _DIGITS) + 0.0


def _numbers(table: pa.Table, name: str, path: Path, decimal: DecimalMark | None) -> np.ndarray:
    return read_numbers({name: table[name]}, path, decimal).columns[name]


def _left_out(
    table: pa.Table, lines: np.ndarray, profile: Profile, path: Path, decimal: DecimalMark | None
) -> tuple[pa.Table, np.ndarray, list[LeftOut]]:
    gone, left_out = np.zeros(table.num_rows, dtype=bool), []
    for name, words in profile.left_out.items():
        if name not in table.column_names:
            continue
        found = _words(table, name)
        for word in words:
            is_any = word == ANY
            hit = ~values.missing(table[name]) if is_any else values.mask(pc.equal(found, word))
            hit &= ~gone
            if hit.any():
                amounts = _numbers(table, "amount", path, decimal)[hit]
                known = np.isfinite(amounts)
                reason = f"{name} is filled" if is_any else f"{name} is {word}"
                left_out.append(
                    LeftOut(reason, lines[hit], exact_sum(amounts[known]), int((~known).sum()))
                )
                gone |= hit
    if not left_out:
        return table, lines, []
    return table.filter(pa.array(~gone)), lines[~gone], left_out


def _with_refunds(
    table: pa.Table, lines: np.ndarray, profile: Profile, path: Path, decimal: DecimalMark | None
) -> tuple[pa.Table, np.ndarray, int]:
    """Return the rows and, after them, a return for each refund.

    The line of a refunded order stays a sale, and its return is added, because the file has one row
    for both. Where only a part was refunded, the return has the refunded amount and no product.
    """
    if "status" not in table.column_names or not (profile.refunded or profile.partly_refunded):
        return table, lines, 0
    whole = _is_one_of(table, profile.refunded) & ~(_numbers(table, "amount", path, decimal) <= 0)
    returns, numbers = [table.filter(pa.array(whole))], [lines[whole]]
    if profile.partly_refunded and "refunded_amount" in table.column_names:
        amount = _numbers(table, "refunded_amount", path, decimal)
        part = _is_one_of(table, profile.partly_refunded) & (np.abs(amount) > 0)
        returns.append(_of_refunds(table.filter(pa.array(part)), amount[part]))
        numbers.append(lines[part])
    added = pa.concat_tables(returns)
    if not added.num_rows:
        return table, lines, 0
    table = _marked_as_returns(table, np.zeros(table.num_rows, dtype=bool))
    added = _marked_as_returns(added, np.ones(added.num_rows, dtype=bool))
    return pa.concat_tables([table, added]), np.concatenate([lines, *numbers]), added.num_rows


def _of_refunds(table: pa.Table, refunded: np.ndarray) -> pa.Table:
    """Return rows with the refunded amounts and without products."""
    for name in ("product_id", "quantity", "unit_price"):
        if name in table.column_names:
            position, kind = table.column_names.index(name), table[name].type
            table = table.set_column(position, name, pa.nulls(table.num_rows, kind))
    position, is_text = table.column_names.index("amount"), pa.types.is_string(table["amount"].type)
    amount = values.texts(table["refunded_amount"]) if is_text else pa.array(refunded)
    return table.set_column(position, "amount", amount.cast(table["amount"].type))


def sold_despite_status(
    table: pa.Table, lines: np.ndarray, name: str, path: Path, decimal: DecimalMark | None
) -> list[LeftOut]:
    """Return the sales with a status of no sale, for which the profile has no rule.

    Args:
        table: The rows by standard column names, with `status`.
        lines: The line number of each row.
        name: The file's name of the status.
        path: The file, for messages.
        decimal: The decimal mark; None if it is to be recognized.
    """
    generic = load_profile(GENERIC)
    words = list(generic.left_out["status"])
    words += [] if "is_return" in table.column_names else generic.refunded
    found = _words(table, "status")
    hit = values.mask(pc.is_in(found, pa.array(words)))
    if not hit.any():
        return []
    amounts = _numbers(table, "amount", path, decimal)
    hit &= ~(amounts <= 0)
    known = amounts[hit & np.isfinite(amounts)]
    said = sorted(pc.unique(found.filter(pa.array(hit))).to_pylist())
    reason = f"{name[:40]}, for which there is no rule, says {', '.join(said)}: use a profile"
    unknown = int(hit.sum()) - len(known)
    return [LeftOut(reason, lines[hit], exact_sum(known), unknown)] if hit.any() else []


def _marked_as_returns(table: pa.Table, is_return: np.ndarray) -> pa.Table:
    """Return rows in which some are marked as returns; other marks stay."""
    if "is_return" not in table.column_names:
        return table.append_column("is_return", pa.array(is_return))
    marks = table["is_return"]
    yes = pa.scalar(True if pa.types.is_boolean(marks.type) else "true")
    if not pa.types.is_boolean(marks.type):
        marks = values.texts(marks)
    position = table.column_names.index("is_return")
    return table.set_column(position, "is_return", pc.if_else(pa.array(is_return), yes, marks))


def _is_one_of(table: pa.Table, words: Sequence[str]) -> np.ndarray:
    found = pc.is_in(_words(table, "status"), pa.array(list(words), pa.string()))
    return values.mask(found)


def _words(table: pa.Table, name: str) -> pa.Array:
    """Return a column as words in lower case; missing ones are empty."""
    return pc.utf8_lower(pc.utf8_trim_whitespace(values.texts(table[name]))).fill_null("")
