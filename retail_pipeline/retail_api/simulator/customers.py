"""The population: arrival, purchase rate, dropout and spending of every customer.

Purchase and dropout rates are gamma mixtures as in Schmittlein, Morrison and Colombo; spending is
lognormal. The purchases are drawn in `orders`.
"""

from dataclasses import dataclass, fields
from datetime import date

import numpy as np
from scipy.special import gammaincinv, ndtr

from retail_pipeline.retail_api.simulator.calendar import ShoppingCalendar, day_number
from retail_pipeline.retail_api.simulator.draws import Draws, Floats, Ints

DEFAULT_AS_OF = date(2025, 1, 1)
"""The simulator's default as-of date, at which `customers` customers exist."""

SHARE_AT_START = 0.35

_RATE_SHAPE, _RATE_DAYS = 0.75, 77.0
_DROPOUT_SHAPE, _DROPOUT_DAYS = 0.45, 150.0
_LOG_SPEND_MEAN, _LOG_SPEND_SD_BETWEEN = 3.635, 0.55
LOG_SPEND_SD_WITHIN = 0.64
_RATE_SPEND_CORRELATION = 0.21
_WHOLESALE_SHARE, _WHOLESALE_SPEND, _WHOLESALE_RATE = 0.004, 8.0, 2.0

_LOWEST_RATE, _HIGHEST_RATE, _WIDEST_SPEND = 1e-9, 0.12, 2.25
"""Bounds of the rate (per day) and the spending (standard deviations). Without them one customer in
ten thousand can account for a fifteenth of the revenue, and statistics depend on the seed."""

_FIRST_SEEN_WITHIN_DAYS = 365.0


@dataclass(frozen=True)
class Customers:
    """The customers in order of arrival, as arrays; the first ones exist when the history starts.

    Attributes:
        number: The customer's number, from 0.
        purchase_rate: Purchases per day of shopping time while the customer is active.
        dropout_rate: The rate per day at which an active customer stops for good.
        log_spend: The mean of the logarithm of an order's value.
        is_wholesaler: Whether the customer is a wholesaler, with much larger orders.
        exists_at_start: Whether the customer exists before the history starts.
        first_purchase: The shopping time of the first purchase in the history.
        dropout_day: The day (with fraction) from which the customer makes no more purchases.
    """

    number: Ints
    purchase_rate: Floats
    dropout_rate: Floats
    log_spend: Floats
    is_wholesaler: np.ndarray
    exists_at_start: np.ndarray
    first_purchase: Floats
    dropout_day: Floats

    def take(self, keep: np.ndarray) -> "Customers":
        """Return the customers at some indices (or where a mask is true)."""
        return Customers(**{f.name: getattr(self, f.name)[keep] for f in fields(self)})


def population(
    draws: Draws, *, customers: int, until: int, calendar: ShoppingCalendar
) -> Customers:
    """Return the customers who exist at the start, and those who arrive before day `until`.

    A share of `customers` exists when the history starts and makes a purchase within the first
    year. The rest arrive at a constant rate in shopping time until the default as-of date; later
    arrivals continue at that rate.
    """
    at_start = round(SHARE_AT_START * customers)
    pace = _arrival_pace(customers - at_start)
    elapsed = float(calendar.shopping_time(np.array([float(until)]))[0])
    number = np.arange(at_start + int(np.ceil(elapsed / pace)) + 1)
    exists = number < at_start
    normal_rate = draws.normal("purchase rate", number)
    wholesale = draws.uniform("wholesale", number) < _WHOLESALE_SHARE
    rate = gammaincinv(_RATE_SHAPE, ndtr(normal_rate)) / _RATE_DAYS
    rate = np.clip(rate * np.where(wholesale, _WHOLESALE_RATE, 1.0), _LOWEST_RATE, _HIGHEST_RATE)
    dropout = gammaincinv(_DROPOUT_SHAPE, draws.uniform("dropout rate", number)) / _DROPOUT_DAYS
    arrival = (number - at_start + draws.uniform("arrival", number)) * pace
    first = np.where(exists, _first_return(draws, number, rate), arrival)
    lifetime = -np.log(draws.uniform("lifetime", number)) / np.maximum(dropout, 1e-12)
    everybody = Customers(
        number=number,
        purchase_rate=rate,
        dropout_rate=dropout,
        log_spend=_log_spend(draws, number, normal_rate, wholesale),
        is_wholesaler=wholesale,
        exists_at_start=exists,
        first_purchase=first,
        dropout_day=calendar.day(first) + lifetime,
    )
    return everybody.take(exists | (first < elapsed))


def _arrival_pace(arrivals: int) -> float:
    """Return the shopping time between arrivals, for `arrivals` until the default as-of date."""
    days = day_number(DEFAULT_AS_OF)
    total = ShoppingCalendar(days).shopping_time(np.array([float(days)]))[0]
    return float(total) / arrivals


def _first_return(draws: Draws, number: Ints, rate: Floats) -> Floats:
    """Return exponential waiting times at the customers' rates, conditional on at most a year."""
    within = -np.expm1(-rate * _FIRST_SEEN_WITHIN_DAYS)
    return -np.log1p(-draws.uniform("first return", number) * within) / rate


def _log_spend(draws: Draws, number: Ints, normal_rate: Floats, wholesale: np.ndarray) -> Floats:
    own = draws.normal("spend", number)
    mixed = _RATE_SPEND_CORRELATION * normal_rate + np.sqrt(1 - _RATE_SPEND_CORRELATION**2) * own
    mixed = np.clip(mixed, -_WIDEST_SPEND, _WIDEST_SPEND)
    extra = np.where(wholesale, np.log(_WHOLESALE_SPEND), 0.0)
    return _LOG_SPEND_MEAN + _LOG_SPEND_SD_BETWEEN * mixed + extra
