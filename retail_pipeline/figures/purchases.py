"""Figures of the purchase model: its expected orders against actual ones, and what it infers."""

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from retail_pipeline.figures.colors import ACCENT, MAIN, NEUTRAL
from retail_pipeline.figures.marks import color_scale, heat_map, legend_above, number_axis
from retail_pipeline.figures.queries import Context, Purchasing
from retail_pipeline.figures.style import Plot, in_house_style, page, plot, source_of, words
from retail_pipeline.figures.writing import counted, day, number

_MODEL = "Pareto/NBD"


@in_house_style
def purchase_tracking(purchasing: Purchasing, context: Context) -> Plot:
    """Draw weekly and cumulative repeat purchases, actual ones and those that the model expects.

    The model is fitted at the cut-off to the customers known there; the weeks after it are shaded.
    None of the curves counts first purchases or customers who came later.

    Source:
        The tracking plots of Fader, Hardie, Lee (2005), Counting Your Customers the Easy Way,
        Marketing Science 24(2), figures 2 and 3.
    """
    source = source_of(context, "clv.purchase_tracking")
    weeks = purchasing.weeks
    if weeks.empty:
        return words(
            f"{_MODEL} cannot be compared with later purchases yet",
            "The comparison needs a cut-off with a complete outcome of "
            f"{counted(context.horizon_days, 'day')} and customers who have bought twice.",
            source,
        )
    cutoff = pd.Timestamp(weeks["cutoff_date"].iloc[0])
    later = weeks[weeks["week_start"] >= cutoff]
    actual, expected = float(later["actual_orders"].sum()), float(later["expected_orders"].sum())
    figure = page(
        _tracking_title(actual, expected, len(later), day(cutoff)),
        f"Repeat purchases of the {counted(weeks['customers'].iloc[0], 'customer')} who first "
        f"bought before {day(cutoff)}, when {_MODEL} was fitted (shaded: the weeks after it)",
        f"{source} A repeat purchase is a later day with a positive net amount. The model knows no "
        "season.",
        height=6.0,
    )
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, values in (
        (above, weeks[["actual_orders", "expected_orders"]]),
        (below, weeks[["actual_orders", "expected_orders"]].cumsum()),
    ):
        _draw_tracking(axes, weeks["week_start"], values.astype(float), cutoff)
    above.set_title("Repeat purchases per week")
    below.set_title("Cumulative")
    legend_above(above)
    locator = mdates.AutoDateLocator(minticks=4, maxticks=10)
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, show_offset=False))
    return plot(
        figure,
        len(weeks),
        cutoff=f"{cutoff:%Y-%m-%d}",
        weeks_after_cutoff=len(later),
        actual_after_cutoff=actual,
        expected_after_cutoff=expected,
    )


@in_house_style
def recency_frequency(purchasing: Purchasing, context: Context) -> Plot:
    """Draw P(alive) and expected orders by number of purchases and days since the last one.

    All cells are customers who first bought as long ago as the median customer.
    """
    source = source_of(context, "clv.recency_frequency")
    if purchasing.cells.empty:
        return words(
            f"{_MODEL} has not been fitted yet",
            "It needs customers who have bought on two days.",
            source,
        )
    cells = purchasing.cells.astype(float)
    age = float(cells["age_days"].iloc[0])
    alive, orders = (
        cells.pivot_table(index="purchases", columns="days_since_last", values=name)
        for name in ("probability_alive", "expected_orders")
    )
    alive, orders = alive.iloc[::-1], orders.iloc[::-1]
    figure = page(
        _alive_title(alive),
        f"{_MODEL} as of {day(context.as_of)}, for customers who first bought "
        f"{counted(age, 'day')} ago like the median customer; orders over "
        f"{counted(context.horizon_days, 'day')}",
        f"{source} Where the line runs, a customer is as likely to have left as to buy again.",
        height=5.4,
    )
    left, right = figure.subplots(1, 2, sharey=True)
    mesh = heat_map(left, alive.to_numpy(), 1.0, None)
    color_scale(mesh, left, ["0%", "50%", "100%"])
    ceiling = max(float(orders.to_numpy().max()), 1e-9)
    mesh = heat_map(right, orders.to_numpy(), ceiling, None)
    color_scale(mesh, right, ["0", number(ceiling / 2), number(ceiling)])
    for axes, title in ((left, "P(alive): will ever buy again"), (right, "Expected orders")):
        _name_cells(axes, alive)
        axes.set_title(title)
        axes.set_xlabel("Days since the last purchase")
    _draw_even_odds(left, alive)
    left.set_ylabel("Purchases so far")
    return plot(
        figure,
        len(cells),
        age_days=int(age),
        most_purchases=int(alive.index.max()),
        most_expected_orders=ceiling,
    )


