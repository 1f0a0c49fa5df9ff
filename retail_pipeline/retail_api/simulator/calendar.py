"""Season, weekday and hour of purchases, by a shopping time that runs faster on busy days.

A customer's purchase rate is constant in shopping time. This module converts shopping time to days,
and draws times of day; customers and their rates are in `customers`.
"""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from retail_pipeline.retail_api.simulator.draws import Floats, Ints

HISTORY_START = date(2023, 1, 1)
"""The first day with records."""

SECONDS_PER_DAY = 86_400

_MONTH_LEVELS = (0.86, 0.72, 0.84, 0.86, 0.88, 0.90, 0.88, 0.90, 1.08, 1.34, 1.75, 1.42)
"""January to December: November is twice a spring month, February the lowest."""

_WEEKDAY_LEVELS = (0.95, 0.92, 0.95, 1.02, 1.08, 1.12, 0.96)
"""Monday to Sunday."""

_HOUR_LEVELS = (
    *(0, 0, 0, 0, 0, 0, 0.2, 1.0, 2.6, 4.6, 6.0, 6.6),
    *(7.2, 6.6, 6.0, 5.8, 5.6, 5.4, 5.2, 5.4, 5.2, 3.6, 1.4, 0),
)
"""Hours of the UTC day. There are no purchases from 23:00 to 06:00, so that an order or a reversal
some minutes after a purchase falls on the same day."""

_START = np.datetime64(HISTORY_START, "D")


def day_number(day: date) -> int:
    """Return the number of days since the start of the history."""
    return (day - HISTORY_START).days


class ShoppingCalendar:
    """The conversion between shopping time and days, for `days` days from the history's start."""

    def __init__(self, days: int) -> None:
        self.levels = _daily_levels(days)
        self._elapsed = np.concatenate([[0.0], np.cumsum(self.levels)])
        self._days = np.arange(days + 1, dtype=np.float64)

    def shopping_time(self, day: Floats) -> Floats:
        """Return the shopping time that has passed at a day (with fraction)."""
        return np.interp(day, self._days, self._elapsed)

    def day(self, shopping_time: Floats) -> Floats:
        """Return the day (with fraction) of a shopping time; infinite after the calendar's end."""
        return np.interp(shopping_time, self._elapsed, self._days, right=np.inf)


def second_of_day(uniform: Floats) -> Ints:
    """Return times of day in seconds, from uniform draws."""
    shares = np.cumsum(_HOUR_LEVELS) / np.sum(_HOUR_LEVELS)
    hours = np.interp(uniform, np.concatenate([[0.0], shares]), np.arange(25.0))
    return (hours * 3600).astype(np.int64)


def timestamps(day: Ints, second: Ints) -> NDArray[np.datetime64]:
    """Return UTC times from day numbers and seconds of the day."""
    start = _START.astype("datetime64[s]").astype(np.int64)
    return (start + day * SECONDS_PER_DAY + second).astype("datetime64[s]").astype("datetime64[us]")


def _daily_levels(days: int) -> Floats:
    dates = _START + np.arange(days)
    months = dates.astype("datetime64[M]").astype(np.int64) % 12
    day_of_month = (dates - dates.astype("datetime64[M]")).astype(np.int64)
    position = months + (day_of_month + 0.5) / 30.5 - 0.5
    season = np.interp(position, np.arange(12), _MONTH_LEVELS, period=12)
    weekday = np.asarray(_WEEKDAY_LEVELS)[(dates.astype(np.int64) + 3) % 7]
    closed = ((months == 11) & (day_of_month == 24)) | ((months == 0) & (day_of_month == 0))
    return season * weekday * np.where(closed, 0.2, 1.0) / np.mean(_MONTH_LEVELS)
