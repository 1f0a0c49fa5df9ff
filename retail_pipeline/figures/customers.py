"""Figures of repeat purchases: monthly cohorts, time between purchases, recency and frequency."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from retail_pipeline.figures.colors import (
    ACCENT,
    ACCENT_INK,
    MAIN,
    NEUTRAL,
    QUIET_INK,
    SEQUENCE,
    ink_on,
)
from retail_pipeline.figures.marks import Look, color_scale, draw_bars, heat_map, label, number_axis
from retail_pipeline.figures.queries import Context, Gaps
from retail_pipeline.figures.style import Plot, in_house_style, page, plot, source_of, words
from retail_pipeline.figures.writing import counted, number, shortened

_LABELED_CELLS_UP_TO = (24, 30)
"""Largest numbers of months and cohorts for which cells have percentages besides their color."""

_ROWS_TO_ONE_OF_ALL = 25
"""The row of all cohorts is at least 1/25 as high as the rows above it, so that it stays visible
below hundreds of cohorts."""

_MOST_BARS = 60
_MOST_QUARTERS = 10
_QUIET_TITLE: Look = {"size": 9.5, "weight": "normal", "color": QUIET_INK}


@in_house_style
def cohort_retention(retention: pd.DataFrame, context: Context) -> Plot:
    """Draw the share of each cohort that buys in each month after its first purchase.

    Incomplete months are left out, and so is month 0, which is 100 % by definition. A missing row
    is a month without a buyer. The bottom row is the average over customers.
    """
    source = source_of(context, "warehouse.cohort_retention") + (
        " Cohort: customers by the month of their first purchase in the data; the first cohort may "
        "have bought before the data begin. Left out: the first month itself (100%) and "
        "incomplete months."
    )
    rates, sizes = _rates(retention, context)
    if rates.empty:
        return words(
            "No cohort is a full month old yet",
            "Retention needs a full month after the first purchase. So far: "
            f"{counted(len(sizes), 'cohort')}, {counted(sizes.sum(), 'customer')}.",
            source,
        )
    sizes = sizes.reindex(rates.index)
    average = _weighted(rates, sizes)
    figure = page(
        _retention_title(rates, sizes),
        f"Share of a cohort's customers who buy in each month after their first purchase: "
        f"{counted(len(rates), 'cohort')}, {counted(sizes.sum(), 'customer')}",
        source,
        height=min(9.0, max(3.6, 2.8 + 0.235 * (len(rates) + 1))),
    )
    _draw_retention(figure, rates, average, sizes)
    return plot(
        figure,
        len(retention),
        cohorts=len(rates),
        customers=int(sizes.sum()),
        **{f"retention_month_{m}": float(average[m]) for m in (1, 3, 6, 12) if m in average},
    )


@in_house_style
def cohort_value(retention: pd.DataFrame, context: Context) -> Plot:
    """Draw the cumulative net revenue per acquired customer, by quarter or year of acquisition.

    A cohort's curve ends with its last month that is over for all of its customers.
    """
    source = source_of(context, "warehouse.cohort_retention", money=True) + (
        " Cohort: customers by the date of their first purchase in the data; the first cohort may "
        "have bought before the data begin. Month 0 is the rest of the month of that purchase."
    )
    curves, sizes, period = _cumulative_values(retention, context)
    if curves.empty:
        return words(
            "No cohort is a full month old yet",
            "The value of a cohort is shown from its first full month on.",
            source,
        )
    figure = page(
        _cohort_value_title(curves, context.currency),
        f"Cumulative net revenue per acquired customer, by {period} of the first purchase: "
        f"{counted(len(curves), 'cohort')}, {counted(sizes.sum(), 'customer')}",
        source,
    )
    axes = figure.subplots()
    shades = np.linspace(0.35, 1.0, len(curves))
    for cohort, size, shade in zip(curves.index, sizes[curves.index], shades, strict=True):
        known = curves.loc[cohort].dropna()
        look: Look = {"color": SEQUENCE(shade), "label": f"{cohort}  ({size:,.0f})"}
        axes.plot(known.index, known, marker="o", markersize=3, **look)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="Cohort (customers)")
    axes.set_title("Net revenue per acquired customer")
    axes.set_xlabel("Months after the month of the first purchase")
    axes.set_ylim(bottom=min(0.0, float(curves.min().min())))
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    number_axis(axes.yaxis, context.currency)
    return plot(
        figure,
        len(retention),
        cohorts=len(curves),
        customers=int(sizes.sum()),
        **{
            f"value_after_{m}_months": float(curves[m].dropna().iloc[-1])
            for m in (3, 6, 12)
            if m in curves
        },
    )


@in_house_style
def purchase_gaps(gaps: Gaps, context: Context) -> Plot:
    """Draw the distribution of the days between two purchases of a customer.

    The run's horizon is marked if it lies within the scale.
    """
    source = source_of(context, "warehouse.customer_days") + (
        " A purchase is a day with a positive net amount. The time since the last purchase is not "
        "counted, so long gaps are underrepresented."
    )
    frame = gaps.frame.apply(pd.to_numeric).astype(float).sort_values("gap_days")
    if frame.empty:
        return words(
            "Nobody has bought a second time yet",
            f"There is no time between purchases to show: {counted(gaps.customers, 'customer')}.",
            source,
        )
    total = float(frame["gaps"].sum())
    reached = frame["gaps"].cumsum().to_numpy() / total
    half, most, nearly_all = (
        int(frame["gap_days"].iloc[int(np.argmax(reached >= part - 1e-12))])
        for part in (0.5, 0.9, 0.99)
    )
    width = max(1, -(-nearly_all // _MOST_BARS))
    width = width if width < 4 else 7 * -(-width // 7)
    once = number(gaps.single / gaps.customers, "%") if gaps.customers else "0%"
    figure = page(
        f"Half of all repeat purchases come within {counted(half, 'day')}, nine in ten within "
        f"{counted(most, 'day')}",
        f"Days between two purchases of a customer: {counted(total, 'gap')} of "
        f"{counted(gaps.customers - gaps.single, 'customer')}, {once} of customers bought once",
        source,
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    end = _draw_gaps(above, frame, width)
    step = {1: "day", 7: "week"}.get(width, f"{width} days")
    above.set_title(f"Share of purchases, by {step}")
    _draw_gap_sums(below, frame, {0.5: half, 0.9: most}, end, context.horizon_days)
    within = frame["gap_days"] <= context.horizon_days
    return plot(
        figure,
        len(frame),
        gaps=int(total),
        customers=gaps.customers,
        customers_with_one_purchase=gaps.single,
        median_gap_days=half,
        gap_days_90_percent=most,
        share_within_horizon=float(frame.loc[within, "gaps"].sum() / total),
    )


@in_house_style
def rfm_map(cells: pd.DataFrame, context: Context) -> Plot:
    """Draw customers and past net revenue by recency and frequency score, with segment names.

    Scores run from 1 to 5, 5 the best; scores without customers are left out.
    """
    source = source_of(context, "warehouse.customer_rfm", money=True)
    source += " Rows and columns are fifths of the customers by rank; equal values stay together."
    if cells.empty:
        return words("There is no customer to score yet", "Nobody has bought anything.", source)
    frame = cells.assign(
        monetary=pd.to_numeric(cells["monetary"]).fillna(0.0).astype(float),
        rfm_segment=cells["rfm_segment"].fillna("(none)").astype(str),
    )
    customers, total = float(frame["customers"].sum()), float(frame["monetary"].sum())
    figure = page(
        _rfm_title(frame, customers, context.currency),
        f"{counted(customers, 'customer')} by how recently and how often they bought, and their "
        f"net revenue, {number(total, context.currency)} in total. Color: net revenue per customer",
        source,
        height=6.0,
    )
    _draw_cells(figure.subplots(), frame, context.currency)
    return plot(
        figure,
        len(frame),
        customers=int(customers),
        net_revenue=total,
        segments=int(frame["rfm_segment"].nunique()),
    )


def _rates(retention: pd.DataFrame, context: Context) -> tuple[pd.DataFrame, pd.Series]:
    """Return retention by cohort and month, without incomplete months, and the cohorts' sizes."""
    frame = retention.assign(cohort_month=pd.to_datetime(retention["cohort_month"]))
    sizes = frame.groupby("cohort_month")["cohort_customers"].max().astype(float)
    buyers = frame.pivot_table(
        index="cohort_month", columns="months_since", values="active_customers", aggfunc="max"
    )
    first = pd.DatetimeIndex(sizes.index)
    ages = 12 * (context.as_of.year - first.year) + context.as_of.month - first.month
    months = np.arange(1, max(ages, default=1))
    buyers = buyers.reindex(index=sizes.index, columns=months).fillna(0.0)
    is_over = months < np.asarray(ages)[:, None]
    return buyers.div(sizes, axis=0).where(is_over).dropna(how="all"), sizes


