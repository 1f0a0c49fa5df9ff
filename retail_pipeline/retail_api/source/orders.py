"""A transactions file as the records of the API: lines become orders, orders sales and returns.

The rules of an order belong here (its id, time and customer, and which lines are a return); `lines`
checks single lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from retail_pipeline.retail_api.records import (
    ITEM_COLUMNS,
    PRODUCT_COLUMNS,
    TRANSACTION_COLUMNS,
    USER_COLUMNS,
    RetailRecords,
    categorical,
    line_positions,
    ordered,
)
from retail_pipeline.retail_api.source.lines import FileLines, read_lines

RETURN_SUFFIX = "-return"
"""Appended to the order's id for the return of an order that holds sales and returns."""

_LARGEST_COUNT = 2.0**53


@dataclass(frozen=True)
class TransactionsFile:
    """The content of a file as records.

    Attributes:
        path: The file.
        lines: Lines in the file: those in `records.items` and those in `rejected`.
        records: The good lines as records, `recorded_at` being the order's own time.
        rejected: The bad lines: `record_hash, record` (the line's values and its number), `reason,
            line` (1-based, the header not counted), `transacted_at` (NaT where unreadable). For
            `quality.rejected_records`.
        nulled: Unreadable optional values by column; their lines are served without them.
    """

    path: Path
    lines: int
    records: RetailRecords
    rejected: pd.DataFrame
    nulled: dict[str, int]


def read_transactions_file(path: Path) -> TransactionsFile:
    """Return the records of a Parquet or CSV file of order lines.

    Required columns: `customer_id, ts, amount`. Optional: `order_id` (or `invoice`), `product_id,
    quantity, unit_price, country, currency, is_return`. Ids are text, verbatim. A bad line is
    rejected and its order goes through with the other lines. A line's money is its own customer's
    and its own day's: an order id that customers or days share is an order of each of them.

    Raises:
        UsageError: The file is missing, unreadable or empty, lacks a required column, has no usable
            line, or holds more than one currency.
    """
    lines = read_lines(path)
    transactions, items, known = _records(lines)
    return TransactionsFile(
        path=path,
        lines=lines.lines,
        records=RetailRecords(
            products=_products(known, lines.currency),
            users=_users(transactions),
            transactions=transactions,
            items=items,
        ),
        rejected=lines.rejected,
        nulled=lines.nulled,
    )


def _records(lines: FileLines) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Transactions, their items, and when each product was first seen."""
    order, order_ids = _orders(lines)
    first_line = _first_positions(order, len(order_ids))
    is_return, amount, quantity = _signed(lines, order, len(order_ids))
    transaction, found = pd.factorize(order * 2 + is_return)
    of_order = found // 2
    frame = _transaction_frame(lines, first_line[of_order]).assign(
        transaction_id=_transaction_ids(order_ids, of_order, found % 2 == 1),
        type=categorical(found % 2, ["sale", "return"]),
        line_count=np.bincount(transaction, minlength=len(found)),
    )
    position = ordered(frame, "transaction_id")
    rank = np.empty(len(position), dtype=np.int64)
    rank[position] = np.arange(len(position))
    line_order = np.argsort(rank[transaction], kind="stable")
    product = lines.text["product_id"].dictionary_encode()
    codes = _codes(product)
    items = pd.DataFrame(
        {
            "product_id": categorical(codes[line_order], product.dictionary.to_pylist()),
            "quantity": _whole(quantity[line_order]),
            "unit_price": lines.number["unit_price"][line_order],
            "discount": np.zeros(len(line_order), dtype=np.int8),
            "amount": amount[line_order],
        }
    )
    frame = frame.iloc[position].reset_index(drop=True)
    counts = frame["line_count"].to_numpy()
    items["line_number"] = line_positions(np.ones_like(counts), counts).astype(np.int32)
    seen_at = frame["transacted_at"].to_numpy()[rank[transaction]]
    known = _first_times(codes, product.dictionary.to_pylist(), seen_at)
    return frame[list(TRANSACTION_COLUMNS)], items[list(ITEM_COLUMNS)], known


def _orders(lines: FileLines) -> tuple[np.ndarray, np.ndarray]:
    """The order of each line, as a number, and the orders' ids; an order has one customer and day.

    Lines with an order id are one order where id, customer and day (UTC) agree, the others where
    customer and timestamp agree. An id that several customers or days share stays with the earliest
    order; to the others is added in what they differ from it: `<id>-<customer>@<day>`.
    """
    encoded = lines.text["order_id"].dictionary_encode()
    order, ids = _codes(encoded).astype(np.int64), encoded.dictionary.to_pylist()
    customers = lines.customer.dictionary_encode()
    customer, names = _codes(customers), customers.dictionary
    day, loose = lines.time.astype("datetime64[D]"), order < 0
    first_line = _earliest_lines(order, lines.time, len(ids))
    other_customer = ~loose & (customer != customer[first_line][order])
    other_day = ~loose & (day != day[first_line][order])
    shared = other_customer | other_day
    if shared.any():
        number, first = _grouped(order[shared], customer[shared], day[shared])
        at = np.flatnonzero(shared)[first]
        owners = names.take(pa.array(customer[at])).to_pylist()
        taken = set(ids)
        split = [
            _free_id(ids[order[line]], suffix, taken)
            for line, suffix in zip(
                at, _suffixes(owners, day[at], other_customer[at], other_day[at]), strict=True
            )
        ]
        order[shared] = len(ids) + number
        ids += split
    if loose.any():
        number, first = _grouped(customer[loose], lines.time[loose])
        owners = names.take(pa.array(customer[loose][first])).to_pylist()
        times = np.datetime_as_string(lines.time[loose][first], unit="us").tolist()
        order[loose] = len(ids) + number
        ids += [f"{owner}@{time}Z" for owner, time in zip(owners, times, strict=True)]
    return order, np.array(ids, dtype=object)


def _earliest_lines(order: np.ndarray, time: np.ndarray, orders: int) -> np.ndarray:
    """The earliest line of each order; for lines without one a last entry that means nothing."""
    with_id = np.flatnonzero(order >= 0)
    by_time = with_id[np.argsort(time[with_id], kind="stable")]
    return np.append(by_time[_first_positions(order[by_time], orders)], 0)


def _suffixes(
    owners: list[str], days: np.ndarray, other_customer: np.ndarray, other_day: np.ndarray
) -> Iterator[str]:
    for owner, day, by_customer, by_day in zip(
        owners, days, other_customer, other_day, strict=True
    ):
        yield (f"-{owner}" if by_customer else "") + (f"@{day}" if by_day else "")


def _grouped(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The group of each row, numbered in order of appearance, and each group's first row."""
    frame = pd.DataFrame(dict(enumerate(keys)))
    number = frame.groupby(list(frame), sort=False).ngroup().to_numpy()
    return number, _first_positions(number, int(number.max()) + 1)


