"""Customers in buckets of bounded size, by a digest of their id: one rule in SQL and in pandas.

Models learn from the first bucket and score one bucket after the other. Up to `MOST_CUSTOMERS`
there is one bucket, of everybody. Nothing is read or fitted here.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pandas as pd

MOST_CUSTOMERS: Final = 100_000
"""In one bucket, on average over the buckets. More rows would not move what is learned (docs/
decisions/0037), and bound how much a step holds in memory."""

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

    def condition(self, bucket: int = 0) -> str:
        """Return the SQL condition on `customer_id` of one bucket."""
        if self.count == 1:
            return "true"
        digits = f"right(md5(customer_id), {_DIGITS})"
        return f"mod(('x' || {digits})::bit({4 * _DIGITS})::integer, {self.count}) = {bucket}"

    def chosen(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the customers in the first bucket, in their order."""
        return next(self.parts(frame))

    def parts(self, frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
        """Yield the rows of the customers in each bucket, in their order."""
        if self.count == 1:
            yield frame
            return
        codes, ids = pd.factorize(frame["customer_id"])
        numbers = np.array([self._bucket(str(customer_id)) for customer_id in ids], dtype=int)
        for bucket in range(self.count):
            yield frame[numbers[codes] == bucket].reset_index(drop=True)

    def _bucket(self, customer_id: str) -> int:
        digest = hashlib.md5(customer_id.encode(), usedforsecurity=False).hexdigest()
        return int(digest[-_DIGITS:], 16) % self.count
