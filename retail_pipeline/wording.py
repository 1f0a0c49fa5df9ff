"""Numbers as people read them in reports and in reasons: one way for each kind."""

import math
from typing import Final

MISSING: Final = "\N{EN DASH}"


def number(value: float | None, *, sign: str = "") -> str:
    """Write a number: `12,345`, `1.50`, `0.123`; a missing or infinite one becomes a dash.

    Args:
        value: From 100 on it loses its decimals, as a whole one has none.
        sign: `+` writes a plus before positive numbers.
    """
    return _written(value, 3 if value is not None and abs(value) < 1 else 2, sign)


def money(value: float | None, currency: str, *, sign: str = "") -> str:
    """Write an amount: `1,234 EUR`, `12.50 EUR`; the data may name no currency."""
    return f"{_written(value, 2, sign)} {currency}".rstrip()


def share(value: float | None, *, digits: int = 0, sign: str = "") -> str:
    """Write a share of one in percent: `23%`."""
    return MISSING if _is_missing(value) else f"{value:{sign}z.{digits}%}"


def counted(value: int, noun: str) -> str:
    """Write a number of things: `1 check`, `12,345 customers`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def _written(value: float | None, digits: int, sign: str) -> str:
    if value is None or _is_missing(value):
        return MISSING
    if value == round(value) or abs(value) >= 100:
        digits = 0
    return f"{value:{sign}z,.{digits}f}"


def _is_missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
