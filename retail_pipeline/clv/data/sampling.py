"""The training sample of customers, and the parts in which all customers are scored.

A digest of the id decides whether a customer is in the sample, with the same result in SQL and in
pandas. Parts are ranges of ids. Up to `MOST_CUSTOMERS` customers, the sample is all of them and
there is one part.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
import pandas as pd

MOST_CUSTOMERS: Final = 100_000
"""Most customers in the sample, and in one part. More rows would hardly change a fitted model
(docs/decisions/0017), and the limit bounds the memory of a step."""

_DIGITS: Final = 4
_LARGEST_SHARE: Final = 16**_DIGITS


@dataclass(frozen=True)
class TrainingSample:
    """One customer in 1, 2, 4, 8, …: powers of two, so a growing population seldom changes it.

    Attributes:
        one_customer_in: The denominator of the share; 1 takes all customers.
    """

    one_customer_in: int

    @classmethod
    def of(cls, customers: int) -> Self:
        """Return the largest sample of a population with at most about `MOST_CUSTOMERS`."""
        count = 1
        while customers > count * MOST_CUSTOMERS and count < _LARGEST_SHARE:
            count *= 2
        return cls(count)

    def condition(self) -> str:
        """Return the SQL condition on `customer_id` that selects the sample."""
        if self.one_customer_in == 1:
            return "true"
        digits = f"right(md5(customer_id), {_DIGITS})"
        return f"mod(('x' || {digits})::bit({4 * _DIGITS})::integer, {self.one_customer_in}) = 0"

    def chosen(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the customers in the sample, in their order."""
        if self.one_customer_in == 1:
            return frame
        codes, ids = pd.factorize(frame["customer_id"])
        is_chosen = np.array([self._holds(str(customer_id)) for customer_id in ids], bool)
        return frame[is_chosen[codes]].reset_index(drop=True)

    def _holds(self, customer_id: str) -> bool:
        digest = hashlib.md5(customer_id.encode(), usedforsecurity=False).hexdigest()
        return int(digest[-_DIGITS:], 16) % self.one_customer_in == 0


def count_parts(customers: int) -> int:
    """Return the number of parts that a population is scored in; sizes differ by one at most."""
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
