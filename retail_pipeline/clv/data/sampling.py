"""Which customers models learn from, and in which parts everybody is scored.

Models learn from a bucket: customers by a digest of their id, one rule in SQL and in pandas. They
score parts: ranges of ids, as tables lie. Up to `MOST_CUSTOMERS` there is one of either, of
everybody. Nothing is read or fitted here.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
import pandas as pd

MOST_CUSTOMERS: Final = 100_000
"""In one bucket, on average over the buckets, and in one part. More rows would not move what is
learned (docs/decisions/0037), and both bound how much a step holds in memory."""

_DIGITS: Final = 4
_MOST_BUCKETS: Final = 16**_DIGITS


@dataclass(frozen=True)
class Buckets:
    """How many buckets a population has: a power of two, so that a growing one seldom changes it.

    Attributes:
        count: The number of buckets, 1 where everybody is in one.
    """

    count: int

    @classmethod
    def of(cls, customers: int) -> Self:
        """Return the fewest buckets that hold so many customers."""
        count = 1
        while customers > count * MOST_CUSTOMERS and count < _MOST_BUCKETS:
            count *= 2
        return cls(count)

    def condition(self) -> str:
        """Return the SQL condition on `customer_id` of those that models learn from."""
        if self.count == 1:
            return "true"
        digits = f"right(md5(customer_id), {_DIGITS})"
        return f"mod(('x' || {digits})::bit({4 * _DIGITS})::integer, {self.count}) = 0"

    def chosen(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the customers that models learn from, in their order."""
        if self.count == 1:
            return frame
        codes, ids = pd.factorize(frame["customer_id"])
        is_chosen = np.array([self._bucket(str(customer_id)) == 0 for customer_id in ids], bool)
        return frame[is_chosen[codes]].reset_index(drop=True)

    def _bucket(self, customer_id: str) -> int:
        digest = hashlib.md5(customer_id.encode(), usedforsecurity=False).hexdigest()
        return int(digest[-_DIGITS:], 16) % self.count


def count_parts(customers: int) -> int:
    """Return in how many parts, of one size but for one customer, a population is scored."""
    return max(-(-customers // MOST_CUSTOMERS), 1)


def parts(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield a population in parts.

    Args:
        frame: One row per customer, in the order of ids.
    """
    count = count_parts(len(frame))
    size, larger = divmod(len(frame), count)
    for start, end in pairwise(size * part + min(part, larger) for part in range(count + 1)):
        yield frame.iloc[start:end].reset_index(drop=True)
