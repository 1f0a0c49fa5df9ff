"""Figures of revenue: over time, by size of the order, and its concentration on customers."""

from typing import NamedTuple

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from retail_pipeline.figures.colors import ACCENT, ACCENT_INK, INK, MAIN, NEUTRAL, QUIET_INK
from retail_pipeline.figures.marks import (
    EVEN,
    Curve,
    draw_bars,
    draw_shares,
    hide_scale,
    label,
    name_rows,
    number_axis,
    write_column,
)
from retail_pipeline.figures.queries import STEPS_PER_DECADE, Context
from retail_pipeline.figures.style import Plot, in_house_style, page, plot, source_of, words
from retail_pipeline.figures.writing import counted, day, number, shortened

_DAILY_UP_TO_DAYS, _WEEKLY_UP_TO_DAYS = 45, 800
_YEAR = 365
_MOST_CATEGORIES = 20
_GIANT = 4.0
"""A bar more than this many times as high as the next one is cut off at the edge of the scale."""

_FEWEST_BARS = 8
"""The x-axis has space for at least this many bars, so that a single one is not too wide."""


class _Period(NamedTuple):
    name: str
    frequency: str


@in_house_style
def revenue_over_time(revenue_daily: pd.DataFrame, context: Context) -> Plot:
    """Draw net revenue, orders and returns by day, week or month, whichever fits the time covered.

    Days without a row or a value count as zero. Incomplete periods are drawn light, so that they do
    not look like a drop in revenue.
    """
    source = source_of(context, "warehouse.revenue_daily", money=True)
    if revenue_daily.empty:
        return words("There is no revenue to show yet", "No transaction was loaded.", source)
    daily = _daily(revenue_daily)
    first, last = daily.index[0], daily.index[-1]
    period = _period_of(len(daily))
    periods = _by_period(daily, period)
    sales, returned = daily["sales_amount"].sum(), daily["returns_amount"].sum()
    rate = returned / sales if sales else float("nan")
    light = "" if periods["is_complete"].all() else f" Light bars: incomplete {period.name}s."
    span = day(first) if first == last else f"{day(first)} to {day(last)}"
    figure = page(
        _revenue_title(daily["net_amount"], context.currency),
        f"Sales less returns, orders, and returns, by {period.name}: {span}",
        source + light,
        height=6.2,
    )
    above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.2, 1.2])
    _draw_periods(above, periods, "net_amount", MAIN, context.currency)
    _draw_periods(middle, periods, "orders", QUIET_INK)
    _draw_periods(below, periods, "returns_amount", ACCENT, context.currency)
    above.set_title(f"Net revenue per {period.name}")
    middle.set_title(_orders_title(daily, context.currency))
    of_sales = f", {number(rate, '%')} of sales" if np.isfinite(rate) else ""
    amount = number(returned, context.currency)
    below.set_title(f"Returns {amount}{of_sales} (separate scale)")
    above.axhline(0, color=INK, linewidth=0.8)
    for axes in (above, middle):
        axes.tick_params(axis="x", length=0)
    _name_the_peak(above, periods, period, context.currency)
    _date_axis(below, periods)
    return plot(
        figure,
        len(revenue_daily),
        net_revenue=float(daily["net_amount"].sum()),
        sales=float(sales),
        returns=float(returned),
        returns_rate=float(rate) if np.isfinite(rate) else "no sales",
        orders=int(daily["orders"].sum()),
        days=len(daily),
        periods=len(periods),
        period=period.name,
    )


