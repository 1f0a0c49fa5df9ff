"""Figures of totals: predicted and actual ones by cut-off, the present one, and those of groups."""

from collections.abc import Sequence

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from retail_pipeline.figures.backtests import METRICS, cutoffs_in_words, no_outcome
from retail_pipeline.figures.colors import ACCENT, ACCENT_INK, INK, MAIN, NEUTRAL, QUIET_INK
from retail_pipeline.figures.marks import Look, label, legend_above, name_rows, number_axis
from retail_pipeline.figures.queries import Context, Totals
from retail_pipeline.figures.style import Plot, in_house_style, page, plot, source_of, words
from retail_pipeline.figures.writing import counted, day, model_in_words, number, shortened

_SAME_SEASON_DAYS = 16
"""A cut-off this near to the day a year before has the season of the present prediction."""

_TICKS = (0.1, 0.2, 0.33, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
_FINE_TICKS = (0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
_MOST_GROUPS = 12


@in_house_style
def total_with_range(totals: Totals, context: Context) -> Plot:
    """Draw the present prediction of the total with its range, after past totals and predictions.

    The fan opens from the latest total that is known to the range of the present prediction.
    """
    source = source_of(context, "clv.totals and clv.backtest_predictions", money=True)
    if not totals.present:
        return words("There is no predicted total yet", "No customer was predicted.", source)
    past, now = _past(totals, context), totals.present
    low, value, high = (
        number(now[name], context.currency) for name in ("lower_80", "predicted_value", "upper_80")
    )
    figure = page(
        f"{value} is predicted for the {counted(context.horizon_days, 'day')} from "
        f"{day(context.as_of)}, with an 80% range from {low} to {high}",
        f"Net revenue over {counted(context.horizon_days, 'day')} of the customers known at each "
        f"date. {_tested(past, context)}",
        f"{source} Periods of neighboring dates overlap.{_why_outside(now)}",
        height=5.0,
    )
    axes = figure.subplots()
    _draw_fan(axes, past, now, context)
    return plot(
        figure,
        len(past) + 1,
        predicted_value=now["predicted_value"],
        lower_80=now["lower_80"],
        upper_80=now["upper_80"],
        past_cutoffs=len(past),
    )


@in_house_style
def bias_by_cutoff(totals: Totals, context: Context) -> Plot:
    """Draw predicted over actual total by past cut-off, on a logarithmic scale around 1.

    The cut-off of the same season a year before is marked, as a model without season repeats its
    error there. Where a seasonal model could not be tested, the model without season stands in.
    """
    source = source_of(context, METRICS)
    past = _past(totals, context)
    if past.empty:
        return no_outcome(context, source)
    past = past.assign(ratio=past["predicted_value"] / past["actual_value"])
    season = _same_season(past, context)
    figure = page(
        _bias_title(past, season, context),
        f"Predicted ÷ actual net revenue of all customers over "
        f"{counted(context.horizon_days, 'day')}. {_tested(past, context)}",
        f"{source} At 1 the total was right; the scale has equal distances for equal ratios.",
        height=4.6,
    )
    _draw_bias(figure.subplots(), past, season)
    same = {} if season is None else {"bias_same_season": float(past["ratio"][season])}
    return plot(
        figure,
        len(past),
        cutoffs=len(past),
        mean_bias=float(past["ratio"].mean()),
        **same,
    )


@in_house_style
def value_by_group(totals: Totals, context: Context) -> Plot:
    """Draw predicted totals with their ranges by country and by channel, if the data have them."""
    source = source_of(context, "clv.totals", money=True)
    panels = {
        title: _largest(totals.groups[totals.groups["grouping"] == grouping])
        for grouping, title in (("country", "Country"), ("channel", "Channel"))
    }
    known = {title: groups for title, groups in panels.items() if len(groups)}
    if not known:
        return words(
            "The data have neither country nor channel",
            "Customers of a source with one of these columns are compared here.",
            source,
        )
    left_out = " ".join(
        f"Not drawn: {len(groups) - _MOST_GROUPS} smaller values of {title.lower()}."
        for title, groups in known.items()
        if len(groups) > _MOST_GROUPS
    )
    missing = "".join(
        f" The data have no {title.lower()}." for title in panels if title not in known
    )
    first = next(iter(known.values()))
    rows = max(min(len(groups), _MOST_GROUPS) for groups in known.values())
    figure = page(
        _group_title(first, context),
        f"Predicted net revenue over {counted(context.horizon_days, 'day')} from "
        f"{day(context.as_of)}; lines are 80% ranges",
        f"{source}{missing} {left_out}".rstrip(),
        height=2.3 + 0.34 * max(2, rows),
    )
    for axes, (title, groups) in zip(
        np.atleast_1d(figure.subplots(1, len(known))), known.items(), strict=True
    ):
        _draw_groups(axes, groups.head(_MOST_GROUPS), title, context.currency)
        axes.set_ylim(rows - 0.4, -0.6)
    return plot(
        figure,
        sum(len(groups) for groups in known.values()),
        top_group=str(first["group_value"].iloc[0]),
        top_group_predicted_value=float(first["predicted_value"].iloc[0]),
        **{f"{title.lower()}_groups": len(groups) for title, groups in known.items()},
    )


def _why_outside(now: dict[str, float]) -> str:
    """Return the reason why a prediction lies outside its range; empty if it lies inside."""
    if now["lower_80"] <= now["predicted_value"] <= now["upper_80"]:
        return ""
    is_high = now["predicted_value"] > now["upper_80"]
    high, below = ("high", "below") if is_high else ("low", "above")
    return (
        f" The range lies {below} the prediction, as past totals were predicted too {high}; the "
        "prediction itself is not corrected for that."
    )


def _past(totals: Totals, context: Context) -> pd.DataFrame:
    """Return totals by cut-off: of the served model, or of its stand-in where it was not tested."""
    frame = totals.past[(totals.past["predicted_value"] > 0) & (totals.past["actual_value"] > 0)]
    frame = frame.assign(
        cutoff_date=pd.to_datetime(frame["cutoff_date"]),
        is_served=frame["model_name"] == context.served,
    )
    frame = frame.sort_values(["cutoff_date", "is_served"]).drop_duplicates(
        "cutoff_date", keep="last"
    )
    return frame.reset_index(drop=True)


def _tested(past: pd.DataFrame, context: Context) -> str:
    """Return the end of a subtitle: the model, its stand-in, and the cut-offs."""
    if past.empty:
        return "No past cut-off has a complete outcome yet"
    model = model_in_words(context.served)
    others = past.loc[~past["is_served"], "model_name"]
    hollow = "" if others.empty else f" (hollow: {model_in_words(str(others.iloc[0]))})"
    return f"{model}{hollow}, {cutoffs_in_words(past['cutoff_date'])}"


def _same_season(past: pd.DataFrame, context: Context) -> int | None:
    """Return the row of the cut-off a year before the as-of date; None if none was tested."""
    apart = (past["cutoff_date"] - (pd.Timestamp(context.as_of) - pd.DateOffset(years=1))).abs()
    nearest = int(apart.argmin())
    return nearest if apart[nearest] <= pd.Timedelta(days=_SAME_SEASON_DAYS) else None


def _draw_fan(axes: Axes, past: pd.DataFrame, now: dict[str, float], context: Context) -> None:
    end = float(mdates.date2num(context.as_of))
    if len(past):
        days, known = mdates.date2num(past["cutoff_date"]), past["actual_value"]
        actual: Look = {"color": ACCENT, "marker": "o", "markersize": 6, "label": "actual"}
        axes.plot(days, known, **actual)
        axes.plot(days, past["predicted_value"], color=MAIN, linewidth=1.2, zorder=2.5)
        _draw_dots(axes, past, "predicted_value")
        low, high = ([known.iloc[-1], now[name]] for name in ("lower_80", "upper_80"))
        axes.fill_between([days[-1], end], low, high, color=MAIN, alpha=0.15, linewidth=0)
    axes.vlines([end], now["lower_80"], now["upper_80"], color=MAIN, linewidth=3)
    axes.scatter([end], [now["predicted_value"]], color=MAIN, s=80, zorder=4, label="predicted")
    for name, side in (("upper_80", "above left"), ("lower_80", "below left")):
        label(axes, number(now[name], context.currency), (end, now[name]), side, color=MAIN)
    value = f" {number(now['predicted_value'], context.currency)}"
    label(axes, value, (end, now["predicted_value"]), color=MAIN, weight="bold", size=10)
    axes.set_title("Net revenue by date of the prediction")
    legend_above(axes)
    number_axis(axes.yaxis, context.currency)
    highest = max(
        [now["upper_80"], now["predicted_value"], *past["actual_value"], *past["predicted_value"]]
    )
    axes.set_ylim(0, 1.15 * highest)
    _date_axis(axes, [*past["cutoff_date"], pd.Timestamp(context.as_of)])


def _draw_dots(axes: Axes, past: pd.DataFrame, column: str) -> None:
    faces = [MAIN if is_served else "white" for is_served in past["is_served"]]
    look: Look = {"s": 46, "edgecolor": MAIN, "linewidth": 1.6, "zorder": 3}
    axes.scatter(past["cutoff_date"], past[column], facecolor=faces, **look)


def _date_axis(axes: Axes, days: Sequence[pd.Timestamp]) -> None:
    first, last = min(days), max(days)
    room = max((last - first) * 0.06, pd.Timedelta(days=15))
    axes.set_xlim(mdates.date2num(first - room), mdates.date2num(last + 1.5 * room))
    if last - first < pd.Timedelta(days=45):
        ends = sorted({first, last})
        axes.set_xticks(mdates.date2num(ends), [day(each) for each in ends])
        return
    locator = mdates.AutoDateLocator(minticks=3, maxticks=12)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, show_offset=False))


