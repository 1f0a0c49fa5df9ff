"""Numbers, amounts, shares and counts as text for reports, reasons and messages."""

import math
from typing import Final

MISSING: Final = "\N{EN DASH}"


def number(value: float | None, *, sign: str = "") -> str:
    """Return a number as text: `12,345`, `1.50`, `0.123`, or a dash if missing or infinite.

    Args:
        value: The number. Whole numbers, and numbers from 100 on, are written without decimals.
        sign: `+` writes a plus before positive numbers.
    """
    return _written(value, 3 if value is not None and abs(value) < 1 else 2, sign)


def money(value: float | None, currency: str, *, sign: str = "") -> str:
    """Return an amount as text: `1,234 EUR`, `12.50 EUR`, or `12.50` without a currency."""
    return f"{_written(value, 2, sign)} {currency}".rstrip()


def share(value: float | None, *, digits: int = 0, sign: str = "") -> str:
    """Return a share of one in percent: `23%`."""
    return MISSING if _is_missing(value) else f"{value:{sign}z.{digits}%}"


def span(lower: float, value: float, upper: float, most: float, *, width: int = 30) -> str:
    """Return a value and its range as a line of marks: `····├──●────┤······`.

    Args:
        lower: Lower end of the range.
        value: The value; it may lie outside.
        upper: Upper end.
        most: The amount at the right end of the line; its left end is 0.
        width: Number of marks.
    """
    if _is_missing(lower) or _is_missing(upper) or not most > 0:
        return MISSING
    low, at, high = (
        round(max(0.0, min(1.0, amount / most)) * (width - 1)) for amount in (lower, value, upper)
    )
    marks = ["─" if low < place < high else "·" for place in range(width)]
    marks[low], marks[high] = "├", "┤"
    marks[at] = "●"
    return "".join(marks)


def counted(value: int, noun: str) -> str:
    """Return a count with its noun: `1 check`, `12,345 customers`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def _written(value: float | None, digits: int, sign: str) -> str:
    if value is None or _is_missing(value):
        return MISSING
    if value == round(value) or abs(value) >= 100:
        digits = 0
    return f"{value:{sign}z,.{digits}f}"


def _is_missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