@in_house_style
def order_values(orders: pd.DataFrame, context: Context) -> Plot:
    """Draw the distribution of order sizes on a logarithmic scale, and each size's sales.

    Quantiles are interpolated within a step of the order values.
    """
    source = source_of(context, "warehouse.fct_transactions", money=True)
    source += " Sales without excluded lines and before returns."
    frame = orders.assign(amount=pd.to_numeric(orders["amount"]).astype(float))
    known = frame[frame["step"].notna() & (frame["orders"] > 0)].sort_values("step")
    other = int(frame.loc[frame["step"].isna(), "orders"].sum())
    if known.empty:
        return words("There is no order with a value yet", "Nothing was sold.", source)
    if other:
        source += f" Not drawn: {counted(other, 'order')} of zero or less."
    decades = known["step"].to_numpy(float) / STEPS_PER_DECADE
    total, amount = float(known["orders"].sum()), float(known["amount"].sum())
    half, value_half = _middle(decades, known["orders"]), _middle(decades, known["amount"])
    largest = _share_of_largest(known, 0.1)
    about = number(float(f"{half:.2g}"), context.currency)
    figure = page(
        f"Half of the orders are below about {about}; the largest tenth account for "
        f"{number(largest, '%')} of sales",
        f"Net amount of an order, on a logarithmic scale: {counted(total, 'order')}, "
        f"{number(amount, context.currency)}, {number(amount / total, context.currency)} "
        "on average",
        source,
    )
    above, below = figure.subplots(2, 1, sharex=True)
    shares = _shares_by_size(known, decades)
    _draw_sizes(above, shares, "orders", MAIN, context.currency)
    _draw_sizes(below, shares, "amount", ACCENT, context.currency)
    _mark_size(above, half, f"median about {about}", MAIN)
    _mark_size(below, value_half, "half of the value on either side", ACCENT_INK)
    above.set_title("Share of orders")
    below.set_title("Share of their value")
    below.set_xlabel("Net amount of an order")
    return plot(
        figure,
        len(frame),
        orders=int(total),
        orders_of_zero_or_less=other,
        mean_order_value=amount / total,
        median_order_value_about=half,
        share_of_value_of_largest_tenth=largest,
    )


@in_house_style
def revenue_concentration(groups: pd.DataFrame, context: Context) -> Plot:
    """Draw the share of the value that each share of the customers holds, past and predicted.

    It is a Lorenz curve, but with the customers who spent most first.
    """
    source = source_of(context, "warehouse.customer_rfm and clv.predictions", money=True)
    curves = {kind: _lorenz(groups, kind) for kind in ("past", "predicted")}
    drawn = {kind: curve for kind, curve in curves.items() if curve is not None}
    if not drawn:
        return words(
            "There is no value to show yet", "No customer has past or predicted value.", source
        )
    past = groups[groups["kind"] == "past"]
    if negative := int(past["negative"].sum()):
        verb = "counts" if negative == 1 else "count"
        source += f" {counted(negative, 'customer')} with a negative sum {verb} as zero."
    tops = {kind: float(np.interp(0.2, *curve)) for kind, curve in drawn.items()}
    figure = page(
        _concentration_title(tops),
        f"Cumulative share of value, most valuable customers first: "
        f"{counted(past['customers'].sum(), 'customer')}, "
        f"{number(past['value'].sum(), context.currency)} in the past, and the "
        f"{counted(context.horizon_days, 'day')} from {day(context.as_of)}",
        source,
        height=5.8,
    )
    axes = figure.subplots()
    looks = {"past": (ACCENT, "past net revenue"), "predicted": (MAIN, "predicted value")}
    lines = [
        (drawn[kind], looks[kind][1], {"color": looks[kind][0]})
        for kind in sorted(drawn, key=lambda kind: -tops[kind])
    ]
    equal = np.array([0.0, 1.0])
    draw_shares(axes, [*lines, ((equal, equal), "equal customers", EVEN)])
    axes.set_xlabel("Share of customers, most valuable first")
    axes.set_title("Share of value")
    return plot(
        figure,
        len(groups),
        customers=int(past["customers"].sum()),
        **{f"{kind}_share_of_top_20_percent": top for kind, top in tops.items()},
        **{f"{kind}_gini": _gini(curve) for kind, curve in drawn.items()},
    )


