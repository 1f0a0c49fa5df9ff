"""Who the customers are: cohorts that come back, segments by size and value.

Pure: frames in, figures out; no reading, no Dagster.
"""

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retail_pipeline.figures.style import (
    ACCENT,
    INK,
    MAIN,
    QUIET_INK,
    SEQUENCE,
    Plot,
    count,
    counted,
    day,
    framed,
    in_house_style,
    money,
    share,
    unit,
    words,
)

_ALL = "all cohorts"
_LABELLED_CELLS_UP_TO = (24, 30)
"""Months and cohorts up to which every cell bears its percentage; beyond, the colour speaks."""


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
    average = _weighted(rates, sizes)
    figure = framed(
        _retention_title(rates, sizes),
        f"Share of a cohort's customers who buy in each month after their first: "
        f"{counted(len(rates), 'cohort')}, {_customers(sizes)}",
        source,
        height=min(9.0, max(3.4, 2.5 + 0.235 * (len(rates) + 1))),
        gap=0.0,
    )
    _draw_retention(figure, rates, average, sizes)
    return Plot(
        figure,
        {
            "cohorts": len(rates),
            "customers": int(sizes.sum()),
            **{f"retention_month_{m}": float(average[m]) for m in (1, 3, 6, 12) if m in average},
        },
    )


@in_house_style
def segments(
    table: pd.DataFrame, *, currency: str, as_of: date, horizon_days: int, model_name: str
) -> Plot:
    """Draw each segment's number of customers and predicted value.

    Args:
        table: `segment, customers, predicted_value`, a row per segment; missing numbers are zero.
        currency: ISO code of the amounts, or empty.
        as_of: The prediction's date.
        horizon_days: Days ahead whose value is predicted.
        model_name: The model that was served.
    """
    source = f"Source: clv.segments as of {day(as_of)}, predicted by {model_name}.{unit(currency)}"
    if table.empty:
        return words("There are no segments yet", ["No customer was predicted."], source)
    frame = _segments_by_value(table)
    figure = framed(
        _segments_title(frame, currency, horizon_days),
        f"Customers and their predicted net revenue over the {counted(horizon_days, 'day')} from "
        f"{day(as_of)}: {_customers(frame['customers'])}, "
        f"{money(frame['predicted_value'].sum(), currency)}",
        source,
        height=2.3 + 0.33 * max(2, len(frame)),
    )
    left, right, last = figure.subplots(1, 3, sharey=True, width_ratios=[5, 5, 1.4])
    _segment_bars(left, frame, "customers", ACCENT, count, "Customers")
    _segment_bars(
        right, frame, "predicted_value", MAIN, lambda v: money(v, currency), "Predicted value"
    )
    _per_customer(last, frame, currency)
    top = frame.iloc[0]
    return Plot(
        figure,
        {
            "segments": len(frame),
            "customers": int(frame["customers"].sum()),
            "predicted_value": float(frame["predicted_value"].sum()),
            "top_segment": str(top["segment"]),
            "top_segment_share_of_value": float(top["predicted_value_share"]),
            "top_segment_share_of_customers": float(top["customers_share"]),
        },
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


def _draw_retention(
    figure: Figure, rates: pd.DataFrame, average: pd.Series, sizes: pd.Series
) -> None:
    import seaborn as sns

    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[len(rates), 1])
    most_months, most_cohorts = _LABELLED_CELLS_UP_TO
    labelled = rates.shape[1] <= most_months and len(rates) <= most_cohorts
    # Not the maximum: a cohort of three customers would pale all others.
    ceiling = max(float(np.nanpercentile(rates.to_numpy(), 98)), 0.01)
    names = [f"{month:%b %Y}  {count(sizes[month])}" for month in rates.index]
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
            linewidths=0.8 if labelled else 0.2,
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


def _segments_by_value(table: pd.DataFrame) -> pd.DataFrame:
    frame = table[["segment", "customers", "predicted_value"]].copy()
    frame["segment"] = frame["segment"].fillna("(none)").astype(str)
    for column in ("customers", "predicted_value"):
        frame[column] = pd.to_numeric(frame[column]).fillna(0.0).astype(float)
        total = frame[column].sum()
        frame[f"{column}_share"] = frame[column] / total if total else 0.0
    return frame.sort_values(
        ["predicted_value", "customers", "segment"], ascending=[False, False, True]
    ).reset_index(drop=True)


def _segments_title(frame: pd.DataFrame, currency: str, horizon_days: int) -> str:
    top = frame.iloc[0]
    if len(frame) == 1:
        return (
            f"All {_customers(frame['customers'])} are in one segment, worth "
            f"{money(top['predicted_value'], currency)} over {counted(horizon_days, 'day')}"
        )
    return (
        f"“{top['segment']}” holds {share(top['customers_share'])} of the customers and "
        f"{share(top['predicted_value_share'])} of the predicted value"
    )


def _segment_bars(
    axes: Axes,
    frame: pd.DataFrame,
    column: str,
    colour: str,
    write: Callable[[float], str],
    title: str,
) -> None:
    rows = np.arange(len(frame))
    bars = axes.barh(rows, frame[column], height=0.68, color=colour)
    labels = [
        f"{write(value)}  {share(part)}"
        for value, part in zip(frame[column], frame[f"{column}_share"], strict=True)
    ]
    axes.bar_label(bars, labels, padding=4, size=9.5, color=INK)
    axes.set_yticks(rows, frame["segment"])
    axes.set_ylim(len(frame) - 0.5, -0.5)
    axes.set_title(title)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    lowest, highest = min(0.0, frame[column].min()), max(0.0, frame[column].max())
    axes.set_xlim(lowest, lowest + ((highest - lowest) or 1.0) * 1.45)


def _per_customer(axes: Axes, frame: pd.DataFrame, currency: str) -> None:
    mean = frame["predicted_value"] / frame["customers"].replace(0, np.nan)
    for row, value in enumerate(mean):
        axes.text(1.0, row, money(value, currency), ha="right", va="center", size=9.5)
    axes.set_title("Per customer", loc="right")
    axes.set_xlim(0, 1)
    axes.set_axis_off()