def _tracking_title(actual: float, expected: float, weeks: int, cutoff: str) -> str:
    title = (
        f"In the {counted(weeks, 'week')} after {cutoff}, customers bought "
        f"{actual:,.0f} times again; {_MODEL} expected {expected:,.0f}"
    )
    if not actual:
        return title
    return f"{title} ({number(expected / actual - 1, '%', signed=True)})"


def _draw_tracking(
    axes: Axes, starts: pd.Series, values: pd.DataFrame, cutoff: pd.Timestamp
) -> None:
    # A week's sum is drawn in its middle, a cumulative sum would be at its end: half a week apart.
    axes.axvspan(
        mdates.date2num(cutoff),
        mdates.date2num(starts.iloc[-1] + pd.Timedelta(days=7)),
        color=NEUTRAL,
        alpha=0.35,
        linewidth=0,
        zorder=0.5,
    )
    days = starts + pd.Timedelta(days=3)
    axes.plot(days, values["actual_orders"], color=ACCENT, linewidth=1.8, label="actual")
    axes.plot(days, values["expected_orders"], color=MAIN, linewidth=2.2, label="expected")
    axes.set_ylim(0, 1.15 * float(values.to_numpy().max()) or 1.0)
    axes.margins(x=0.01)
    axes.locator_params(axis="y", nbins=5)
    number_axis(axes.yaxis)


def _alive_title(alive: pd.DataFrame) -> str:
    """Return a title on a number of purchases from the lower part of the scale."""
    counts = alive.index.to_numpy(float)
    row = alive.iloc[int(np.abs(counts - np.sqrt(counts.min() * counts.max())).argmin())]
    known = row.dropna()
    who = f"With {counted(float(row.name), 'purchase')}"  # type: ignore[arg-type]
    below = known[known < 0.5]
    if below.empty:
        days = counted(float(known.index[-1]), "day")
        last = number(float(known.iloc[-1]), "%")
        return f"{who}, a customer is still alive {days} after the last one with {last} probability"
    days = counted(float(below.index[0]), "day")
    return f"{who}, a customer has more likely left than not {days} after the last one"


def _name_cells(axes: Axes, table: pd.DataFrame) -> None:
    """Set ticks at round numbers; the center of a row or column is half a unit after its place."""
    for values, set_ticks, most in (
        (table.columns.to_numpy(float), axes.set_xticks, 6),
        (table.index.to_numpy(float), axes.set_yticks, 10),
    ):
        locator = MaxNLocator(most, steps=[1, 2, 5, 10], integer=True)
        low, high = values.min(), values.max()
        ticks = [tick for tick in locator.tick_values(low, high) if low <= tick <= high]
        order = np.argsort(values)
        places = np.interp(ticks, values[order], order + 0.5)
        set_ticks(places, [f"{tick:.0f}" for tick in ticks])


def _draw_even_odds(axes: Axes, alive: pd.DataFrame) -> None:
    """Draw the border of the cells below 50 %, from row to row."""
    is_below = alive.to_numpy() < 0.5
    border = np.where(is_below.any(axis=1), is_below.argmax(axis=1), np.nan)
    rows = np.arange(len(alive) + 1.0)
    axes.step(np.append(border, border[-1]), rows, where="post", color=ACCENT)
