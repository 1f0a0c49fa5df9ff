"""The API's records from a transactions file: lines form orders, and orders form sales and returns.

This module has the rules of an order: its id, time and customer, and which of its lines are a
return. `lines` checks single lines.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from retail_pipeline.reading_options import DEFAULT_READING, ReadingOptions
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
from retail_pipeline.retail_api.source.lines import read_lines
from retail_pipeline.retail_api.source.losses import Loss

RETURN_SUFFIX = "-return"
"""Suffix of the return's id if an order has both sales and returns."""


@dataclass(frozen=True)
class TransactionsFile:
    """The content of a file as records.

    Attributes:
        lines: The number of lines in the file: those of `records.items` and of `rejected`.
        records: The valid lines as records; `recorded_at` is the time of the order.
        rejected: The rejected lines, for `quality.rejected_records`: `record_hash, record` (the
            line's values and its number), `reason, line` (1-based without the header),
            `transacted_at` (NaT if invalid).
        nulled: The number of invalid optional values by column; their lines are served without
            them.
        losses: The lines and the values that are not used, by reason.
    """

    lines: int
    records: RetailRecords
    rejected: pd.DataFrame
    nulled: dict[str, int]
    losses: tuple[Loss, ...]


def read_transactions_file(
    path: Path, options: ReadingOptions = DEFAULT_READING
) -> TransactionsFile:
    """Return the records of a file of order lines.

    Required columns: `customer_id, ts, amount`. Optional: `order_id` (or `invoice`), `product_id,
    quantity, unit_price, country, currency, is_return`. Ids are unchanged text. If a line is
    rejected, its order has only the other lines. If customers or days share an order id, each
    customer has a separate order for each day.

    Raises:
        UsageError: The file is missing, unreadable or empty, lacks a required column, has no usable
            line, or holds more than one currency.
    """
    lines = read_lines(path, options)
    records = _records(lines.good, lines.currency)
    return TransactionsFile(lines.count, records, lines.rejected, lines.nulled, lines.losses)


def settled_lines(lines: pd.DataFrame) -> pd.DataFrame:
    """Return valid lines with the number of their `order`, and with their final signs."""
    order, ids = _orders(lines)
    return _signed(lines, order, len(ids)).assign(order=order)


def _records(lines: pd.DataFrame, currency: str | None) -> RetailRecords:
    order, order_ids = _orders(lines)
    first_line = _first_positions(order, len(order_ids))
    lines = _signed(lines, order, len(order_ids))
    transaction, found = pd.factorize(order * 2 + lines["is_return"].to_numpy())
    of_order = found // 2
    transactions = _transaction_columns(lines.iloc[first_line[of_order]], currency).assign(
        transaction_id=_transaction_ids(order_ids, of_order, found % 2 == 1),
        type=categorical(found % 2, ["sale", "return"]),
        line_count=np.bincount(transaction, minlength=len(found)),
    )
    position = ordered(transactions, "transaction_id")
    rank = np.empty(len(position), dtype=np.int64)
    rank[position] = np.arange(len(position))
    transactions = transactions.iloc[position].reset_index(drop=True)
    rank_of_line = rank[transaction]
    seen_at = transactions["transacted_at"].iloc[rank_of_line].reset_index(drop=True)
    items = lines.iloc[np.argsort(rank_of_line, kind="stable")].reset_index(drop=True)
    counts = transactions["line_count"].to_numpy()
    items = items.assign(
        line_number=line_positions(np.ones_like(counts), counts).astype(np.int32),
        quantity=_whole(items["quantity"].to_numpy()),
        discount=np.zeros(len(items), dtype=np.int8),
    )
    return RetailRecords(
        products=_products(seen_at.groupby(lines["product_id"], observed=True).min(), currency),
        users=_users(transactions),
        transactions=transactions[list(TRANSACTION_COLUMNS)],
        items=items[list(ITEM_COLUMNS)],
    )


