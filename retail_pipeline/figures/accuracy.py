"""Past predictions against actual net revenue: by rank of the prediction, and in total."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from retail_pipeline.figures.backtests import (
    by_rank,
    group_axis,
    group_in_words,
    model_and_cutoffs,
    of_past_outcomes,
    per_cutoff,
)
from retail_pipeline.figures.colors import ACCENT, INK, MAIN, NEUTRAL, QUIET_INK
from retail_pipeline.figures.marks import (
    EVEN,
    Curve,
    Look,
    draw_shares,
    label,
    legend_above,
    name_rows,
    number_axis,
    write_column,
)
from retail_pipeline.figures.queries import Context, Realised
from retail_pipeline.figures.style import Plot, in_house_style, page, plot, source_of, words
from retail_pipeline.figures.writing import counted, day, number

_MOST_DATES = 24
_NARROWEST = 0.1
"""Smallest span of an axis relative to its largest amount, as ticks have only three digits."""

_AMOUNTS = ["predicted_value", "actual_value"]


@of_past_outcomes(money=True)
def predicted_against_actual(known: pd.DataFrame, context: Context, source: str) -> Plot:
    """Draw the mean predicted and the mean actual value of customers, by rank of the prediction.

    Customers are ranked within each cut-off and form ten groups, or as many as there are customers.
    A group's mean is over the customers of all cut-offs. The 95 % interval of the mean actual value
    counts the customers of one cut-off only: see `backtests.per_cutoff`.
    """
    groups = _means(by_rank(known))
    top = groups.iloc[-1]
    predicted, actual = (number(top[name], context.currency) for name in _AMOUNTS)
    figure = page(
        f"The top {group_in_words(len(groups))} by prediction spent {actual} each; {predicted} "
        "was predicted",
        f"Mean net revenue per customer over {counted(context.horizon_days, 'day')}, by rank of "
        f"the prediction. {model_and_cutoffs(context, known)}",
        f"{source} Whiskers: 95% interval of the mean actual value for the number of customers at "
        "one cut-off.",
        height=5.8,
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _draw_pairs(above, groups, context.currency)
    _draw_ratios(below, groups)
    group_axis(below, groups)
    total = known[_AMOUNTS].sum()
    return plot(
        figure,
        len(known),
        model_name=context.served_model,
        cutoffs=int(known["cutoff_date"].nunique()),
        customer_outcomes=len(known),
        top_group_predicted_mean=float(top["predicted_value"]),
        top_group_actual_mean=float(top["actual_value"]),
        predicted_over_actual=_ratio(total) or "no actual value",
    )


@of_past_outcomes()
def gain_curve(known: pd.DataFrame, context: Context, source: str) -> Plot:
    """Draw the cumulative share of actual value, customers in the order of their prediction.

    The curve is the mean over the cut-offs; thin lines are single cut-offs. Customers with equal
    predictions share their value evenly, because their order is arbitrary.
    """
    spent = known["actual_value"].clip(lower=0.0)
    outcomes = len(known)
    known = known[spent.groupby(known["cutoff_date"]).transform("sum") > 0]
    if known.empty:
        return words(
            "Nobody bought anything after any past cut-off",
            f"There is no value to rank: {counted(outcomes, 'customer outcome')}, all zero.",
            source,
        )
    curves = _gains(known, "predicted_value")
    grid = np.linspace(0.0, 1.0, 101)
    mean, best = curves.mean(axis=0), _gains(known, "actual_value").mean(axis=0)
    figure = page(
        f"The 20% of customers ranked highest account for {number(mean[20], '%')} of actual net "
        "revenue",
        f"Share of net revenue over {counted(context.horizon_days, 'day')}, customers in the "
        f"order of their prediction. {model_and_cutoffs(context, known)}",
        f"{source} Thin lines: single cut-offs." if len(curves) > 1 else source,
        height=5.8,
    )
    axes = figure.subplots()
    if len(curves) > 1:
        axes.plot(grid, curves.T, color=NEUTRAL, linewidth=0.8, zorder=1.5)
    lines: list[tuple[Curve, str, Look]] = [
        ((grid, best), "perfect order", {"color": ACCENT, "linestyle": "--"}),
        ((grid, mean), "by prediction", {}),
        ((grid, grid), "random order", EVEN),
    ]
    draw_shares(axes, lines)
    axes.set_xlabel("Share of customers, highest prediction first")
    axes.set_title("Share of actual net revenue")
    return plot(
        figure,
        len(known),
        model_name=context.served_model,
        cutoffs=len(curves),
        share_of_value_top_10_percent=float(mean[10]),
        share_of_value_top_20_percent=float(mean[20]),
        perfect_share_top_20_percent=float(best[20]),
    )


@in_house_style
def realised_against_predicted(realised: Realised, context: Context) -> Plot:
    """Draw predicted and actual totals, one row per earlier prediction date."""
    source = source_of(context, "clv.realised_predictions", money=True)
    if realised.frame.empty:
        return _not_over(realised, context, source)
    frame = realised.frame.sort_values(["as_of_date", "origin"], ascending=[True, False])
    frame = frame.tail(_MOST_DATES).reset_index(drop=True)
    values = ["customers", *_AMOUNTS, "inside"]
    frame[values] = frame[values].apply(pd.to_numeric).fillna(0.0).astype(float)
    served = frame[frame["origin"] == "served"]
    latest = served.iloc[-1] if len(served) else frame.iloc[-1]
    hollow = ""
    if len(served) < len(frame):
        hollow = " Hollow: backtest predictions of the model now in use."
    dates = [f"{len(served)} served"] if len(served) else []
    dates += [f"{len(frame) - len(served)} from the backtest"] if len(served) < len(frame) else []
    figure = page(
        _realised_title(latest, context.currency),
        f"Predicted and actual net revenue over {counted(context.horizon_days, 'day')}, by "
        f"prediction date: {' and '.join(dates)}",
        source + hollow,
        height=2.5 + 0.36 * max(2, len(frame)),
    )
    _draw_totals(figure.subplots(), frame, context.currency)
    return plot(
        figure,
        len(frame),
        dates=len(frame),
        dates_served=len(served),
        origin=str(latest["origin"]),
        customers=int(latest["customers"]),
        predicted_value=float(latest["predicted_value"]),
        actual_value=float(latest["actual_value"]),
        predicted_over_actual=_ratio(latest) or "no actual value",
        coverage_80=float(latest["inside"] / max(latest["customers"], 1.0)),
    )


def _means(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return each group's mean predicted and actual value, and the latter's standard error."""
    groups = ranked.groupby("group")
    independent = per_cutoff(groups.size(), int(ranked["cutoff_date"].nunique()))
    spread = groups["actual_value"].std(ddof=1).fillna(0.0)
    return groups[_AMOUNTS].mean().assign(error=spread / np.sqrt(independent))