def _bias_title(past: pd.DataFrame, season: int | None, context: Context) -> str:
    """Return a title on the served model where it was tested, and on the season a year before."""
    own = past[past["is_served"]] if past["is_served"].any() else past
    error = float(np.expm1(np.abs(np.log(own["ratio"])).mean()))
    title = f"Totals were off by {number(error, '%')} on average at {counted(len(own), 'cut-off')}"
    if season is None:
        return f"{title}; none is of the same season a year before"
    ratio = float(past["ratio"][season])
    off = f"{number(abs(ratio - 1), '%')} too {'high' if ratio > 1 else 'low'}"
    off = off if abs(ratio - 1) >= 0.005 else "right"
    by = "" if past["is_served"][season] else f" by {model_in_words(past['model_name'][season])}"
    return f"{title}; a year before {day(context.as_of)}, the total{by} was {off}"


def _draw_bias(axes: Axes, past: pd.DataFrame, season: int | None) -> None:
    axes.set_yscale("log")
    low, high = min(0.85, past["ratio"].min() / 1.3), max(1.2, past["ratio"].max() * 1.35)
    axes.set_ylim(low, high)
    ticks = [tick for tick in (_FINE_TICKS if high / low < 6 else _TICKS) if low <= tick <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    number_axis(axes.yaxis)
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.vlines(past["cutoff_date"], 1, past["ratio"], color=NEUTRAL, linewidth=3, zorder=1.5)
    _draw_dots(axes, past, "ratio")
    for at, ratio in zip(past["cutoff_date"], past["ratio"], strict=True):
        side = "above" if ratio >= 1 else "below"
        label(axes, f"{ratio:.2f}", (at, ratio), side, size=8.5, color=QUIET_INK, bbox=None)
    if season is not None:
        at = mdates.date2num(past["cutoff_date"][season])
        axes.axvspan(at - 10, at + 10, color=ACCENT, alpha=0.2, linewidth=0, zorder=0.5)
        above: Look = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top"}
        axes.text(at, 0.99, "same season", color=ACCENT_INK, size=9, **above)
    axes.set_title("Predicted ÷ actual (logarithmic), by cut-off")
    _date_axis(axes, list(past["cutoff_date"]))


def _largest(groups: pd.DataFrame) -> pd.DataFrame:
    return groups.sort_values("predicted_value", ascending=False).reset_index(drop=True)


def _group_title(groups: pd.DataFrame, context: Context) -> str:
    top, whole = groups.iloc[0], float(groups["predicted_value"].sum())
    name, value = (
        shortened(str(top["group_value"])),
        number(top["predicted_value"], context.currency),
    )
    if whole <= 0:
        return f"Customers of “{name}” are predicted to spend {value}"
    share = number(top["predicted_value"] / whole, "%")
    return f"Customers of “{name}” are predicted to spend {value}, {share} of the total"


def _draw_groups(axes: Axes, groups: pd.DataFrame, title: str, currency: str) -> None:
    rows = np.arange(len(groups))
    axes.hlines(rows, groups["lower_80"], groups["upper_80"], color=NEUTRAL, linewidth=5)
    axes.scatter(groups["predicted_value"], rows, color=MAIN, s=46, zorder=3)
    for row, end, value in zip(rows, groups["upper_80"], groups["predicted_value"], strict=True):
        label(axes, number(value, currency), (max(end, value), row), bbox=None)
    names = zip(groups["group_value"], groups["customers"], strict=True)
    name_rows(axes, [f"{shortened(str(name), 20)}  {count:,.0f}" for name, count in names])
    axes.set_title(f"{title} and its customers")
    axes.grid(visible=True, axis="x")
    axes.set_xlim(0, 1.3 * (float(groups[["upper_80", "predicted_value"]].max().max()) or 1.0))
    axes.locator_params(axis="x", nbins=4)
    number_axis(axes.xaxis, currency)
