"""Helpers of the backtest figures: selection of rows, groups by rank, intervals.

The only figure here is `no_outcome`, the sentence that no past prediction can be checked yet.
"""

from collections.abc import Callable
from functools import wraps

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retail_pipeline.figures.queries import Context, Outcomes
from retail_pipeline.figures.style import Plot, in_house_style, source_of, words
from retail_pipeline.figures.writing import counted, day, model_in_words

METRICS = "clv.backtest_metrics"

_GROUPS = {10: "tenth", 5: "fifth", 4: "quarter", 3: "third", 2: "half"}

_OfKnown = Callable[[pd.DataFrame, Context, str], Plot]
_OfPast = Callable[[Outcomes, Context], Plot]


def of_past_outcomes(*others: str, money: bool = False) -> Callable[[_OfKnown], _OfPast]:
    """Return a decorator for figures of past predictions whose outcome is known.

    The decorated function receives these rows, the context and the footer's first sentences, and
    runs inside `house_style()`. Without any row, `no_outcome` replaces the figure.

    Args:
        others: Numeric columns that may not be null, besides predicted and actual value.
        money: Whether the figure shows amounts.
    """

    def decorate(draw: _OfKnown) -> _OfPast:
        @in_house_style
        @wraps(draw)
        def drawn(past: Outcomes, context: Context) -> Plot:
            source = source_of(context, "clv.backtest_predictions", money=money)
            if past.sampled > 1:
                source += f" A fixed sample of one customer in {past.sampled}."
            known = _with_outcome(past, *others)
            return no_outcome(context, source) if known.empty else draw(known, context, source)

        return drawn

    return decorate


def no_outcome(context: Context, source: str) -> Plot:
    """Return a figure with the sentence that no past prediction can be checked yet."""
    return words(
        "No past prediction can be checked yet",
        f"A check needs a cut-off at least {counted(context.horizon_days, 'day')} before "
        f"{day(context.as_of)} with customers to predict, and there is none yet. Until then, "
        "predictions are served unvalidated.",
        source,
    )


def model_and_cutoffs(context: Context, known: pd.DataFrame) -> str:
    """Return the end of a subtitle: the served model and the cut-offs of its backtest."""
    return f"{model_in_words(context.served_model)}, {cutoffs_in_words(known['cutoff_date'])}"


def cutoffs_in_words(cutoff_dates: pd.Series) -> str:
    """Return `cut-off 1 Jun 2011`, or `12 cut-offs from … to …`."""
    days = pd.to_datetime(cutoff_dates)
    first, last = days.min(), days.max()
    if first == last:
        return f"cut-off {day(first)}"
    return f"{days.nunique()} cut-offs from {day(first)} to {day(last)}"


def by_rank(known: pd.DataFrame, most: int = 10) -> pd.DataFrame:
    """Return the rows with their `group` by rank of the prediction at the cut-off, 1 the lowest.

    There are `most` groups, or as many as there are customers.
    """
    frame = known.sort_values(["cutoff_date", "predicted_value", "customer_id"])
    customers = frame.groupby("cutoff_date")["customer_id"].transform("size")
    groups = int(min(most, customers.max()))
    rank = frame.groupby("cutoff_date").cumcount()
    frame["group"] = (rank * groups // customers).astype(int) + 1
    return frame


def group_in_words(groups: int) -> str:
    """Return the name of one group: `tenth` of 10 groups, `third` of 3, `group` of 7."""
    return _GROUPS.get(groups, "group")


def group_axis(axes: Axes, groups: pd.DataFrame) -> None:
    """Set one tick per group and the label of an x-axis of groups by rank."""
    axes.set_xticks(groups.index)
    axes.set_xlim(0.4, len(groups) + 0.6)
    name = group_in_words(len(groups))
    axes.set_xlabel(f"Customers by predicted value: 1 the lowest {name}, {len(groups)} the highest")


def per_cutoff(rows: pd.Series, cutoffs: int) -> pd.Series:
    """Return the number of outcomes that count as independent: the mean number per cut-off.

    Cut-offs are a month apart, so their outcomes overlap and share customers. If every outcome
    counted, the intervals would be too narrow.
    """
    return (rows / max(cutoffs, 1)).clip(lower=1.0)


def wilson(shares: pd.Series, size: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return both ends of the 95 % interval of shares of `size` observations (Wilson 1927)."""
    z = 1.96
    middle = (shares + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(shares * (1 - shares) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    return (middle - half).clip(lower=0.0), (middle + half).clip(upper=1.0)


def _with_outcome(past: Outcomes, *others: str) -> pd.DataFrame:
    """Return the rows whose prediction and outcome are both known, as numbers."""
    values = ["predicted_value", "actual_value", *others]
    frame = past.frame[["cutoff_date", "customer_id", *values]].copy()
    frame[values] = frame[values].apply(pd.to_numeric).astype(float)
    return frame.replace([np.inf, -np.inf], np.nan).dropna(subset=values)
