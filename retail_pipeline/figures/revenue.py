"""Revenue over time. Pure: a frame in, a figure out; no reading, no Dagster."""

from collections.abc import Callable
from datetime import date
from typing import NamedTuple

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from retail_pipeline.figures.page import (
    page,
    words,
)
from retail_pipeline.figures.style import (
    ACCENT,
    INK,
    MAIN,
    NEUTRAL,
    QUIET_INK,
    Plot,
    count,
    counted,
    day,
    in_house_style,
    money,
    share,
    unit,
)

_DAILY_UP_TO_DAYS, _WEEKLY_UP_TO_DAYS = 45, 800
_YEAR = 365
_GIANT = 4.0
_FEWEST_BARS = 8
"""One day's bar across the whole width would look like a wall."""


class _Period(NamedTuple):
    name: str
    frequency: str


@in_house_style
def revenue_over_time(revenue_daily: pd.DataFrame, *, currency: str, as_of: date) -> Plot:
    """Draw net revenue, orders and returns by day, week or month, whichever fits the time covered.

    Periods that the data cover in part are drawn light: they are no drop in revenue.

    Args:
        revenue_daily: `date_day, sales_amount, returns_amount, net_amount, orders`, a row per day;
            days without a row or a value count as zero.
        currency: ISO code of the amounts, or empty.
        as_of: The day before which data count.
    """
    source = f"Source: warehouse.revenue_daily, data before {day(as_of)}.{unit(currency)}"
    if revenue_daily.empty:
        return words("There is no revenue to show yet", ["No transaction was loaded."], source)
    daily = _daily(revenue_daily)
    first, last = daily.index[0], daily.index[-1]
    period = _period_of(len(daily))
    periods = _by_period(daily, period)
    returned = daily["returns_amount"].sum()
    rate = returned / daily["sales_amount"].sum() if daily["sales_amount"].sum() else float("nan")
    partial = int((~periods["is_complete"]).sum())
    light = f" Light bars: incomplete {period.name}s." if partial else ""

    span = day(first) if first == last else f"{day(first)} to {day(last)}"

    sheet = page(
        _title(daily["net_amount"], currency),
        f"Sales less returns, orders, and returns, by {period.name}: {span}",
        source + light,
        height=6.2,
    )
    above, middle, below = sheet.panels(3, 1, sharex=True, heights=[3, 1.2, 1.2], left=0.72)
    _bars(above, periods, "net_amount", MAIN, lambda value: money(value, currency))
    _bars(middle, periods, "orders", QUIET_INK, money)
    _bars(below, periods, "returns_amount", ACCENT, lambda value: money(value, currency))
    above.set_title(f"Net revenue per {period.name}")
    middle.set_title(_orders_title(daily, currency))
    of_sales = f", {share(rate)} of sales" if np.isfinite(rate) else ""
    below.set_title(f"Returns {money(returned, currency)}{of_sales} (on a scale of their own)")
    above.axhline(0, color=INK, linewidth=0.8)
    for axes in (above, middle):
        axes.tick_params(axis="x", length=0)
    _name_the_peak(above, periods, period, currency)
    _date_axis(below, periods)
    return Plot(
        sheet.figure,
        {
            "net_revenue": float(daily["net_amount"].sum()),
            "sales": float(daily["sales_amount"].sum()),
            "returns": float(returned),
            "returns_rate": float(rate) if np.isfinite(rate) else "no sales",
            "orders": int(daily["orders"].sum()),
            "days": len(daily),
            "periods": len(periods),
            "period": period.name,
        },
        rows=len(revenue_daily),
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
    # A day is drawn around its midnight, where the axis has its tick; a week over its seven days.
    sums["left"] = span.start_time - pd.Timedelta(hours=12 if period.name == "day" else 0)
    sums["middle"] = sums["left"] + pd.to_timedelta(sums["days"] / 2, unit="D")
    sums["is_complete"] = daily.groupby(keys).size().to_numpy() == sums["days"].to_numpy()
    return sums


def _title(net: pd.Series, currency: str) -> str:
    if len(net) == 1:
        return f"Net revenue was {money(net.sum(), currency)} on {day(net.index[0])}"
    if len(net) < 2 * _YEAR:
        return (
            f"Net revenue was {money(net.sum(), currency)} over {counted(len(net), 'day')}, "
            f"{money(net.mean(), currency)} a day"
        )
    year, before = net.iloc[-_YEAR:].sum(), net.iloc[-2 * _YEAR : -_YEAR].sum()
    title = f"Net revenue of the last 365 days was {money(year, currency)}"
    if before <= 0 or year < 0:
        return title
    if np.isclose(year, before, rtol=1e-9):
        return f"{title}, as much as the year before"
    more = "more" if year > before else "less"
    return f"{title}, {share(abs(year / before - 1))} {more} than the year before"


def _orders_title(daily: pd.DataFrame, currency: str) -> str:
    orders = float(daily["orders"].sum())
    if orders <= 0:
        return "Orders: none"
    each = money(daily["sales_amount"].sum() / orders, currency)
    return f"Orders {count(orders)}, with {each} of sales each"


def _bars(
    axes: Axes, periods: pd.DataFrame, column: str, colour: str, write: Callable[[float], str]
) -> None:
    for complete, shade in ((True, colour), (False, NEUTRAL)):
        chosen = periods[periods["is_complete"] == complete]
        axes.bar(
            chosen["middle"],
            chosen[column],
            width=0.82 * chosen["days"].to_numpy(),
            color=shade,
            edgecolor=colour,
            linewidth=0.0 if complete else 0.8,
        )
    axes.yaxis.set_major_formatter(lambda value, _: write(value))
    _cut_off_giant(axes, periods, column, write)
    axes.yaxis.set_major_locator(
        MaxNLocator(5 if column == "net_amount" else 2, integer=column == "orders")
    )


def _cut_off_giant(
    axes: Axes, periods: pd.DataFrame, column: str, write: Callable[[float], str]
) -> None:
    """Let one bar leave the scale, its value beside it, where it would flatten all others."""
    values = periods[column].to_numpy(float)
    if len(values) < 8 or column == "net_amount":
        return
    giant, others = float(values.max()), float(np.partition(values, -2)[-2])
    if giant <= _GIANT * others or others <= 0:
        return
    axes.set_ylim(0, 1.5 * others)
    at = periods["middle"].iloc[int(values.argmax())]
    on_right = values.argmax() < len(values) / 2
    axes.annotate(
        f"{write(giant)}, beyond the scale",
        (mdates.date2num(at), 1.5 * others),
        xytext=(6 if on_right else -6, -3),
        textcoords="offset points",
        ha="left" if on_right else "right",
        va="top",
        size=9,
    )


def _name_the_peak(axes: Axes, periods: pd.DataFrame, period: _Period, currency: str) -> None:
    peak = periods.loc[periods["net_amount"].idxmax()].to_dict()
    highest = float(peak["net_amount"])
    if len(periods) < 3 or highest <= 0:
        return
    start: pd.Timestamp = peak["start"]
    when = {"day": day(start), "week": f"week of {day(start)}", "month": f"{start:%b %Y}"}
    place = (start - periods["start"].iloc[0]) / (
        periods["start"].iloc[-1] - periods["start"].iloc[0]
    )
    axes.annotate(
        f"{money(highest, currency)}, {when[period.name]}",
        (mdates.date2num(peak["middle"]), highest),
        xytext=(0, 4),
        textcoords="offset points",
        ha="left" if place < 0.15 else "right" if place > 0.85 else "center",
        size=9.5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )
    axes.margins(y=0.12)


def _date_axis(axes: Axes, periods: pd.DataFrame) -> None:
    end = periods["left"].iloc[-1] + pd.Timedelta(days=int(periods["days"].iloc[-1]))
    missing = max(0, _FEWEST_BARS - len(periods)) * pd.Timedelta(days=1) / 2
    axes.set_xlim(periods["left"].iloc[0] - missing, end + missing)
    axes.grid(visible=False, axis="x")
    if len(periods) <= 10 and periods["days"].max() == 1:
        axes.set_xticks(
            list(mdates.date2num(periods["start"])),
            [f"{start.day} {start:%b}" for start in periods["start"]],
        )
        return
    locator = mdates.AutoDateLocator(minticks=4, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, show_offset=False))