def _ratio(amounts: pd.Series) -> float | None:
    """Return predicted over actual value; None if nothing was spent."""
    actual = amounts["actual_value"]
    return float(amounts["predicted_value"] / actual) if actual else None


def _draw_pairs(axes: Axes, groups: pd.DataFrame, currency: str) -> None:
    places = groups.index.to_numpy(float)
    reach = 1.96 * groups["error"]
    for shift, name, color, above in (
        (-0.21, "predicted", MAIN, 0 * reach),
        (0.21, "actual", ACCENT, reach),
    ):
        values = groups[f"{name}_value"]
        axes.bar(places + shift, values, width=0.4, color=color, label=name)
        for place, value, top in zip(places + shift, values, values + above, strict=True):
            label(axes, number(value), (place, max(top, 0.0)), "above", size=7.5, bbox=None)
    actual = groups["actual_value"]
    ends = np.array([np.minimum(reach, actual.clip(lower=0.0)), reach])
    bars: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.1, "capsize": 2.5}
    axes.errorbar(places + 0.21, actual, yerr=ends, **bars)
    axes.margins(y=0.12)
    axes.set_title("Mean value of a customer")
    legend_above(axes)
    axes.axhline(0, color=INK, linewidth=0.8)
    number_axis(axes.yaxis, currency)
    axes.tick_params(axis="x", length=0)