def _cumulative_values(
    retention: pd.DataFrame, context: Context
) -> tuple[pd.DataFrame, pd.Series, str]:
    """Return cumulative value per customer by cohort and month, the cohorts' sizes, their period.

    The cohorts are quarters, or years if there are more than `_MOST_QUARTERS`.
    """
    frame = retention.assign(cohort_month=pd.to_datetime(retention["cohort_month"]))
    first = frame["cohort_month"].dt
    frame["age"] = 12 * (context.as_of.year - first.year) + context.as_of.month - first.month
    frame = frame[frame["age"] > 0]
    quarters = frame["cohort_month"].dt.to_period("Q")
    period = "quarter" if quarters.nunique() <= _MOST_QUARTERS else "year"
    names = quarters if period == "quarter" else frame["cohort_month"].dt.to_period("Y")
    frame["cohort"] = names.astype(str).str.replace("Q", " Q")
    months = frame.drop_duplicates("cohort_month").groupby("cohort")
    sizes, ends = months["cohort_customers"].sum().astype(float), months["age"].min()
    sums = frame.pivot_table(
        index="cohort", columns="months_since", values="net_amount", aggfunc="sum"
    )
    sums = sums.reindex(columns=range(int(ends.max()) if len(ends) else 0)).astype(float)
    values = sums.fillna(0.0).cumsum(axis=1).div(sizes, axis=0)
    is_over = values.columns.to_numpy()[None, :] < ends.to_numpy()[:, None]
    return values.where(is_over).dropna(how="all"), sizes, period


