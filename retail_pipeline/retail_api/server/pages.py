"""Pages of a stream as JSON: keyset pagination over records that lie in their final order.

Columns are prepared once; a page slices and renders them. Parameters of requests and HTTP belong
to `app`, the records' meaning to `records`.
"""

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import orjson
import pandas as pd

from retail_pipeline.retail_api.records import ITEM_COLUMNS

Cells = Callable[[int, int], list]
"""Values of a column from one position to another, ready for JSON."""


@dataclass(frozen=True)
class Cursor:
    """The place of the last record of a page: its `updated_at` (microseconds, UTC) and its id."""

    updated_at: int
    id: str

    def encode(self) -> str:
        """Text for the query parameter `cursor`; opaque to clients."""
        return base64.urlsafe_b64encode(orjson.dumps([self.updated_at, self.id])).decode()

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Read what `encode` wrote.

        Raises:
            ValueError: The text is not such a cursor.
        """
        try:
            updated_at, id_ = orjson.loads(base64.urlsafe_b64decode(text.encode()))
        except (binascii.Error, orjson.JSONDecodeError, TypeError, ValueError) as error:
            raise ValueError("not a cursor") from error
        if not (isinstance(updated_at, int) and isinstance(id_, str)):
            raise ValueError("not a cursor")
        return cls(updated_at, id_)


class StreamPages:
    """One stream, ready to be served.

    Args:
        frame: Records ordered by `(updated_at, key)`.
        key: The id column.
        items: Lines of the records, `frame.line_count` of them each, in the records' order.
    """

    def __init__(self, frame: pd.DataFrame, key: str, items: pd.DataFrame | None = None) -> None:
        self._updated_at = microseconds(frame["updated_at"])
        self._ids = frame[key].to_numpy(dtype=object)
        names = [name for name in frame.columns if name != "line_count"]
        self._columns = {name: _cells(frame[name]) for name in names}
        if items is not None:
            self._columns["items"] = _item_cells(frame["line_count"].to_numpy(), items)

    def page(
        self, *, since: int | None, until: int | None, after: Cursor | None, limit: int
    ) -> bytes:
        """One page as JSON: `{"data": [...], "next_cursor": text or null}`.

        Args:
            since: Inclusive lower bound of `updated_at`, in microseconds.
            until: Exclusive upper bound of `updated_at`, in microseconds.
            after: Where the page before ended.
            limit: Most records on the page.
        """
        end = self.count_before(until)
        start = 0 if since is None else int(np.searchsorted(self._updated_at, since, "left"))
        if after is not None:
            start = max(start, self._position_after(after))
        stop = max(start, min(end, start + limit))
        columns = [cells(start, stop) for cells in self._columns.values()]
        names = list(self._columns)
        data = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        more = stop < end and stop > start
        last = Cursor(int(self._updated_at[stop - 1]), self._ids[stop - 1]) if more else None
        return orjson.dumps({"data": data, "next_cursor": last.encode() if last else None})

    def count_before(self, until: int | None) -> int:
        """How many records have `updated_at` before a time in microseconds."""
        if until is None:
            return len(self._ids)
        return int(np.searchsorted(self._updated_at, until, "left"))

    def _position_after(self, cursor: Cursor) -> int:
        low = int(np.searchsorted(self._updated_at, cursor.updated_at, "left"))
        high = int(np.searchsorted(self._updated_at, cursor.updated_at, "right"))
        return bisect_right(self._ids, cursor.id, low, high)


def microseconds(times: pd.Series) -> np.ndarray:
    """Naive UTC times as microseconds since 1970."""
    return times.to_numpy().astype("datetime64[us]").astype(np.int64)


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time; without a zone it is UTC.

    Raises:
        ValueError: The text is no such time.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        # In a query string an unescaped "+" before a zone arrives as a blank.
        at = datetime.fromisoformat("+".join(text.rsplit(" ", 1)))
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


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
    """The lines of each record as a list of objects."""
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