@in_house_style
def revenue_by_category(categories: pd.DataFrame, context: Context) -> Plot:
    """Draw net revenue of the last 365 days by product category, beside that of the year before."""
    source = source_of(
        context, "warehouse.fct_transaction_items and warehouse.dim_products", money=True
    )
    amounts = ["amount", "amount_before"]
    frame = categories.assign(**categories[amounts].apply(pd.to_numeric).fillna(0.0).astype(float))
    if frame["category"].isna().all():
        return words(
            "The data have no product categories",
            "Revenue is shown by category if the products have one.",
            source,
        )
    frame = frame.assign(category=frame["category"].fillna("(no category)"))
    frame = frame.sort_values("amount", ascending=False, ignore_index=True)
    covered = (pd.Timestamp(context.as_of) - pd.to_datetime(frame["first_day"]).min()).days
    shown, total = frame.head(_MOST_CATEGORIES), float(frame["amount"].sum())
    rest = len(frame) - len(shown)
    top, share = shown.iloc[0], shown["amount"].iloc[0] / total if total > 0 else float("nan")
    figure = page(
        f"“{top['category']}” accounts for {number(top['amount'], context.currency)}, "
        f"{number(share, '%')} of net revenue",
        f"Net revenue of the {counted(min(covered, _YEAR), 'day')} before {day(context.as_of)} by "
        f"product category: {number(total, context.currency)}",
        source + (f" Not drawn: {counted(rest, 'smaller one')}." if rest else ""),
        height=2.1 + 0.33 * max(2, len(shown)),
    )
    axes = figure.subplots()
    name_rows(axes, [shortened(str(name)) for name in shown["category"]])
    bars = axes.barh(range(len(shown)), shown["amount"], height=0.68, color=MAIN)
    texts = [number(amount, context.currency) for amount in shown["amount"]]
    axes.bar_label(bars, texts, padding=4, size=9.5, color=INK)
    if covered >= 2 * _YEAR:
        before = shown["amount_before"]
        change = (shown["amount"] / before.where(before > 0) - 1).astype(float)
        rows = np.arange(len(shown))
        axes.vlines(before, rows - 0.34, rows + 0.34, color=ACCENT)
        texts = [number(each, "%", signed=True) for each in change]
        write_column(axes, 1.1, texts, "against the\nyear before")
    hide_scale(axes)
    axes.margins(x=0.12)
    return plot(
        figure,
        len(frame),
        categories=len(frame),
        net_revenue=total,
        top_category=str(top["category"]),
        top_category_share=float(share) if np.isfinite(share) else "no revenue",
    )


def _daily(revenue_daily: pd.DataFrame) -> pd.DataFrame:
    amounts = ["sales_amount", "returns_amount", "net_amount", "orders"]
    frame = revenue_daily[amounts].apply(pd.to_numeric).astype(float)
    frame.index = pd.DatetimeIndex(pd.to_datetime(revenue_daily["date_day"]))
    frame = frame.groupby(level=0).sum()
    return frame.reindex(pd.date_range(frame.index[0], frame.index[-1], freq="D"), fill_value=0.0)


def _period_of(days: int) -> _Period:
    if days <= _DAILY_UP_TO_DAYS:
        return _Period("day", "D")
    return _Period("week", "W-SUN") if days <= _WEEKLY_UP_TO_DAYS else _Period("month", "M")


def _by_period(daily: pd.DataFrame, period: _Period) -> pd.DataFrame:
    keys = pd.DatetimeIndex(daily.index).to_period(period.frequency)
    sums = daily.groupby(keys).sum()
    span = pd.PeriodIndex(sums.index)
    sums["start"] = span.start_time
    sums["days"] = (span.end_time.normalize() - span.start_time).days + 1
    # The bar of a day is centered on its tick at midnight; the bar of a week covers its seven days.
    sums["left"] = mdates.date2num(span.start_time) - (0.5 if period.name == "day" else 0.0)
    sums["is_complete"] = daily.groupby(keys).size().to_numpy() == sums["days"].to_numpy()
    return sums


