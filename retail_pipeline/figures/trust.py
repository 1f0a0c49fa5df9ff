"""How far past predictions could be trusted: their errors, intervals and probabilities.

Pure: frames in, figures out; no reading, no Dagster. Their means and ranks are in `outcomes`.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retail_pipeline.figures.backtests import (
    PREDICTIONS,
    by_rank,
    cutoffs_in_words,
    group_in_words,
    no_outcome,
    per_cutoff,
    source_of,
    wilson,
    with_outcome,
)
from retail_pipeline.figures.page import (
    page,
    size_of,
)
from retail_pipeline.figures.style import (
    ACCENT,
    ACCENT_INK,
    INK,
    MAIN,
    NEUTRAL,
    QUIET_INK,
    Plot,
    count,
    counted,
    in_house_style,
    money,
    money_axis,
    readable,
    share,
    share_axis,
    unit,
)

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@in_house_style
def residuals(
    predictions: pd.DataFrame,
    *,
    currency: str,
    as_of: date,
    horizon_days: int,
    model_name: str,
    sampled: int = 1,
) -> Plot:
    """Draw how far outcomes lay from predictions, by tenth of the prediction: quantiles and mean.

    The scale is linear near zero and logarithmic beyond, as a few customers are off by thousands.

    Args:
        predictions: As in `predicted_against_actual`.
        currency: ISO code of the amounts, or empty.
        as_of: The day before which data count.
        horizon_days: Days after the cut-off whose value was predicted.
        model_name: The model that predicted.
        sampled: One customer in so many is in the frame.
    """
    source = source_of(PREDICTIONS, as_of, sampled) + unit(currency)
    known = with_outcome(predictions)
    if known.empty:
        return no_outcome(horizon_days, as_of, source)
    ranked = by_rank(known)
    ranked["error"] = ranked["actual_value"] - ranked["predicted_value"]
    groups = ranked.groupby("group")["error"].quantile(np.array(_QUANTILES)).unstack()
    groups["mean"] = ranked.groupby("group")["error"].mean()
    below = float((ranked["error"] < 0).mean())
    name = group_in_words(len(groups))
    sheet = page(
        f"{share(below)} of customers spent less than predicted; on average, predictions were "
        f"{_too_high(float(ranked['error'].mean()), currency)}",
        f"Actual less predicted net revenue of {counted(horizon_days, 'day')}, by rank of the "
        f"prediction. {readable(model_name)}, {cutoffs_in_words(known)}",
        f"{source} Few customers spend much, so most lie below their mean: the median is no bias, "
        "a mean away from zero is one. The scale is logarithmic away from zero.",
        height=5.6,
    )
    axes = sheet.panels(left=0.8, right=1.1, below=0.5)[0]
    _draw_errors(axes, groups, currency)
    axes.set_xlabel(f"Customers by predicted value: 1 the lowest {name}, {len(groups)} the highest")
    return Plot(
        sheet.figure,
        {
            "model_name": model_name,
            "customer_outcomes": len(ranked),
            "mean_error": float(ranked["error"].mean()),
            "median_error": float(ranked["error"].median()),
            "mean_absolute_error": float(ranked["error"].abs().mean()),
            "share_below_prediction": below,
        },
        rows=len(ranked),
    )


@in_house_style
def interval_coverage(
    predictions: pd.DataFrame,
    *,
    as_of: date,
    horizon_days: int,
    model_name: str,
    sampled: int = 1,
) -> Plot:
    """Draw the share of outcomes inside their 80 % interval, by tenth and by cut-off.

    Args:
        predictions: As in `predicted_against_actual`, with `lower_80, upper_80`.
        as_of: The day before which data count.
        horizon_days: Days after the cut-off whose value was predicted.
        model_name: The model that predicted.
        sampled: One customer in so many is in the frame.
    """
    source = source_of(PREDICTIONS, as_of, sampled)
    known = with_outcome(predictions, "lower_80", "upper_80")
    if known.empty:
        return no_outcome(horizon_days, as_of, source)
    ranked = by_rank(known)
    ranked["inside"] = ranked["actual_value"].between(ranked["lower_80"], ranked["upper_80"])
    ranked["beyond"] = ranked["actual_value"] > ranked["upper_80"]
    covered, cutoffs = float(ranked["inside"].mean()), int(ranked["cutoff_date"].nunique())
    name = group_in_words(int(ranked["group"].max()))
    sheet = page(
        f"{share(covered)} of outcomes lay inside their 80% interval",
        f"Share of customers whose net revenue of {counted(horizon_days, 'day')} fell inside their "
        f"interval. {readable(model_name)}, {cutoffs_in_words(known)}",
        f"{source} Whiskers: 95% interval of the share, counting the customers of one cut-off. "
        f"Of the outcomes, {share(float(ranked['beyond'].mean()))} lay above their interval.",
        height=5.0,
    )
    left, right = sheet.panels(
        1, 2, sharey=True, widths=[1, 1], left=0.55, below=0.5, gap=0.3, right=0.2
    )
    by_group = ranked.groupby("group")["inside"].agg(["mean", "size"])
    by_group["size"] = per_cutoff(by_group["size"], cutoffs)
    by_cutoff = ranked.groupby("cutoff_date")["inside"].agg(["mean", "size"])
    low = _draw_coverage(left, by_group, [str(group) for group in by_group.index])
    months = _short_days(by_cutoff.index)
    low = min(low, _draw_coverage(right, by_cutoff, months))
    left.set_title(f"By {name} of the prediction (line: 80%)")
    left.set_xlabel(f"1 the lowest {name}, {len(by_group)} the highest")
    right.set_title("By cut-off (line: 80%)")
    left.set_ylim(max(0.0, min(low, 0.8) - 0.08), 1.02)
    share_axis(left)
    return Plot(
        sheet.figure,
        {
            "model_name": model_name,
            "customer_outcomes": len(ranked),
            "cutoffs": cutoffs,
            "coverage_80": covered,
            "share_above_interval": float(ranked["beyond"].mean()),
        },
        rows=len(ranked),
    )


@in_house_style
def activity_reliability(
    predictions: pd.DataFrame,
    *,
    as_of: date,
    horizon_days: int,
    model_name: str,
    sampled: int = 1,
) -> Plot:
    """Draw how many customers bought against the probability that they were given.

    Args:
        predictions: As in `predicted_against_actual`, with `probability_active`. Bought is who has
            a positive actual value.
        as_of: The day before which data count.
        horizon_days: Days after the cut-off that the probability is for.
        model_name: The model that predicted.
        sampled: One customer in so many is in the frame.
    """
    source = source_of(PREDICTIONS, as_of, sampled)
    known = with_outcome(predictions, "probability_active")
    if known.empty:
        return no_outcome(horizon_days, as_of, source)
    known["probability_active"] = known["probability_active"].clip(0.0, 1.0)
    known["bought"] = (known["actual_value"] > 0).astype(float)
    bins = np.minimum((known["probability_active"] * 10).astype(int), 9)
    groups = known.groupby(bins).agg(
        given=("probability_active", "mean"), bought=("bought", "mean"), size=("bought", "size")
    )
    given, bought = float(known["probability_active"].mean()), float(known["bought"].mean())
    sheet = page(
        f"{share(bought)} of customers bought, {share(given)} were expected to",
        f"Customers by their probability of a purchase within {counted(horizon_days, 'day')}, "
        f"against the share who made one. {readable(model_name)}, {cutoffs_in_words(known)}",
        f"{source} Bought: net revenue above zero. Whiskers: 95% interval of the share, counting "
        "the customers of one cut-off.",
        height=6.0,
    )
    above, below = sheet.panels(
        2, 1, sharex=True, heights=[3.4, 1], left=0.6, below=0.5, gap=0.35, right=0.2
    )
    _draw_reliability(above, groups, int(known["cutoff_date"].nunique()))
    _draw_bin_sizes(below, groups, len(known))
    brier = float(((known["probability_active"] - known["bought"]) ** 2).mean())
    return Plot(
        sheet.figure,
        {
            "model_name": model_name,
            "customer_outcomes": len(known),
            "mean_probability": given,
            "share_who_bought": bought,
            "brier_score": brier,
        },
        rows=len(known),
    )


def _too_high(mean_error: float, currency: str) -> str:
    if mean_error == 0:
        return "right"
    return f"{money(abs(mean_error), currency)} too {'high' if mean_error < 0 else 'low'}"


def _draw_errors(axes: Axes, groups: pd.DataFrame, currency: str) -> None:
    places = groups.index.to_numpy(float)
    near = max(float(groups[[0.25, 0.5, 0.75]].abs().median().max()), 1e-6)
    axes.set_yscale("symlog", linthresh=_rounded(near), linscale=0.8)
    axes.vlines(places, groups[0.05], groups[0.95], color=NEUTRAL, linewidth=9)
    axes.vlines(places, groups[0.25], groups[0.75], color=MAIN, linewidth=9)
    axes.scatter(places, groups[0.5], marker="_", s=180, color="white", linewidth=2.2, zorder=3)
    axes.scatter(
        places, groups["mean"], marker="D", s=34, color=ACCENT, edgecolor=INK, lw=0.6, zorder=4
    )
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1.5)
    money_axis(axes, currency)
    axes.set_title("Actual less predicted")
    axes.set_xticks(places)
    axes.set_xlim(0.4, len(groups) + 0.6)
    axes.margins(y=0.08)
    last = groups.iloc[-1]
    _name_beside(
        axes,
        [
            (float(last[0.05]), "5th percentile", QUIET_INK),
            (float(last[0.25]), "25th percentile", MAIN),
            (float(last[0.5]), "median", QUIET_INK),
            (float(last["mean"]), "mean", ACCENT_INK),
            (float(last[0.75]), "75th percentile", MAIN),
            (float(last[0.95]), "95th percentile", QUIET_INK),
        ],
    )


def _name_beside(axes: Axes, named: Sequence[tuple[float, str, str]]) -> None:
    """Write names beside the right edge at their heights, moved apart where they would touch.

    Names of equal heights are stacked from the first upwards.
    """
    to_share = axes.transData + axes.transAxes.inverted()
    line = 0.17 / size_of(axes)[1]
    heights = [float(to_share.transform((1.0, value))[1]) for value, _, _ in named]
    order = np.argsort(heights, kind="stable")
    placed = np.array(heights)[order]
    for _ in range(200):
        gaps = np.diff(placed)
        tight = np.flatnonzero(gaps < line - 1e-6)
        if not len(tight):
            break
        for place in tight:
            push = (line - (placed[place + 1] - placed[place])) / 2
            placed[place] -= push
            placed[place + 1] += push
    for height, place in zip(placed, order, strict=True):
        _, text, colour = named[place]
        axes.text(1.012, height, text, color=colour, transform=axes.transAxes, va="center", size=9)


def _rounded(number: float) -> float:
    """Return the power of ten at or below a number."""
    return float(10.0 ** np.floor(np.log10(number)))


def _draw_coverage(axes: Axes, table: pd.DataFrame, names: Sequence[str]) -> float:
    """Draw shares with their intervals; return the lowest end."""
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
    """Return `Aug`, or `5 Aug`, with the year below the first one of each."""
    days = pd.to_datetime(values)
    names = [f"{d:%b}" if d.day == 1 else f"{d.day} {d:%b}" for d in days]
    news = [not place or days[place - 1].year != d.year for place, d in enumerate(days)]
    return [
        f"{name}\n{d.year}" if new else name for name, d, new in zip(names, days, news, strict=True)
    ]


def _draw_reliability(axes: Axes, groups: pd.DataFrame, cutoffs: int) -> None:
    low, high = wilson(groups["bought"], per_cutoff(groups["size"], cutoffs))
    axes.plot([0, 1], [0, 1], color=QUIET_INK, linewidth=1.2, linestyle=":")
    axes.plot(groups["given"], groups["bought"], color=MAIN, linewidth=1.6)
    axes.vlines(groups["given"], low, high, color=MAIN, linewidth=1.4)
    axes.scatter(groups["given"], groups["bought"], s=42, color=MAIN, zorder=3)
    for given, bought in zip(groups["given"], groups["bought"], strict=True):
        under = bought < given or given < 0.1
        axes.annotate(
            share(bought),
            (given, bought),
            xytext=(8, -5 if bought < 0.08 else -11) if under else (-7, 5),
            textcoords="offset points",
            ha="left" if under else "right",
            size=8.5,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.05))
    axes.set_title("Share who bought (dotted: as expected)")
    share_axis(axes)


def _draw_bin_sizes(axes: Axes, groups: pd.DataFrame, customers: int) -> None:
    places = groups.index.to_numpy(float) / 10 + 0.05
    bars = axes.bar(places, groups["size"], width=0.092, color=NEUTRAL)
    labels = [share(size / customers) for size in groups["size"]]
    axes.bar_label(bars, labels, padding=2, size=8.5, color=INK)
    axes.set_title(f"{count(customers)} customer outcomes")
    axes.set_xlabel("Probability of a purchase that they were given")
    axes.set_yticks([])
    axes.margins(y=0.3)
    axes.set_xticks(np.linspace(0, 1, 11))
    share_axis(axes, "x")
