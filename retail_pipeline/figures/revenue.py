"""Revenue over time. Pure: a frame in, a figure out; no reading, no Dagster."""

from datetime import date
from typing import NamedTuple

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retail_pipeline.figures.style import (
    ACCENT,
    INK,
    MAIN,
    NEUTRAL,
    Plot,
    counted,
    day,
    framed,
    in_house_style,
    money,
    money_axis,
    share,
    unit,
    words,
)

_DAILY_UP_TO_DAYS, _WEEKLY_UP_TO_DAYS = 45, 800
_YEAR = 365
_FEWEST_BARS = 8
"""One day's bar across the whole width would look like a wall."""


class _Period(NamedTuple):
    name: str
    frequency: str


@in_house_style
def revenue_over_time(revenue_daily: pd.DataFrame, *, currency: str, as_of: date) -> Plot:
    """Draw net revenue and returns by day, week or month, whichever fits the time covered.

    Periods that the data cover in part are drawn light: they are no drop in revenue.

    Args:
        revenue_daily: `date_day, sales_amount, returns_amount, net_amount`, a row per day; days
            without a row or a value count as zero.
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

    figure = framed(
        _title(daily["net_amount"], currency),
        f"Sales less returns, and returns, by {period.name}: {span}",
        source + light,
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _bars(above, periods, "net_amount", MAIN, currency)
    _bars(below, periods, "returns_amount", ACCENT, currency)
    above.set_title(f"Net revenue per {period.name}")
    of_sales = f", {share(rate)} of sales" if np.isfinite(rate) else ""
    below.set_title(f"Returns {money(returned, currency)}{of_sales} (on a scale of their own)")
    above.axhline(0, color=INK, linewidth=0.8)
    above.tick_params(axis="x", length=0)
    _name_the_peak(above, periods, period, currency)
    _date_axis(below, periods)
    return Plot(
        figure,
        {
            "net_revenue": float(daily["net_amount"].sum()),
            "sales": float(daily["sales_amount"].sum()),
            "returns": float(returned),
            "returns_rate": float(rate) if np.isfinite(rate) else "no sales",
            "days": len(daily),
            "periods": len(periods),
            "period": period.name,
        },
    )


def _daily(revenue_daily: pd.DataFrame) -> pd.DataFrame:
    amounts = ["sales_amount", "returns_amount", "net_amount"]
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
    if before <= 0:
        return title
    more = "more" if year >= before else "less"
    return f"{title}, {share(abs(year / before - 1))} {more} than the year before"


def _bars(axes: Axes, periods: pd.DataFrame, column: str, colour: str, currency: str) -> None:
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
    money_axis(axes, currency)
    axes.locator_params(axis="y", nbins=5 if column == "net_amount" else 2)


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