def _revenue_title(net: pd.Series, currency: str) -> str:
    if len(net) == 1:
        return f"Net revenue was {number(net.sum(), currency)} on {day(net.index[0])}"
    if len(net) < 2 * _YEAR:
        return (
            f"Net revenue was {number(net.sum(), currency)} over {counted(len(net), 'day')}, "
            f"{number(net.mean(), currency)} a day"
        )
    year, before = net.iloc[-_YEAR:].sum(), net.iloc[-2 * _YEAR : -_YEAR].sum()
    title = f"Net revenue of the last 365 days was {number(year, currency)}"
    if before <= 0 or year < 0:
        return title
    if np.isclose(year, before, rtol=1e-9):
        return f"{title}, as much as the year before"
    more = "more" if year > before else "less"
    return f"{title}, {number(abs(year / before - 1), '%')} {more} than the year before"


def _orders_title(daily: pd.DataFrame, currency: str) -> str:
    orders = float(daily["orders"].sum())
    if orders <= 0:
        return "Orders: none"
    each = number(daily["sales_amount"].sum() / orders, currency)
    return f"Orders {orders:,.0f}, with {each} of sales each"


def _draw_periods(
    axes: Axes, periods: pd.DataFrame, column: str, color: str, currency: str = ""
) -> None:
    style = {
        "facecolors": [color if complete else NEUTRAL for complete in periods["is_complete"]],
        "edgecolors": color,
        "linewidth": [0.0 if complete else 0.8 for complete in periods["is_complete"]],
    }
    left = periods["left"] + 0.09 * periods["days"]
    draw_bars(axes, left, 0.82 * periods["days"], periods[column], **style)
    number_axis(axes.yaxis, currency)
    if column != "net_amount":
        _cut_off_giant(axes, periods, column, currency)
    ticks = 5 if column == "net_amount" else 2
    axes.yaxis.set_major_locator(MaxNLocator(ticks, integer=column == "orders"))


def _cut_off_giant(axes: Axes, periods: pd.DataFrame, column: str, currency: str) -> None:
    """Cut off one bar that would flatten all others, and write its value beside it."""
    values = periods[column].to_numpy(float)
    if len(values) < _FEWEST_BARS:
        return
    giant, others = float(values.max()), float(np.partition(values, -2)[-2])
    if giant <= _GIANT * others or others <= 0:
        return
    axes.set_ylim(0, 1.5 * others)
    bar = periods.iloc[int(values.argmax())]
    side = "below right" if values.argmax() < len(values) / 2 else "below left"
    place = (bar["left"] + bar["days"] / 2, 1.5 * others)
    label(axes, f"{number(giant, currency)}, beyond the scale", place, side)


def _name_the_peak(axes: Axes, periods: pd.DataFrame, period: _Period, currency: str) -> None:
    place = int(periods["net_amount"].to_numpy().argmax())
    peak = periods.iloc[place]
    highest, start = float(peak["net_amount"]), peak["start"]
    if len(periods) < 3 or highest <= 0:
        return
    when = {"day": day(start), "week": f"week of {day(start)}", "month": f"{start:%b %Y}"}
    part = place / (len(periods) - 1)
    side = "above right" if part < 0.15 else "above left" if part > 0.85 else "above"
    at = (peak["left"] + peak["days"] / 2, highest)
    label(axes, f"{number(highest, currency)}, {when[period.name]}", at, side, size=9.5)
    axes.margins(y=0.15)


def _date_axis(axes: Axes, periods: pd.DataFrame) -> None:
    missing = max(0, _FEWEST_BARS - len(periods)) / 2
    end = periods["left"].iloc[-1] + periods["days"].iloc[-1]
    axes.set_xlim(periods["left"].iloc[0] - missing, end + missing)
    axes.grid(visible=False, axis="x")
    if len(periods) <= 10 and periods["days"].max() == 1:
        starts = periods["start"]
        axes.set_xticks(list(mdates.date2num(starts)), [f"{d.day} {d:%b}" for d in starts])
        return
    locator = mdates.AutoDateLocator(minticks=4, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, show_offset=False))


