"""Pages of a stream as JSON, by keyset pagination over sorted records.

The columns are prepared once; a page is a slice of them. `app` handles HTTP and parameters, and
`records` defines the records.
"""

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pandas as pd

from retail_pipeline.retail_api.records import ITEM_COLUMNS, RetailRecords

Cells = Callable[[int, int], list]
"""A function that returns a slice of a column as JSON values."""


@dataclass(frozen=True)
class Cursor:
    """The sort key of a page's last record: its `updated_at` (microseconds, UTC) and its id."""

    updated_at: int
    id: str

    def encode(self) -> str:
        """Return the cursor as text for the query parameter `cursor`; opaque to clients."""
        return base64.urlsafe_b64encode(orjson.dumps([self.updated_at, self.id])).decode()

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Return the cursor of a text that `encode` returned.

        Raises:
            ValueError: The text is not a cursor.
        """
        try:
            updated_at, id_ = orjson.loads(base64.urlsafe_b64decode(text.encode()))
        except (binascii.Error, TypeError, ValueError):
            updated_at = id_ = None
        if not (isinstance(updated_at, int) and isinstance(id_, str)):
            raise ValueError("must be the next_cursor of an earlier answer")
        return cls(updated_at, id_)


class StreamPages:
    """The pages of one stream.

    Args:
        frame: The records, ordered by `(updated_at, key)`.
        key: The id column.
        items: The lines of the records, in their order; each record has `frame.line_count` lines.
    """

    def __init__(self, frame: pd.DataFrame, key: str, items: pd.DataFrame | None = None) -> None:
        self._updated_at = microseconds(frame["updated_at"])
        self._ids = frame[key].to_numpy(dtype=object)
        names = [name for name in frame.columns if name != "line_count"]
        self._columns = {name: _cells(frame[name]) for name in names}
        if items is not None:
            self._columns["items"] = _item_cells(frame["line_count"].to_numpy(), items)

    def __len__(self) -> int:
        return len(self._ids)

    def records(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Return a slice of the records as JSON values."""
        columns = [cells(start, stop) for cells in self._columns.values()]
        names = list(self._columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def parts(self, size: int) -> Iterator[list[dict[str, Any]]]:
        """Yield all records as JSON values, in lists of at most `size`."""
        for start in range(0, len(self), size):
            yield self.records(start, min(start + size, len(self)))

    def page(
        self, *, since: int | None, until: int | None, after: Cursor | None, limit: int
    ) -> bytes:
        """Return one page as JSON: `{"data": [...], "next_cursor": text or null}`.

        Args:
            since: The inclusive lower bound of `updated_at`, in microseconds.
            until: The exclusive upper bound of `updated_at`, in microseconds.
            after: The cursor of the previous page.
            limit: The most records on the page.
        """
        end = self.count_before(until)
        start = 0 if since is None else int(np.searchsorted(self._updated_at, since, "left"))
        if after is not None:
            start = max(start, self._position_after(after))
        stop = max(start, min(end, start + limit))
        more = stop < end and stop > start
        last = Cursor(int(self._updated_at[stop - 1]), self._ids[stop - 1]) if more else None
        page = {"data": self.records(start, stop), "next_cursor": last.encode() if last else None}
        return orjson.dumps(page)

    def count_before(self, until: int | None) -> int:
        """Return the number of records with `updated_at` before a time in microseconds."""
        if until is None:
            return len(self)
        return int(np.searchsorted(self._updated_at, until, "left"))

    def _position_after(self, cursor: Cursor) -> int:
        low = int(np.searchsorted(self._updated_at, cursor.updated_at, "left"))
        high = int(np.searchsorted(self._updated_at, cursor.updated_at, "right"))
        return bisect_right(self._ids, cursor.id, low, high)


def stream_pages(records: RetailRecords) -> dict[str, StreamPages]:
    """Return the pages of the three streams by name."""
    return {
        "products": StreamPages(records.products, "product_id"),
        "users": StreamPages(records.users, "user_id"),
        "transactions": StreamPages(records.transactions, "transaction_id", records.items),
    }


def microseconds(times: pd.Series) -> np.ndarray:
    """Return naive UTC times as microseconds since 1970."""
    return times.to_numpy().astype("datetime64[us]").astype(np.int64)


def parse_time(text: str) -> int:
    """Return an ISO 8601 time as microseconds since 1970; a time without a zone is UTC.

    Raises:
        ValueError: The text is not an ISO 8601 time.
    """
    # An unescaped "+" before a zone arrives as a blank in a query string.
    for form in (text, "+".join(text.rsplit(" ", 1))):
        try:
            at = datetime.fromisoformat(form)
        except ValueError:
            continue
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        delta = at - datetime(1970, 1, 1, tzinfo=UTC)
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    raise ValueError("must be a time like 2024-06-01T00:00:00Z")


def _cells(column: pd.Series) -> Cells:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _category_cells(column)
    if column.dtype.kind == "M":
        return _time_cells(column.to_numpy())
    values = column.to_numpy()
    return lambda start, stop: values[start:stop].tolist()


def _category_cells(column: pd.Series) -> Cells:
    labels = np.array([*column.cat.categories, None], dtype=object)
    codes = column.cat.codes.to_numpy()
    return lambda start, stop: labels[codes[start:stop]].tolist()


def _time_cells(times: np.ndarray) -> Cells:
    def cells(start: int, stop: int) -> list:
        texts = np.datetime_as_string(times[start:stop], unit="us").tolist()
        return [None if text == "NaT" else text + "Z" for text in texts]

    return cells


def _item_cells(line_count: np.ndarray, items: pd.DataFrame) -> Cells:
    """Return the column of a record's lines, each value being a list of objects."""
    ends = np.cumsum(line_count)
    columns = [_cells(items[name]) for name in ITEM_COLUMNS]

    def cells(start: int, stop: int) -> list:
        if start == stop:
            return []
        first = int(ends[start] - line_count[start])
        rows = zip(*(column(first, int(ends[stop - 1])) for column in columns), strict=True)
        lines = [dict(zip(ITEM_COLUMNS, row, strict=True)) for row in rows]
        until = (ends[start:stop] - first).tolist()
        return [lines[a:b] for a, b in zip([0, *until[:-1]], until, strict=True)]

    return cells