def _cohort_value_title(curves: pd.DataFrame, currency: str) -> str:
    """Return a title that compares the first and the latest cohort after as many months."""
    month = next((m for m in (12, 6, 3, 1, 0) if m in curves), 0)
    known = curves[month].dropna()
    values = [number(known.iloc[place], currency) for place in (0, -1)]
    time = counted(month, "month")
    title = f"A customer acquired in {known.index[0]} has spent {values[0]} after {time}"
    if len(known) == 1:
        return title
    return f"{title}, one of {known.index[-1]} {values[1]}"


def _weighted(rates: pd.DataFrame, sizes: pd.Series) -> pd.Series:
    weights = rates.notna().mul(sizes.reindex(rates.index), axis=0)
    return (rates.fillna(0.0) * weights).sum() / weights.sum()


def _retention_title(rates: pd.DataFrame, sizes: pd.Series) -> str:
    """Return a title that compares the next month with a later one over the same cohorts.

    Cohorts without the later month are left out, as they may differ from the older ones.
    """
    month = next((m for m in (12, 6, 3) if m in rates), None)
    if month is None:
        first = number(_weighted(rates, sizes)[1], "%")
        return f"After their first purchase {first} of customers buy in the next month"
    average = _weighted(rates[rates[month].notna()], sizes)
    time = "a year" if month == 12 else f"{month} months"
    return (
        f"Of customers who first bought {time} ago or earlier, {number(average[1], '%')} bought in "
        f"the next month, {number(average[month], '%')} {time} later"
    )


