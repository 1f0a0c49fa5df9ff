"""What is said of a predicted total: how it did a year before, and why it may miss its range."""

from collections.abc import Callable

import pandas as pd

_FEW_BUYERS = 20
"""Of fewer, the mean of a total can lie above nine of ten of its outcomes."""

NOT_TESTED = "no cut-off a year before was tested"


def year_before(
    predicted: float | None, actual: float | None, write: Callable[[float], str]
) -> str:
    """Return what was predicted a year before and what came, or that nothing was tested then."""
    if predicted is None or actual is None or pd.isna(predicted) or pd.isna(actual):
        return NOT_TESTED
    return f"a year before {write(predicted)} were predicted and {write(actual)} came"


def outside(value: float, lower: float, upper: float, buyers: float) -> str:
    """Return why a total lies outside its 80 % range; nothing where it lies inside.

    Args:
        value: The sum of what is predicted for each customer.
        lower: Lower end of the range.
        upper: Upper end.
        buyers: Customers expected to buy.
    """
    if lower <= value <= upper:
        return ""
    if value > upper and buyers < _FEW_BUYERS:
        return "it lies above its range: few purchases decide it, and most often they bring less"
    side, error = ("above", "too much") if value > upper else ("below", "too little")
    return (
        f"it lies {side} its range: past cut-offs were predicted {error}, which the range makes "
        "up for and the sum does not; count on the range"
    )
