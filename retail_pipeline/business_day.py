"""Days of the shop's time zone: a day begins at its local midnight."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo


def midnight(day: date, time_zone: str) -> datetime:
    """Return the first instant of a day in a time zone, as naive UTC.

    Of a midnight that occurs twice, when clocks go back, it is the first one. If clocks go forward
    at midnight, it is the instant of the change: 2018-11-04 in America/Sao_Paulo began at 01:00
    local time, 03:00 UTC.
    """
    local = datetime.combine(day, time(), ZoneInfo(time_zone))
    return local.astimezone(UTC).replace(tzinfo=None)


def today(time_zone: str = "UTC") -> date:
    """Return the current day in a time zone."""
    return datetime.now(ZoneInfo(time_zone)).date()


def local_day(time: datetime, time_zone: str) -> date:
    """Return the day of an instant (naive UTC) in a time zone."""
    return time.replace(tzinfo=UTC).astimezone(ZoneInfo(time_zone)).date()