def _draw_retention(
    figure: Figure, rates: pd.DataFrame, average: pd.Series, sizes: pd.Series
) -> None:
    ratios = [len(rates), max(1.0, len(rates) / _ROWS_TO_ONE_OF_ALL)]
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=ratios)
    many_months = rates.shape[1] > _LABELED_CELLS_UP_TO[0]
    many_cohorts = len(rates) > _LABELED_CELLS_UP_TO[1]
    # Not the maximum: the rates of one tiny cohort would make all other cells pale.
    ceiling = max(float(np.nanpercentile(rates.to_numpy(), 98)), 0.01)
    write = None if many_months or many_cohorts else _percent
    mesh = heat_map(upper, rates.to_numpy(float), ceiling, write)
    heat_map(lower, average.to_numpy(float)[None, :], ceiling, None if many_months else _percent)
    names = [f"{month:%b %Y}  {sizes[month]:,.0f}" for month in rates.index]
    every = -(-len(names) // 30)
    upper.set_yticks(np.arange(len(names))[::every] + 0.5, names[::every])
    lower.set_yticks([0.5], ["all cohorts"])
    upper.set_title("Cohort and its customers", **_QUIET_TITLE)
    every = -(-rates.shape[1] // 25)
    shown = np.arange(rates.shape[1])[::every]
    lower.set_xticks(shown + 0.5, [str(rates.columns[i]) for i in shown])
    lower.set_xlabel("Months after the first purchase")
    lower.set_xlim(0, max(rates.shape[1], 8))
    ends = ["0%", number(ceiling / 2, "%"), f"{number(ceiling, '%')}\nor more"]
    color_scale(mesh, [upper, lower], ends)


def _percent(rate: float) -> str:
    return f"{100 * rate:.0f}"


def _draw_gaps(axes: Axes, frame: pd.DataFrame, width: int) -> float:
    """Draw the bars, the last one for all longer gaps; return the end of the scale."""
    longest = int(frame["gap_days"].max())
    bars = min(_MOST_BARS, longest // width + 1)
    places = np.minimum(frame["gap_days"] // width, bars - 1)
    parts = frame.groupby(places)["gaps"].sum().reindex(range(bars), fill_value=0)
    parts = parts / frame["gaps"].sum()
    is_open = longest >= bars * width
    colors = [MAIN] * (bars - 1) + [NEUTRAL if is_open else MAIN]
    draw_bars(axes, np.arange(bars) * width, np.full(bars, 0.9 * width), parts, facecolors=colors)
    if is_open:
        text = f"{number(parts.iloc[-1], '%')} take {(bars - 1) * width:,} days or more"
        label(axes, text, (bars * width, parts.iloc[-1]), "above left", color=QUIET_INK)
    axes.tick_params(axis="x", length=0)
    number_axis(axes.yaxis, "%")
    axes.locator_params(axis="y", nbins=5)
    axes.margins(y=0.14)
    return float(bars * width)


def _draw_gap_sums(
    axes: Axes, frame: pd.DataFrame, marks: dict[float, int], end: float, horizon_days: int
) -> None:
    days = np.append(0.0, frame["gap_days"].to_numpy(float))
    sums = np.append(0.0, frame["gaps"].cumsum().to_numpy(float) / frame["gaps"].sum())
    axes.step(days, sums, where="post", color=MAIN)
    axes.set_title("Cumulative share of purchases")
    axes.set_xlabel("Days since the previous purchase")
    named = [
        (at, part, f"{number(part, '%')}: {counted(at, 'day')}", MAIN) for part, at in marks.items()
    ]
    axes.scatter(list(marks.values()), list(marks), color=MAIN, s=34, zorder=4)
    if horizon_days < end and abs(horizon_days - marks[0.9]) > 0.12 * end:
        within = float(sums[np.searchsorted(days, horizon_days, side="right") - 1])
        axes.axvline(horizon_days, color=ACCENT, linewidth=1.2, linestyle="--")
        axes.scatter([horizon_days], [within], color=ACCENT, s=26, zorder=4)
        named.append((horizon_days, 0.3, f"horizon, {counted(horizon_days, 'day')}", ACCENT_INK))
    for at, height, text, color in named:
        side = "below left" if at > 0.7 * end else "below right"
        label(axes, text, (at, height), side, color=color, weight="bold")
    axes.set(xlim=(0, end), ylim=(0, 1.08))
    number_axis(axes.yaxis, "%")
    axes.set_yticks([0, 0.5, 1])


def _rfm_title(cells: pd.DataFrame, customers: float, currency: str) -> str:
    """Return a sentence on the best segment: its share of revenue, or its amount.

    Shares of a sum with negative parts mislead, so the amount is given if a segment is negative.
    """
    by_name = cells.groupby("rfm_segment")[["customers", "monetary"]].sum()
    best = by_name.sort_values("monetary", ascending=False).iloc[0]
    title = f"“{best.name}” are {number(best['customers'] / customers, '%')} of the customers"
    if best["monetary"] <= 0:
        return title
    if (by_name["monetary"] < 0).any():
        return f"{title} and account for {number(best['monetary'], currency)} of net revenue"
    part = best["monetary"] / by_name["monetary"].sum()
    return f"{title} and account for {number(part, '%')} of net revenue"


def _draw_cells(axes: Axes, cells: pd.DataFrame, currency: str) -> None:
    scores = sorted(set(cells["f_score"]), reverse=True), sorted(set(cells["r_score"]))
    each = cells.assign(value=(cells["monetary"] / cells["customers"]).clip(lower=0.0))
    grid = each.pivot_table(index="f_score", columns="r_score", values="value")
    values = grid.reindex(index=scores[0], columns=scores[1]).to_numpy(float)
    # Not the maximum: one big spender in an almost empty cell would make all others pale. The
    # square root keeps the cells apart, as a few of them are worth many times the others.
    ceiling = max(float(np.nanpercentile(values, 98)), 1e-9)
    mesh = heat_map(axes, np.sqrt(values), np.sqrt(ceiling), None)
    names = {}
    for cell in each.to_dict("records"):
        at = scores[0].index(cell["f_score"]), scores[1].index(cell["r_score"])
        names[at] = cell["rfm_segment"]
    for cell in each.to_dict("records"):
        row, column = scores[0].index(cell["f_score"]), scores[1].index(cell["r_score"])
        shade = min(np.sqrt(cell["value"] / ceiling), 1.0)
        ink, name = ink_on(SEQUENCE(shade)), cell["rfm_segment"]
        if name not in (names.get((row, column - 1)), names.get((row - 1, column))):
            place = (column + 0.06, row + 0.3)
            axes.text(*place, shortened(name, 19), color=ink, weight="bold", size=9.5)
        text = f"{counted(cell['customers'], 'customer')}\n{number(cell['monetary'], currency)}"
        axes.text(column + 0.06, row + 0.86, text, color=ink, size=8.5, linespacing=1.4)
    _draw_borders(axes, names)
    ends = [number(part * ceiling, currency) for part in (0.0, 0.25, 1.0)]
    color_scale(mesh, axes, [*ends[:2], f"{ends[2]}\nor more"])
    rows = [_range(cells[cells["f_score"] == s], "frequency", "purchase") for s in scores[0]]
    columns = [_range(cells[cells["r_score"] == s], "recency", "day") for s in scores[1]]
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_title("Purchases", **_QUIET_TITLE)
    axes.set_xlabel("Days since the last purchase")


def _draw_borders(axes: Axes, names: dict[tuple[int, int], str]) -> None:
    """Draw a thick line between cells of different segments, a thin one within a segment."""
    lines, widths = [], []
    for (row, column), name in names.items():
        for neighbor, line in (
            ((row, column + 1), ((column + 1, row), (column + 1, row + 1))),
            ((row + 1, column), ((column, row + 1), (column + 1, row + 1))),
        ):
            if neighbor in names:
                lines.append(line)
                widths.append(0.8 if names[neighbor] == name else 5.0)
    axes.add_collection(LineCollection(lines, colors="white", linewidths=widths))


def _range(cells: pd.DataFrame, column: str, noun: str) -> str:
    """Return the range of a column among the customers of a score: `31 to 58 days`."""
    low, high = int(cells[f"{column}_min"].min()), int(cells[f"{column}_max"].max())
    return counted(high, noun) if low == high else f"{low:,} to {counted(high, noun)}"