def _free_id(id_: str, suffix: str, taken: set[str]) -> str:
    """The id with its suffix, given again until nothing else has it; it is taken from then on."""
    free = id_ + suffix
    while free in taken:
        free += suffix
    taken.add(free)
    return free


def _signed(
    lines: FileLines, order: np.ndarray, orders: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which lines are returns, and all lines' amounts and quantities, negative for returns.

    A line is a return where the file marks it or its amount (at zero: its quantity) is negative. A
    line worth nothing follows its order: it is no sale of its own beside a return.
    """
    amount, quantity = lines.amount, lines.number["quantity"]
    is_return = lines.is_return | (amount < 0) | ((amount == 0) & (quantity < 0))
    sells = ~is_return & (amount != 0)
    has_sale = np.bincount(order, sells, minlength=orders) > 0
    has_return = np.bincount(order, is_return, minlength=orders) > 0
    is_return |= ~sells & (has_return & ~has_sale)[order]
    return (
        is_return,
        np.where(is_return, -np.abs(amount), amount) + 0.0,
        np.where(is_return, -np.abs(quantity), quantity) + 0.0,
    )


def _transaction_ids(order_ids: np.ndarray, order: np.ndarray, is_return: np.ndarray) -> np.ndarray:
    """The order's id; the return beside a sale, and any id that is taken, gets a suffix."""
    has_sale = np.zeros(len(order_ids), dtype=bool)
    has_sale[order[~is_return]] = True
    ids = pd.Series(order_ids[order])
    clashes = pd.Series(is_return & has_sale[order])
    while clashes.any():
        ids[clashes] = ids[clashes] + RETURN_SUFFIX
        clashes = ids.duplicated()
    return ids.to_numpy()


def _transaction_frame(lines: FileLines, line: np.ndarray) -> pd.DataFrame:
    """The columns that a transaction takes from a line of the file."""
    country = lines.text["country"].take(pa.array(line)).dictionary_encode()
    time = lines.time[line]
    currency = [] if lines.currency is None else [lines.currency]
    return pd.DataFrame(
        {
            "user_id": lines.customer.take(pa.array(line)).to_numpy(zero_copy_only=False),
            "transacted_at": time,
            "recorded_at": time,
            "updated_at": time,
            "currency": categorical(np.full(len(line), len(currency) - 1), currency),
            "country": categorical(_codes(country), country.dictionary.to_pylist()),
            "channel": categorical(np.full(len(line), -1), []),
        }
    )


def _users(transactions: pd.DataFrame) -> pd.DataFrame:
    """Customers, known since their first transaction; a file says nothing more about them."""
    first = transactions.drop_duplicates("user_id")
    frame = pd.DataFrame(
        {
            "user_id": first["user_id"],
            "country": first["country"],
            "created_at": first["recorded_at"],
            "recorded_at": first["recorded_at"],
            "updated_at": first["recorded_at"],
        }
    ).reindex(columns=list(USER_COLUMNS))
    return frame.iloc[ordered(frame, "user_id")].reset_index(drop=True)


def _products(first_seen: pd.Series, currency: str | None) -> pd.DataFrame:
    """Products, known since their first line; their names, prices and costs are not in a file."""
    frame = pd.DataFrame(
        {
            "product_id": first_seen.index.to_numpy(dtype=object),
            "currency": np.full(len(first_seen), currency, dtype=object),
            "recorded_at": first_seen.to_numpy(),
            "updated_at": first_seen.to_numpy(),
        }
    ).reindex(columns=list(PRODUCT_COLUMNS))
    return frame.iloc[ordered(frame, "product_id")].reset_index(drop=True)


def _first_times(codes: np.ndarray, labels: list[str], times: np.ndarray) -> pd.Series:
    given = codes >= 0
    first = np.full(len(labels), np.iinfo(np.int64).max)
    np.minimum.at(first, codes[given], times[given].astype("datetime64[us]").astype(np.int64))
    return pd.Series(first.astype("datetime64[us]"), index=pd.Index(labels, dtype=object))


def _first_positions(group: np.ndarray, groups: int) -> np.ndarray:
    """The position of each group's first member."""
    first = np.empty(groups, dtype=np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return first


def _codes(encoded: pa.DictionaryArray) -> np.ndarray:
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def _whole(values: np.ndarray) -> np.ndarray:
    """Numbers as integers where all are whole and none is beyond what floats can count to."""
    are_whole = np.all((values == np.rint(values)) & (np.abs(values) < _LARGEST_COUNT))
    return values.astype(np.int64) if are_whole else values
