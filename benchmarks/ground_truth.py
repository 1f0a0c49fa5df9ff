"""The expected value of simulated customers, from their true rates, spending and dropout.

It is known for simulated shops only, and the API never serves it.
"""

from datetime import date

import numpy as np
import pandas as pd
from scipy.special import gammainc

from retail_pipeline.retail_api.simulator import Simulation
from retail_pipeline.retail_api.simulator.calendar import ShoppingCalendar, day_number
from retail_pipeline.retail_api.simulator.customers import LOG_SPEND_SD_WITHIN
from retail_pipeline.retail_api.simulator.draws import Floats
from retail_pipeline.retail_api.simulator.orders import (
    FULL_RETURN_SHARE,
    GAP_SHAPE,
    REGULAR,
    RETURNED_SHARE,
    REVERSED_SHARE,
    SECOND_ORDER_SHARE,
)
from retail_pipeline.retail_api.simulator.simulation import user_ids

_PARTIAL_RETURN_SHARE_OF_VALUE = 0.53
"""The mean share of an order's value in one of its lines."""


class GroundTruth:
    """The hidden state of a simulation, and expected values computed from it."""

    def __init__(self, simulation: Simulation) -> None:
        self._customers, self._orders = simulation.customers, simulation.orders
        self._user_ids = user_ids(simulation.customers.number)

    def expected_value(self, as_of: date, horizon_days: int) -> pd.DataFrame:
        """Return the expectations of an oracle that uses each customer's true rates and past.

        Args:
            as_of: The oracle uses purchases before this day.
            horizon_days: Days from `as_of` on that the expectations cover.

        Returns:
            One row per customer with a purchase before `as_of`: `customer_id, expected_value,
            expected_orders, probability_active`.
        """
        start = day_number(as_of)
        known = (self._orders.kind == REGULAR) & (self._orders.day < start)
        last = np.full(len(self._user_ids), -1)
        np.maximum.at(last, self._orders.customer[known], self._orders.day[known])
        buyers = np.flatnonzero(last >= 0)
        calendar = ShoppingCalendar(start + horizon_days)
        active = self._probability_active(buyers, last[buyers], start, calendar)
        orders = active * self._orders_if_active(buyers, calendar.levels[start:])
        value = orders * self._mean_order_value()[buyers] * _kept_share()
        return pd.DataFrame(
            {
                "customer_id": self._user_ids[buyers],
                "expected_value": value,
                "expected_orders": orders,
                "probability_active": active,
            }
        )

    def is_active(self, day: date) -> pd.Series:
        """Return whether each customer (index: `customer_id`) is still active on a day."""
        alive = self._customers.dropout_day > day_number(day)
        return pd.Series(alive, index=pd.Index(self._user_ids, name="customer_id"))

    def _probability_active(
        self, buyers: np.ndarray, last: np.ndarray, start: int, calendar: ShoppingCalendar
    ) -> Floats:
        """Return the probability of being active after a silence of length a.

        Gaps are gamma distributed and dropout is exponential. A silence has one of two causes:
        survival without a purchase, e^(-mu a) S(a), or a dropout at a time s before the next
        purchase, the integral of mu e^(-mu s) S(s) over the silence.
        """
        beta = GAP_SHAPE * self._customers.purchase_rate[buyers]
        mu = self._customers.dropout_rate[buyers]
        days = start - last.astype(np.float64)
        silence = calendar.shopping_time(np.full(len(buyers), float(start)))
        silence = silence - calendar.shopping_time(last.astype(np.float64))
        survived = np.exp(-mu * days) * (1 - gammainc(GAP_SHAPE, beta * silence))
        bought_first = (beta / (beta + mu)) ** GAP_SHAPE * gammainc(
            GAP_SHAPE, (beta + mu) * silence
        )
        return np.clip(survived / np.maximum(1 - bought_first, 1e-12), 0.0, 1.0)

    def _orders_if_active(self, buyers: np.ndarray, levels: Floats) -> Floats:
        """Return the expected purchases of customers who are active on the first day."""
        day = np.arange(len(levels)) + 0.5
        total = np.zeros(len(buyers))
        mu = self._customers.dropout_rate[buyers]
        for level, elapsed in zip(levels, day, strict=True):
            total += level * np.exp(-mu * elapsed)
        return total * self._customers.purchase_rate[buyers]

    def _mean_order_value(self) -> Floats:
        return np.exp(self._customers.log_spend + LOG_SPEND_SD_WITHIN**2 / 2)


def _kept_share() -> float:
    """Return a purchase's value relative to its first order, with second orders and returns."""
    returned = RETURNED_SHARE * (
        FULL_RETURN_SHARE + (1 - FULL_RETURN_SHARE) * _PARTIAL_RETURN_SHARE_OF_VALUE
    )
    return (1 + SECOND_ORDER_SHARE) * (1 - returned - REVERSED_SHARE)
