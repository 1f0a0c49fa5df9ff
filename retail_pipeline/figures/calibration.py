"""Figures of calibration: errors, intervals and probabilities of past predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retail_pipeline.figures.backtests import (
    METRICS,
    by_rank,
    group_axis,
    group_in_words,
    model_and_cutoffs,
    of_past_outcomes,
    per_cutoff,
    wilson,
)
from retail_pipeline.figures.colors import ACCENT, INK, MAIN, NEUTRAL
from retail_pipeline.figures.marks import EVEN, label, legend_above, number_axis
from retail_pipeline.figures.queries import Context
from retail_pipeline.figures.style import Plot, in_house_style, page, plot, source_of, words
from retail_pipeline.figures.writing import counted, number

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_WHISKERS = "Whiskers: 95% interval of the share for the number of customers at one cut-off."


@of_past_outcomes(money=True)
def residuals(known: pd.DataFrame, context: Context, source: str) -> Plot:
    """Draw quantiles and mean of the prediction errors, by tenth of the prediction.

    The means have a separate scale, because they are small beside the errors of single customers.
    """
    ranked = by_rank(known)
    ranked["error"] = ranked["actual_value"] - ranked["predicted_value"]
    errors = ranked.groupby("group")["error"]
    groups = errors.quantile(np.array(_QUANTILES)).unstack().assign(mean=errors.mean())
    below, mean = float((ranked["error"] < 0).mean()), float(ranked["error"].mean())
    figure = page(
        f"{number(below, '%')} of customers spent less than predicted; on average, predictions "
        f"were {_too_high(mean, context.currency)}",
        f"Actual less predicted net revenue over {counted(context.horizon_days, 'day')}, by rank "
        f"of the prediction. {model_and_cutoffs(context, known)}",
        f"{source} A few customers spend much more than the rest, so a median below zero is normal;"
        " a mean other than zero is bias.",
        height=6.2,
    )
    above, below_it = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 1])
    _draw_errors(above, groups, context.currency)
    _draw_mean_errors(below_it, groups["mean"], context.currency)
    group_axis(below_it, groups)
    return plot(
        figure,
        len(ranked),
        model_name=context.served_model,
        customer_outcomes=len(ranked),
        mean_error=mean,
        median_error=float(ranked["error"].median()),
        mean_absolute_error=float(ranked["error"].abs().mean()),
        share_below_prediction=below,
    )


@of_past_outcomes("lower_80", "upper_80")
def interval_coverage(known: pd.DataFrame, context: Context, source: str) -> Plot:
    """Draw the share of outcomes inside their 80 % interval, by predicted tenth and by cut-off."""
    ranked = by_rank(known)
    ranked["inside"] = ranked["actual_value"].between(ranked["lower_80"], ranked["upper_80"])
    beyond = float((ranked["actual_value"] > ranked["upper_80"]).mean())
    covered, cutoffs = float(ranked["inside"].mean()), int(ranked["cutoff_date"].nunique())
    figure = page(
        f"{number(covered, '%')} of outcomes lay inside their 80% interval",
        f"Share of customers whose net revenue over {counted(context.horizon_days, 'day')} lay "
        f"inside their interval. {model_and_cutoffs(context, known)}",
        f"{source} {_WHISKERS} An interval from 0 holds nine in ten outcomes, one above 0 eight in "
        f"ten. Of the outcomes, {number(beyond, '%')} lay above their interval.",
        height=5.0,
    )
    left, right = figure.subplots(1, 2, sharey=True)
    by_group = ranked.groupby("group")["inside"].agg(["mean", "size"])
    by_group["size"] = per_cutoff(by_group["size"], cutoffs)
    by_cutoff = ranked.groupby("cutoff_date")["inside"].agg(["mean", "size"])
    low = _draw_coverage(left, by_group, [str(group) for group in by_group.index])
    low = min(low, _draw_coverage(right, by_cutoff, _short_days(by_cutoff.index)))
    name = group_in_words(len(by_group))
    left.set_title(f"By {name} of the prediction (line: 80%)")
    left.set_xlabel(f"1 the lowest {name}, {len(by_group)} the highest")
    right.set_title("By cut-off (line: 80%)")
    left.set_ylim(max(0.0, min(low, 0.8) - 0.08), 1.02)
    number_axis(left.yaxis, "%")
    return plot(
        figure,
        len(ranked),
        model_name=context.served_model,
        customer_outcomes=len(ranked),
        cutoffs=cutoffs,
        coverage_80=covered,
        share_above_interval=beyond,
    )


@of_past_outcomes("probability_active")
def activity_reliability(known: pd.DataFrame, context: Context, source: str) -> Plot:
    """Draw the share of customers who bought against the predicted probability of a purchase.

    A customer counts as having bought if the actual value is positive.
    """
    known["probability_active"] = known["probability_active"].clip(0.0, 1.0)
    known["bought"] = (known["actual_value"] > 0).astype(float)
    bins = np.minimum((known["probability_active"] * 10).astype(int), 9)
    groups = known.groupby(bins).agg(
        given=("probability_active", "mean"), bought=("bought", "mean"), size=("bought", "size")
    )
    given, bought = float(known["probability_active"].mean()), float(known["bought"].mean())
    figure = page(
        f"{number(bought, '%')} of customers bought, {number(given, '%')} were expected to",
        "Share of customers who bought within "
        f"{counted(context.horizon_days, 'day')}, by predicted probability of a purchase. "
        f"{model_and_cutoffs(context, known)}",
        f"{source} Bought: net revenue above zero. {_WHISKERS}",
        height=6.0,
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
    _draw_reliability(above, groups, int(known["cutoff_date"].nunique()))
    _draw_bin_sizes(below, groups, len(known))
    return plot(
        figure,
        len(known),
        model_name=context.served_model,
        customer_outcomes=len(known),
        mean_probability=given,
        share_who_bought=bought,
        brier_score=float(((known["probability_active"] - known["bought"]) ** 2).mean()),
    )


@in_house_style
def next_order_calibration(tenths: pd.DataFrame, context: Context) -> Plot:
    """Draw how customers spread over the tenths of the predicted time until their next order.

    It is the histogram of the probability integral transform; if the predicted distributions are
    right, all bars have the same height.

    Source:
        Czado, Gneiting, Held (2009), Predictive Model Assessment for Count Data, Biometrics 65(4).
    """
    source = source_of(context, METRICS)
    if tenths.empty:
        return words(
            "No predicted date of a next order can be checked yet",
            "A check needs a served model that predicts such dates, and a past cut-off with a "
            f"complete outcome of {counted(context.horizon_days, 'day')}.",
            source,
        )
    frame = tenths.assign(share=tenths["share"].astype(float))
    weighted = frame["share"] * frame["customers"]
    mean = weighted.groupby(frame["tenth"]).sum() / frame.groupby("tenth")["customers"].sum()
    early = float(mean.iloc[:5].sum())
    figure = page(
        f"{number(early, '%')} of customers fall into the earlier half of the predicted times of "
        "their next order; half should",
        "Customers by the predicted probability of an order up to the time of the actual one. "
        f"{model_and_cutoffs(context, frame)}",
        f"{source} Dots: single cut-offs. Customers without an order in the "
        f"{counted(context.horizon_days, 'day')} are spread over the probabilities beyond.",
        height=4.6,
    )
    axes = figure.subplots()
    axes.bar(mean.index, mean, width=0.86, color=MAIN)
    axes.scatter(frame["tenth"] + 0.3, frame["share"], s=10, color=ACCENT, zorder=3)
    highest = frame.groupby("tenth")["share"].max()
    for tenth, share, top in zip(mean.index, mean, np.maximum(highest, mean), strict=True):
        label(axes, number(share, "%"), (tenth, top), "above")
    axes.axhline(0.1, color=INK, linewidth=1.0)
    axes.set_title("Share of customers (line: as predicted)")
    axes.set_xticks(
        mean.index, [f"{10 * tenth - 10}\N{EN DASH}{10 * tenth}%" for tenth in mean.index]
    )
    axes.set_xlabel(
        "Predicted probability of an order up to the actual one: early left, late right"
    )
    axes.margins(y=0.12)
    number_axis(axes.yaxis, "%")
    return plot(
        figure,
        len(frame),
        model_name=context.served_model,
        cutoffs=int(frame["cutoff_date"].nunique()),
        share_in_earlier_half=early,
        largest_share=float(mean.max()),
        smallest_share=float(mean.min()),
    )


def _too_high(mean_error: float, currency: str) -> str:
    if mean_error == 0:
        return "right"
    return f"{number(abs(mean_error), currency)} too {'high' if mean_error < 0 else 'low'}"


def _draw_errors(axes: Axes, groups: pd.DataFrame, currency: str) -> None:
    for low, high, color, name in (
        (0.05, 0.95, NEUTRAL, "9 in 10 customers"),
        (0.25, 0.75, MAIN, "half of them"),
    ):
        axes.vlines(groups.index, groups[low], groups[high], color=color, linewidth=9, label=name)
    look: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.8, "zorder": 4}
    axes.scatter(groups.index, groups[0.5], color="white", s=30, label="median", **look)
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1.5)
    number_axis(axes.yaxis, currency)
    axes.set_title("Actual less predicted")
    legend_above(axes, 3)
    axes.margins(y=0.08)


def _draw_mean_errors(axes: Axes, means: pd.Series, currency: str) -> None:
    axes.bar(means.index, means, width=0.5, color=ACCENT)
    axes.axhline(0, color=INK, linewidth=0.8)
    for place, mean in means.items():
        side = "below" if mean < 0 else "above"
        label(axes, number(mean, currency, signed=True), (place, mean), side, size=8.5, bbox=None)
    number_axis(axes.yaxis, currency)
    axes.set_title("Mean of all customers (separate scale)")
    axes.locator_params(axis="y", nbins=3)
    axes.margins(y=0.45)


def _draw_coverage(axes: Axes, table: pd.DataFrame, names: Sequence[str]) -> float:
    """Draw shares with their intervals; return the lowest end of an interval."""
    places = np.arange(len(table))
    low, high = wilson(table["mean"], table["size"].astype(float))
    axes.axhline(0.8, color=INK, linewidth=1.0)
    axes.vlines(places, low, high, color=MAIN, linewidth=1.4)
    axes.scatter(places, table["mean"], s=38, color=MAIN, zorder=3)
    every = -(-len(names) // 12)
    axes.set_xticks(places[::every], list(names)[::every])
    axes.set_xlim(-0.6, max(len(table) - 0.4, 1.6))
    return float(low.min())


def _short_days(values: pd.Index) -> list[str]:
    """Return tick labels such as `Aug` or `5 Aug`; the first one of a year has the year below."""
    days = pd.to_datetime(values)
    names = [f"{d:%b}" if d.day == 1 else f"{d.day} {d:%b}" for d in days]
    is_first = [not place or days[place - 1].year != d.year for place, d in enumerate(days)]
    return [
        f"{name}\n{d.year}" if first else name
        for name, d, first in zip(names, days, is_first, strict=True)
    ]


def _draw_reliability(axes: Axes, groups: pd.DataFrame, cutoffs: int) -> None:
    low, high = wilson(groups["bought"], per_cutoff(groups["size"], cutoffs))
    axes.plot([0, 1], [0, 1], **EVEN)
    axes.plot(groups["given"], groups["bought"], color=MAIN, linewidth=1.6)
    axes.vlines(groups["given"], low, high, color=MAIN, linewidth=1.4)
    axes.scatter(groups["given"], groups["bought"], s=42, color=MAIN, zorder=3)
    for given, bought in zip(groups["given"], groups["bought"], strict=True):
        is_below = bought < given or given < 0.1
        side = "above" if bought < 0.08 else "below right" if is_below else "above left"
        label(axes, number(bought, "%"), (given, bought), side, size=8.5)
    axes.set(xlim=(0, 1), ylim=(0, 1.05))
    axes.set_title("Share who bought (dotted: as predicted)")
    number_axis(axes.yaxis, "%")


def _draw_bin_sizes(axes: Axes, groups: pd.DataFrame, customers: int) -> None:
    places = groups.index.to_numpy(float) / 10 + 0.05
    bars = axes.bar(places, groups["size"], width=0.092, color=NEUTRAL)
    texts = [number(size / customers, "%") for size in groups["size"]]
    axes.bar_label(bars, texts, padding=2, size=8.5, color=INK)
    axes.set_title(f"{customers:,} customer outcomes")
    axes.set_xlabel("Predicted probability of a purchase")
    axes.set_yticks([])
    axes.margins(y=0.3)
    axes.set_xticks(np.linspace(0, 1, 11))
    number_axis(axes.xaxis, "%")