def _draw_ratios(axes: Axes, groups: pd.DataFrame) -> None:
    ratios = groups["predicted_value"] / groups["actual_value"].where(groups["actual_value"] > 0)
    away = float((ratios - 1).abs().max()) if ratios.notna().any() else 0.0
    low, high = 1 - min(max(away, 0.25), 1.0), 1 + min(max(away, 0.25), 2.0)
    shown = ratios.clip(low, high)
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.vlines(groups.index, 1, shown, color=QUIET_INK, linewidth=1.2)
    axes.scatter(groups.index, shown, color=QUIET_INK, s=26, zorder=3)
    for group, ratio, height in zip(groups.index, ratios, shown.fillna(1.0), strict=True):
        text = "no actual" if np.isnan(ratio) else f"{ratio:.2f}"
        label(axes, text, (group, height), "below" if ratio < 1 else "above", size=8, bbox=None)
    room = 0.6 * (high - low)
    axes.set_title("Predicted ÷ actual")
    axes.set_ylim(low - room, high + room)
    axes.locator_params(axis="y", nbins=4)


def _gains(known: pd.DataFrame, order_by: str) -> NDArray[np.float64]:
    """Return the cumulative share of value by share of customers, one row per cut-off."""
    grid = np.linspace(0.0, 1.0, 101)
    curves = []
    for _, customers in known.groupby("cutoff_date"):
        value = customers["actual_value"].clip(lower=0.0)
        tied = value.groupby(customers[order_by]).agg(["sum", "size"]).sort_index(ascending=False)
        people = np.append(0.0, tied["size"].cumsum() / len(customers))
        curves.append(np.interp(grid, people, np.append(0.0, tied["sum"].cumsum() / value.sum())))
    return np.array(curves)


def _not_over(realised: Realised, context: Context, source: str) -> Plot:
    first = realised.earliest or context.as_of
    over = pd.Timestamp(first) + pd.Timedelta(days=context.horizon_days)
    return words(
        "No served prediction is old enough to be checked yet",
        f"The earliest covers {counted(context.horizon_days, 'day')} from {day(first)}: "
        f"its outcome is complete on {day(over)}. Until then, the backtest's figures show how "
        "accurate such predictions were in the past.",
        source,
    )


def _realised_title(latest: pd.Series, currency: str) -> str:
    predicted, actual = (number(latest[name], currency) for name in _AMOUNTS)
    title = f"Net revenue after {day(pd.Timestamp(latest['as_of_date']))} was {actual}"
    if latest["origin"] == "served":
        return f"{title}; {predicted} was predicted"
    return f"{title}; the model now in use would have predicted {predicted}"


def _draw_totals(axes: Axes, frame: pd.DataFrame, currency: str) -> None:
    rows = np.arange(len(frame))
    axes.hlines(rows, frame["predicted_value"], frame["actual_value"], color=NEUTRAL, linewidth=3)
    for column, color in zip(_AMOUNTS, (MAIN, ACCENT), strict=True):
        faces = [color if origin == "served" else "white" for origin in frame["origin"]]
        look: dict[str, Any] = {"s": 60, "edgecolor": color, "linewidth": 1.8, "zorder": 3}
        axes.scatter(frame[column], rows, facecolor=faces, **look)
        axes.scatter([], [], color=color, s=60, label=column.removesuffix("_value"))
    ratios = [_ratio(values) for _, values in frame.iterrows()]
    texts = [number(float("nan") if ratio is None else ratio) for ratio in ratios]
    write_column(axes, 1.08, texts, "predicted\n÷ actual")
    inside = frame["inside"] / frame["customers"].clip(lower=1.0)
    write_column(axes, 1.19, [number(part, "%") for part in inside], "inside\ninterval")
    name_rows(axes, [day(pd.Timestamp(value)) for value in frame["as_of_date"]])
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    number_axis(axes.xaxis, currency)
    axes.grid(visible=True, axis="x")
    axes.margins(x=0.12)
    amounts = frame[_AMOUNTS].to_numpy(float)
    low, high = float(amounts.min()), float(amounts.max())
    span = _NARROWEST * max(abs(low), abs(high))
    if high - low < span:
        axes.set_xlim((low + high - 1.24 * span) / 2, (low + high + 1.24 * span) / 2)
    axes.locator_params(axis="x", nbins=6, steps=[1, 2, 5, 10])