def _orders(lines: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each line's order, and the orders' ids.

    Lines with an order id form one order if id, customer and day (UTC) are equal; lines without,
    if customer and timestamp are equal. If several orders share an id, the earliest keeps it. The
    others get a suffix with the customer, the day or both, whichever differs from the earliest:
    `<id>-<customer>@<day>`.
    """
    id_, customer = (lines[name].cat.codes.to_numpy() for name in ("order_id", "customer_id"))
    time = lines["time"].to_numpy()
    day = time.astype("datetime64[D]")
    order = _grouped(id_, customer, np.where(id_ < 0, time, day))
    first = _first_positions(order, int(order.max()) + 1)
    given = lines["order_id"].cat.categories
    names = np.array([*lines["customer_id"].cat.categories, ""], dtype=object)  # "": no customer
    by_time = np.argsort(time, kind="stable")
    by_time = by_time[id_[by_time] >= 0]
    keeper = order[by_time[_first_positions(id_[by_time], len(given))]]

    ids = np.array([*given, None], dtype=object)[id_[first]]
    loose = id_[first] < 0
    times = np.datetime_as_string(time[first[loose]], unit="us")
    pairs = zip(names[customer[first[loose]]], times, strict=True)
    ids[loose] = [f"{name}@{at}Z" for name, at in pairs]
    taken = set(given)
    keeps = loose.copy()
    keeps[keeper] = True
    for at in np.flatnonzero(~keeps):
        line, kept = first[at], first[keeper[id_[first[at]]]]
        suffix = f"-{names[customer[line]]}" if customer[line] != customer[kept] else ""
        suffix += f"@{day[line]}" if day[line] != day[kept] else ""
        ids[at] += suffix
        while ids[at] in taken:
            ids[at] += suffix
        taken.add(ids[at])
    return order, ids


def _grouped(*keys: np.ndarray) -> np.ndarray:
    """Return the number of each row's group, counted in order of appearance."""
    frame = pd.DataFrame(dict(enumerate(keys)))
    return frame.groupby(list(frame), sort=False).ngroup().to_numpy()


def _signed(lines: pd.DataFrame, order: np.ndarray, orders: int) -> pd.DataFrame:
    """Return the lines with the final `is_return`, and negative amounts and quantities of returns.

    A line is a return if the file marks it as one or if its amount is negative; for an amount of
    zero the quantity decides. Other lines with amount zero are returns if their order has returns
    and no sales. A voucher is part of its sale: a line with a negative amount and a positive
    quantity, in an order whose other sales are at least as large.
    """
    amount, quantity = lines["amount"].to_numpy(), lines["quantity"].to_numpy()
    is_marked = lines["is_return"].to_numpy()
    is_voucher = ~is_marked & (amount < 0) & (quantity > 0)
    sold = np.bincount(order, np.where(~is_marked & (amount > 0), amount, 0), minlength=orders)
    off = np.bincount(order, np.where(is_voucher, -amount, 0), minlength=orders)
    is_voucher &= (off <= sold)[order]
    is_return = is_marked | ((amount < 0) & ~is_voucher) | ((amount == 0) & (quantity < 0))
    sells = ~is_return & (amount != 0)
    has_sale = np.bincount(order, sells, minlength=orders) > 0
    has_return = np.bincount(order, is_return, minlength=orders) > 0
    is_return = is_return | (~sells & (has_return & ~has_sale)[order])
    return lines.assign(
        is_return=is_return,
        amount=np.where(is_return, -np.abs(amount), amount) + 0.0,
        quantity=np.where(is_return, -np.abs(quantity), quantity) + 0.0,
    )


def _transaction_ids(order_ids: np.ndarray, order: np.ndarray, is_return: np.ndarray) -> np.ndarray:
    """Return the transactions' ids: the order's id, with a suffix if another one has it.

    If an order has a sale and a return, the return gets the suffix.
    """
    has_sale = np.zeros(len(order_ids), dtype=bool)
    has_sale[order[~is_return]] = True
    ids = pd.Series(order_ids[order])
    clashes = pd.Series(is_return & has_sale[order])
    while clashes.any():
        ids[clashes] = ids[clashes] + RETURN_SUFFIX
        clashes = ids.duplicated()
    return ids.to_numpy()


def _transaction_columns(lines: pd.DataFrame, currency: str | None) -> pd.DataFrame:
    """Return the transaction columns that are taken from the first line of each transaction."""
    currencies = [] if currency is None else [currency]
    time = lines["time"].to_numpy()
    return pd.DataFrame(
        {
            "user_id": np.array(
                [None if pd.isna(id_) else id_ for id_ in lines["customer_id"]], object
            ),
            "transacted_at": time,
            "recorded_at": time,
            "updated_at": time,
            "currency": categorical(np.full(len(lines), len(currencies) - 1), currencies),
            "country": lines["country"].array,
            "channel": categorical(np.full(len(lines), -1), []),
        }
    )


def _users(transactions: pd.DataFrame) -> pd.DataFrame:
    """Return the users, recorded at their first transaction; a file has no other data of them."""
    first = transactions.dropna(subset=["user_id"]).drop_duplicates("user_id")
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
    """Return the products, recorded at their first line; a file has no names, prices or costs."""
    frame = pd.DataFrame(
        {
            "product_id": first_seen.index.to_numpy(dtype=object),
            "currency": np.full(len(first_seen), currency, dtype=object),
            "recorded_at": first_seen.to_numpy(),
            "updated_at": first_seen.to_numpy(),
        }
    ).reindex(columns=list(PRODUCT_COLUMNS))
    return frame.iloc[ordered(frame, "product_id")].reset_index(drop=True)


def _first_positions(group: np.ndarray, groups: int) -> np.ndarray:
    """Return the index of each group's first member."""
    first = np.empty(groups, dtype=np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return first


def _whole(values: np.ndarray) -> np.ndarray:
    """Return numbers as integers if all are whole."""
    return values.astype(np.int64) if np.all(values == np.rint(values)) else values
