"""The records that the API serves, as frames: their columns, their order and their sums.

The simulator and transactions files produce records; `pages` renders them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.business_day import midnight

PRODUCT_COLUMNS = (
    *("product_id", "name", "category", "price", "cost", "currency"),
    *("recorded_at", "updated_at"),
)
USER_COLUMNS = (
    *("user_id", "name", "email", "phone", "address", "country"),
    *("created_at", "recorded_at", "updated_at"),
)
TRANSACTION_COLUMNS = (
    *("transaction_id", "user_id", "transacted_at", "recorded_at", "updated_at"),
    *("type", "currency", "country", "channel", "line_count"),
)
ITEM_COLUMNS = ("line_number", "product_id", "quantity", "unit_price", "discount", "amount")

REJECTED_COLUMNS = ("record_hash", "record", "reason", "line", "transacted_at")


@dataclass(frozen=True)
class RetailRecords:
    """Products, users and transactions, each ordered by `(updated_at, id)`.

    Times are naive UTC `datetime64[us]`. `items` has the lines of all transactions in the order of
    the transactions; `transactions.line_count` is the number of lines of each one.
    """

    products: pd.DataFrame
    users: pd.DataFrame
    transactions: pd.DataFrame
    items: pd.DataFrame

    def before(self, as_of: date, time_zone: str = "UTC") -> "RetailRecords":
        """Return the records with `recorded_at < as_of` (00:00 in the time zone)."""
        end = pd.Timestamp(midnight(as_of, time_zone))
        transactions, items = transactions_before(self.transactions, self.items, end)
        return RetailRecords(
            products=_before(self.products, end),
            users=_before(self.users, end),
            transactions=transactions,
            items=items,
        )


@dataclass(frozen=True)
class Totals:
    """Counts and exact amounts of transactions in one currency; net is sales less returns."""

    transactions: int
    sales: int
    returns: int
    lines: int
    net_amount: Decimal
    sales_amount: Decimal
    returns_amount: Decimal


def totals_of(transactions: pd.DataFrame, items: pd.DataFrame) -> Totals:
    """Return the totals of transactions and their lines (two frames as in `RetailRecords`)."""
    is_return = (transactions["type"] == "return").to_numpy()
    line_is_return = np.repeat(is_return, transactions["line_count"].to_numpy())
    amount = items["amount"].to_numpy()
    sales_amount = exact_sum(amount[~line_is_return])
    returns_amount = -exact_sum(amount[line_is_return])
    return Totals(
        transactions=len(transactions),
        sales=int((~is_return).sum()),
        returns=int(is_return.sum()),
        lines=len(items),
        net_amount=sales_amount - returns_amount,
        sales_amount=sales_amount,
        returns_amount=returns_amount,
    )


def exact_sum(amounts: np.ndarray) -> Decimal:
    """Return the exact sum of numbers by their decimal text: 0.1 counts as exactly 0.1."""
    values, counts = np.unique(amounts, return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return sum((Decimal(repr(value)) * count for value, count in pairs), Decimal(0))


def ordered(frame: pd.DataFrame, key: str) -> np.ndarray:
    """Return the indices that sort records in the API's order: `updated_at`, then id (by bytes)."""
    table = pa.table(
        {
            "updated_at": frame["updated_at"].to_numpy().astype(np.int64),
            key: pa.array(frame[key], pa.string()),
        }
    )
    keys = [("updated_at", "ascending"), (key, "ascending")]
    return pc.sort_indices(table, sort_keys=keys).to_numpy()


def categorical(codes: np.ndarray, labels: Sequence[str]) -> pd.Categorical:
    """Return a categorical from codes, which are indices in a list of labels; -1 is missing."""
    return pd.Categorical.from_codes(cast(Any, codes), cast(Any, list(labels)))


def line_positions(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the indices of lines in runs: for each run, `count` indices from its start.

    For example, starts 0 and 10 with counts 2 and 3 are 0, 1, 10, 11, 12.
    """
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)


def _before(frame: pd.DataFrame, end: pd.Timestamp) -> pd.DataFrame:
    known = frame["recorded_at"] < end
    return frame if known.all() else frame[known].reset_index(drop=True)


def transactions_before(
    transactions: pd.DataFrame, items: pd.DataFrame, end: date | pd.Timestamp
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the transactions with `recorded_at < end` (UTC; a date is 00:00), and their lines."""
    known = (transactions["recorded_at"] < pd.Timestamp(end)).to_numpy()
    if known.all():
        return transactions, items
    known_lines = np.repeat(known, transactions["line_count"].to_numpy())
    return (
        transactions[known].reset_index(drop=True),
        items[known_lines].reset_index(drop=True),
    )
