"""Sentences on a predicted total: its test a year before, and why it lies outside its range."""

from collections.abc import Callable

import pandas as pd

_FEW_BUYERS = 20
"""With fewer buyers than this, the mean of a total can lie above nine in ten of its outcomes."""

NOT_TESTED = "no cut-off a year before was tested"


def year_before(
    predicted: float | None, actual: float | None, write: Callable[[float], str]
) -> str:
    """Return the predicted and the actual total a year before in words, or that none was tested."""
    if predicted is None or actual is None or pd.isna(predicted) or pd.isna(actual):
        return NOT_TESTED
    return f"a year before {write(predicted)} were predicted and {write(actual)} were spent"


def outside(value: float, lower: float, upper: float, buyers: float) -> str:
    """Return the reason why a total lies outside its 80 % range; empty if it lies inside.

    Args:
        value: The sum of what is predicted for each customer.
        lower: Lower end of the range.
        upper: Upper end.
        buyers: Customers expected to buy.
    """
    if lower <= value <= upper:
        return ""
    if value > upper and buyers < _FEW_BUYERS:
        return "it lies above its range: it depends on few purchases, and most often less is spent"
    side, error = ("above", "too much") if value > upper else ("below", "too little")
    return (
        f"it lies {side} its range: {error} was predicted at past cut-offs, and the range is "
        "corrected for this but the sum is not; plan with the range"
    )
