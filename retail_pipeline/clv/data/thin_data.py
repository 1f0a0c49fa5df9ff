"""Warnings about data that are too thin for predictions, each with the remedy.

The check of the training set and `evaluate` show the same sentences.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import pandas as pd

FEWEST_REPEAT_CUSTOMERS = 50
_LEAST_SHARE_OF_REPEATS = 0.01


@dataclass(frozen=True)
class History:
    """The size of a population's history.

    Attributes:
        customers: Number of customers with a purchase.
        repeat_customers: Number of customers with purchases on two days or more.
        history_days: Days since the first purchase of any customer.
    """

    customers: int
    repeat_customers: int
    history_days: int

    @classmethod
    def of(cls, today: pd.DataFrame) -> Self:
        """Return the size of the history in feature rows of one date."""
        repeats = int((today["purchase_days"] > 1).sum())
        return cls(len(today), repeats, int(today["age_days"].max()))

    def warnings(self, horizon_days: int) -> Iterator[str]:
        """Yield a sentence for each reason to doubt predictions over the horizon."""
        if self.repeat_customers < _LEAST_SHARE_OF_REPEATS * self.customers:
            many = f"{self.repeat_customers:,} of {self.customers:,} customers"
            bought = f"only {many} bought" if self.repeat_customers else "no customer bought"
            yield (
                f"{bought} on two days: is customer_id perhaps an order's id? Use the column that "
                "stays the same from order to order, such as customer_unique_id or an e-mail; with "
                "this one nothing about the future can be learned, and an error of 0 means nothing"
            )
        elif self.repeat_customers < FEWEST_REPEAT_CUSTOMERS:
            yield (
                f"{self.repeat_customers} customers bought on two days or more: read the ranking, "
                f"not the amounts, until there are {FEWEST_REPEAT_CUSTOMERS}"
            )
        if self.history_days < 2 * horizon_days:
            yield (
                f"{self.history_days} days of history are less than twice the {horizon_days} days "
                f"predicted: nothing was tested; choose a horizon of {self.history_days // 2} days "
                "or less, or load earlier sales"
            )
