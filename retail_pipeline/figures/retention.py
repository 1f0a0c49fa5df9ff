"""How customers come back: monthly cohorts.

Pure: frames in, figures out; no reading, no Dagster.
"""

from datetime import date

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retail_pipeline.figures.page import (
    Page,
    page,
    room_for,
    words,
)
from retail_pipeline.figures.style import (
    QUIET_INK,
    SEQUENCE,
    Plot,
    count,
    counted,
    day,
    in_house_style,
    share,
)

_ALL = "all cohorts"
_LABELLED_CELLS_UP_TO = (24, 30)
"""Months and cohorts up to which every cell bears its percentage; beyond, the colour speaks."""

_ROWS_TO_ONE_OF_ALL = 25
"""Cohorts whose rows are at most as high as that of all of them: it stays a row among hundreds."""


@in_house_style
def cohort_retention(retention: pd.DataFrame, *, as_of: date) -> Plot:
    """Draw the share of each cohort that buys again in each month after its first.

    Months that the data cover in part are left out, and so is month 0, which is 100 % by
    definition. The bottom row is the average over customers.

    Args:
        retention: `cohort_month, months_since, cohort_customers, active_customers`; an absent row
            is a month without a buyer.
        as_of: The day before which data count.
    """
    source = (
        f"Source: warehouse.cohort_retention, data before {day(as_of)}. Cohort: customers by the "
        "month of their first purchase in the data; the first cohort may have bought before they "
        "begin. Left out: the first month itself (100%) and months that are not over."
    )
    rates, sizes = _rates(retention, as_of)
    if rates.empty:
        cohorts = counted(len(sizes), "cohort")
        return words(
            "No cohort is a full month old yet",
            [f"There is nothing to come back from so far: {cohorts}, {_customers(sizes)}."],
            source,
        )
    sizes = sizes.reindex(rates.index)
    average = _weighted(rates, sizes)
    sheet = page(
        _retention_title(rates, sizes),
        f"Share of a cohort's customers who buy in each month after their first: "
        f"{counted(len(rates), 'cohort')}, {_customers(sizes)}",
        source,
        height=min(9.0, max(3.4, 2.6 + 0.235 * (len(rates) + 1))),
    )
    _draw_retention(sheet, rates, average, sizes)
    return Plot(
        sheet.figure,
        {
            "cohorts": len(rates),
            "customers": int(sizes.sum()),
            **{f"retention_month_{m}": float(average[m]) for m in (1, 3, 6, 12) if m in average},
        },
        rows=len(retention),
    )


def _rates(retention: pd.DataFrame, as_of: date) -> tuple[pd.DataFrame, pd.Series]:
    frame = retention.assign(
        cohort_month=pd.to_datetime(retention["cohort_month"]),
        rate=retention["active_customers"] / retention["cohort_customers"].replace(0, np.nan),
    )
    sizes = frame.groupby("cohort_month")["cohort_customers"].max().astype(float)
    rates = frame.pivot_table(
        index="cohort_month", columns="months_since", values="rate", aggfunc="max", dropna=False
    )
    current = pd.Period(pd.Timestamp(as_of), freq="M")
    ages = np.array([(current - pd.Period(month, freq="M")).n for month in sizes.index], dtype=int)
    months = range(1, int(ages.max()) if len(ages) else 0)
    is_over = pd.DataFrame(
        [[month < age for month in months] for age in ages], index=sizes.index, columns=months
    )
    rates = rates.reindex(index=sizes.index, columns=list(months)).fillna(0.0).where(is_over)
    return rates.dropna(how="all"), sizes


def _weighted(rates: pd.DataFrame, sizes: pd.Series) -> pd.Series:
    weights = rates.notna().mul(sizes.reindex(rates.index), axis=0)
    return (rates.fillna(0.0) * weights).sum() / weights.sum()


def _retention_title(rates: pd.DataFrame, sizes: pd.Series) -> str:
    """Compare the next month with a later one over the same cohorts: the old ones are no sample."""
    month = next((m for m in (12, 6, 3) if m in rates), None)
    if month is None:
        first = share(_weighted(rates, sizes)[1])
        return f"After their first purchase {first} of customers buy in the next month"
    average = _weighted(rates[rates[month].notna()], sizes)
    time = "a year" if month == 12 else f"{month} months"
    return (
        f"Of customers who first bought {time} ago or before, {share(average[1])} bought in the "
        f"next month, {share(average[month])} {time} later"
    )


def _draw_retention(sheet: Page, rates: pd.DataFrame, average: pd.Series, sizes: pd.Series) -> None:
    import seaborn as sns

    names = [f"{month:%b %Y}  {count(sizes[month])}" for month in rates.index]
    upper, lower = sheet.panels(
        2,
        1,
        sharex=True,
        heights=[len(rates), max(1.0, len(rates) / _ROWS_TO_ONE_OF_ALL)],
        left=room_for([*names, _ALL]),
        below=0.5,
        gap=0.06,
    )
    most_months, most_cohorts = _LABELLED_CELLS_UP_TO
    labelled = rates.shape[1] <= most_months and len(rates) <= most_cohorts
    # Not the maximum: a cohort of three customers would pale all others.
    ceiling = max(float(np.nanpercentile(rates.to_numpy(), 98)), 0.01)
    for axes, frame, labels, cells in (
        (upper, rates, names, labelled),
        (lower, average.to_frame().T, [_ALL], rates.shape[1] <= most_months),
    ):
        values = frame.to_numpy(float)
        sns.heatmap(
            values,
            ax=axes,
            cmap=SEQUENCE,
            vmin=0,
            vmax=ceiling,
            cbar=False,
            xticklabels=False,
            yticklabels=False,
            # Between many cells, lines would leave nothing of them.
            linewidths=0.8 if cells else 0.0,
            linecolor="white",
            annot=np.vectorize(_percent)(values) if cells else False,
            fmt="",
            annot_kws={"size": 8},
        )
        every = -(-len(labels) // 30)
        axes.set_yticks(np.arange(len(labels))[::every] + 0.5, labels[::every], rotation=0)
        axes.tick_params(length=0)
        axes.grid(visible=False)
    if not labelled:
        _colour_scale(upper, ceiling)
    every = -(-rates.shape[1] // 25)
    shown = np.arange(rates.shape[1])[::every]
    lower.set_xticks(shown + 0.5, [str(rates.columns[i]) for i in shown], rotation=0)
    lower.set_xlabel("Months after the first purchase")
    upper.set_title("Cohort and its customers", size=9.5, weight="normal", color=QUIET_INK)
    lower.set_xlim(0, max(rates.shape[1], 8))


def _colour_scale(axes: Axes, ceiling: float) -> None:
    """Put the scale where a triangle of cohorts is always empty."""
    scale = axes.inset_axes((0.6, 0.1, 0.3, 0.02))
    scale.imshow(np.linspace(0, 1, 256)[None, :], aspect="auto", cmap=SEQUENCE)
    scale.set_yticks([])
    scale.set_xticks([0, 255], ["0%", f"{share(ceiling)} and more"])
    scale.tick_params(length=0)
    scale.grid(visible=False)
    scale.spines["bottom"].set_visible(False)
    scale.set_title("Share who buy", size=9.5, weight="normal", color=QUIET_INK)


def _percent(rate: float) -> str:
    return "" if np.isnan(rate) else f"{100 * rate:.0f}"


def _customers(sizes: pd.Series) -> str:
    return counted(float(sizes.sum()), "customer")
