"""What all figures over the backtest share: their source, which rows count, what is said.

Nothing is drawn here.
"""

from datetime import date

import numpy as np
import pandas as pd

from retail_pipeline.figures.page import words
from retail_pipeline.figures.style import (
    Plot,
    counted,
    day,
)

PREDICTIONS, METRICS = "clv.backtest_predictions", "clv.backtest_metrics"


def source_of(table: str, as_of: date, sampled: int = 1) -> str:
    """Return the footer's first sentences.

    Args:
        table: `schema.name`.
        as_of: The day before which data count.
        sampled: One customer in so many was read.
    """
    source = f"Source: {table}, data before {day(as_of)}."
    if sampled > 1:
        source += f" A fixed sample of one customer in {sampled}."
    return source


def no_outcome(horizon_days: int, as_of: date, source: str) -> Plot:
    """Return the figure that says that no past prediction can be checked yet."""
    return words(
        "No past prediction can be checked yet",
        [
            f"No cut-off lies {counted(horizon_days, 'day')} before {day(as_of)} with customers to "
            "predict, so there is no complete past outcome to compare with.",
            "Predictions are served unvalidated until there is one.",
        ],
        source,
    )


def with_outcome(predictions: pd.DataFrame, *others: str) -> pd.DataFrame:
    """Return the rows whose prediction and outcome are both known, as numbers.

    Args:
        predictions: `cutoff_date, customer_id, predicted_value, actual_value`.
        others: Further columns of numbers that are needed.
    """
    values = ["predicted_value", "actual_value", *others]
    frame = predictions[["cutoff_date", "customer_id", *values]].copy()
    frame[values] = frame[values].apply(pd.to_numeric).astype(float)
    return frame.replace([np.inf, -np.inf], np.nan).dropna(subset=values)


def cutoffs_in_words(frame: pd.DataFrame) -> str:
    """Return `cut-off 1 Jun 2011`, or `12 cut-offs from … to …`."""
    days = pd.to_datetime(frame["cutoff_date"])
    first, last = days.min(), days.max()
    if first == last:
        return f"cut-off {day(first)}"
    return f"{days.nunique()} cut-offs from {day(first)} to {day(last)}"


def by_rank(known: pd.DataFrame, most: int = 10) -> pd.DataFrame:
    """Return the rows with `group`, 1 the lowest: ranks of the prediction within each cut-off.

    Args:
        known: As `with_outcome` returns it.
        most: Groups; fewer where there are fewer customers.
    """
    frame = known.sort_values(["cutoff_date", "predicted_value", "customer_id"])
    customers = frame.groupby("cutoff_date")["customer_id"].transform("size")
    groups = int(min(most, customers.max()))
    rank = frame.groupby("cutoff_date").cumcount()
    frame["group"] = (rank * groups // customers).astype(int) + 1
    return frame


_ORDINALS = {10: "tenth", 5: "fifth", 4: "quarter", 3: "third", 2: "half"}


def group_in_words(groups: int) -> str:
    """Return what one of so many groups is called: `tenth`, `third`, or `group`."""
    return _ORDINALS.get(groups, "group")


def per_cutoff(rows: pd.Series, cutoffs: int) -> pd.Series:
    """Return how many outcomes count as independent: those of one mean cut-off.

    The cut-offs are a month apart and their outcomes overlap, with the same customers in them:
    counted all together, they would feign certainty.
    """
    return (rows / max(cutoffs, 1)).clip(lower=1.0)


def wilson(shares: pd.Series, size: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the 95 % interval of shares (Wilson 1927).

    Args:
        shares: Of one, observed.
        size: Independent observations behind each.
    """
    z = 1.96
    middle = (shares + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(shares * (1 - shares) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    return (middle - half).clip(lower=0.0), (middle + half).clip(upper=1.0)