def _middle(decades: NDArray[np.float64], weights: pd.Series) -> float:
    """Return the weighted median of the sizes, interpolated within its step."""
    sums = np.append(0.0, weights.cumsum().to_numpy(float))
    ends = np.column_stack([decades, decades + 1 / STEPS_PER_DECADE]).ravel()
    return float(10 ** np.interp(0.5 * sums[-1], np.repeat(sums, 2)[1:-1], ends))


def _share_of_largest(known: pd.DataFrame, part: float) -> float:
    orders = np.append(0.0, known["orders"].to_numpy(float)[::-1].cumsum())
    amount = np.append(0.0, known["amount"].to_numpy(float)[::-1].cumsum())
    return float(np.interp(part * orders[-1], orders, amount) / amount[-1])


def _shares_by_size(known: pd.DataFrame, decades: NDArray[np.float64]) -> pd.DataFrame:
    """Return shares by bar; a bar is a tenth of a decade wide, or wider if there are few orders."""
    per_decade = 10 if known["orders"].sum() >= 200 and np.ptp(decades) > 0.3 else 5
    bars = np.floor(decades * per_decade + 1e-9).astype(int)
    sums = known.groupby(bars)[["orders", "amount"]].sum()
    ends = np.arange(bars.min(), bars.max() + 2)
    shares = sums.reindex(ends[:-1], fill_value=0.0) / sums.sum()
    sizes = 10.0 ** (ends / per_decade)
    return shares.assign(left=sizes[:-1], right=sizes[1:])


def _draw_sizes(axes: Axes, shares: pd.DataFrame, column: str, color: str, currency: str) -> None:
    left, right = shares["left"].to_numpy(), shares["right"].to_numpy()
    draw_bars(axes, left, 0.92 * (right - left), shares[column], facecolors=color)
    number_axis(axes.yaxis, "%")
    axes.locator_params(axis="y", nbins=4)
    axes.margins(y=0.25)
    axes.set_xscale("log")
    low, high = min(left[0], right[-1] / 4), max(right[-1], left[0] * 4)
    axes.set_xlim(low, high)
    ticks = (1.0,) if high / low > 150 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=ticks, numticks=10))
    axes.xaxis.set_minor_locator(NullLocator())
    number_axis(axes.xaxis, currency)


def _mark_size(axes: Axes, at: float, name: str, color: str) -> None:
    axes.axvline(at, color=INK, linewidth=1.0)
    is_right = np.log(at) > np.log(axes.get_xlim()) @ (0.4, 0.6)
    place = (at, axes.get_ylim()[1])
    label(axes, name, place, "below left" if is_right else "below right", color=color)


def _lorenz(groups: pd.DataFrame, kind: str) -> Curve | None:
    """Return cumulative shares of customers and of value from 0 to 1; None without any value."""
    frame = groups[groups["kind"] == kind].sort_values("place")
    customers = pd.to_numeric(frame["customers"]).to_numpy(float)
    value = pd.to_numeric(frame["value"]).fillna(0.0).to_numpy(float)
    if value.sum() <= 0:
        return None
    return (
        np.append(0.0, customers.cumsum() / customers.sum()),
        np.append(0.0, value.cumsum() / value.sum()),
    )


def _gini(curve: Curve) -> float:
    people, value = curve
    return float(2 * np.trapezoid(value, people) - 1)


def _concentration_title(tops: dict[str, float]) -> str:
    shares = {kind: number(top, "%") for kind, top in tops.items()}
    if "past" not in tops:
        return f"The top 20% of customers hold {shares['predicted']} of the predicted value"
    title = f"The top 20% of customers hold {shares['past']} of past net revenue"
    if "predicted" not in tops:
        return title
    return f"{title}; the top 20% by prediction hold {shares['predicted']} of predicted value"
