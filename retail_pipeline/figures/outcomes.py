"""Past predictions against what came: by rank of the prediction, and in total.

Pure: frames in, figures out; no reading, no Dagster. Errors and intervals are in `trust`, model
against model is in `models`.
"""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from numpy.typing import NDArray

from retail_pipeline.figures.backtests import (
    PREDICTIONS,
    by_rank,
    cutoffs_in_words,
    group_in_words,
    no_outcome,
    per_cutoff,
    source_of,
    with_outcome,
)
from retail_pipeline.figures.page import (
    page,
    size_of,
    words,
)
from retail_pipeline.figures.style import (
    ACCENT,
    ACCENT_INK,
    INK,
    MAIN,
    MISSING,
    NEUTRAL,
    QUIET_INK,
    Plot,
    brief,
    counted,
    day,
    in_house_style,
    money,
    money_axis,
    readable,
    share,
    share_axis,
    unit,
)

_MOST_DATES = 24
_NEAR = 0.045
"""Shares of value closer than this have labels that would touch."""

_LOW = 0.06
"""Shares of value below this have no room for a label under them."""

_NARROWEST = 0.1
"""An axis of amounts spans at least this part of them: its ticks are written with three digits."""

Floats = NDArray[np.float64]


@in_house_style
def predicted_against_actual(
    predictions: pd.DataFrame,
    *,
    currency: str,
    as_of: date,
    horizon_days: int,
    model_name: str,
    sampled: int = 1,
    source: str | None = None,
) -> Plot:
    """Draw mean predicted and mean actual value of customers grouped by their prediction's rank.

    Customers are ranked within each cut-off; a group's mean is over the customers of all cut-offs.
    With ten customers and more there are ten groups. The mean actual value bears its 95 % interval,
    that of one cut-off: see `backtests.per_cutoff`.

    Args:
        predictions: `cutoff_date, customer_id, predicted_value, actual_value` of one model,
            out-of-time; rows whose actual value is missing are not over yet and do not count.
        currency: ISO code of the amounts, or empty.
        as_of: The day before which data count.
        horizon_days: Days after the cut-off whose value was predicted.
        model_name: The model that predicted.
        sampled: One customer in so many is in the frame.
        source: Where the predictions come from; by default the backtest's table.
    """
    source = (source or source_of(PREDICTIONS, as_of, sampled)) + unit(currency)
    known = with_outcome(predictions)
    if known.empty:
        return no_outcome(horizon_days, as_of, source)
    groups = _means(by_rank(known))
    top, name = groups.iloc[-1], group_in_words(len(groups))
    sheet = page(
        _against_title(top, name, currency),
        f"Mean net revenue of a customer over {counted(horizon_days, 'day')}, by rank of the "
        f"prediction. {readable(model_name)}, {cutoffs_in_words(known)}",
        f"{source} Whiskers: 95% interval of the mean actual value, counting the customers of one "
        "cut-off.",
        height=5.8,
    )
    above, below = sheet.panels(
        2, 1, sharex=True, heights=[3.0, 1], left=0.72, below=0.5, above=0.25, gap=0.35
    )
    _paired_bars(above, groups, currency)
    _ratios(below, groups)
    below.set_xlabel(
        f"Customers by predicted value: 1 the lowest {name}, {len(groups)} the highest"
    )
    total = known[["predicted_value", "actual_value"]].sum()
    return Plot(
        sheet.figure,
        {
            "model_name": model_name,
            "cutoffs": int(known["cutoff_date"].nunique()),
            "customer_outcomes": len(known),
            "top_group_predicted_mean": float(top["predicted_value"]),
            "top_group_actual_mean": float(top["actual_value"]),
            "predicted_over_actual": _ratio(total["predicted_value"], total["actual_value"])
            or "no actual value",
        },
        rows=len(known),
    )


@in_house_style
def gain_curve(
    predictions: pd.DataFrame,
    *,
    as_of: date,
    horizon_days: int,
    model_name: str,
    sampled: int = 1,
) -> Plot:
    """Draw which share of the actual value the customers ranked highest by prediction brought.

    The curve is the mean over the cut-offs, thin lines are single cut-offs. Equal predictions share
    their value evenly: their order is nobody's merit.

    Args:
        predictions: As in `predicted_against_actual`.
        as_of: The day before which data count.
        horizon_days: Days after the cut-off whose value was predicted.
        model_name: The model that predicted.
        sampled: One customer in so many is in the frame.
    """
    source = source_of(PREDICTIONS, as_of, sampled)
    known = with_outcome(predictions)
    if known.empty:
        return no_outcome(horizon_days, as_of, source)
    curves = _curves(known, "predicted_value")
    if not curves:
        return words(
            "Nobody bought anything after any past cut-off",
            [f"There is no value to gain: {counted(len(known), 'customer outcome')}, all zero."],
            source,
        )
    known = known[_brought(known).groupby(known["cutoff_date"]).transform("sum") > 0]
    grid = np.linspace(0.0, 1.0, 101)
    mean, best = np.mean(curves, axis=0), np.mean(_curves(known, "actual_value"), axis=0)
    sheet = page(
        f"The 20% of customers ranked highest brought {share(mean[20])} of what was really spent",
        f"Share of the net revenue of {counted(horizon_days, 'day')}, customers in the order of "
        f"their prediction. {readable(model_name)}, {cutoffs_in_words(known)}",
        f"{source} Thin lines: single cut-offs." if len(curves) > 1 else source,
        height=5.8,
    )
    axes = sheet.panels(left=0.55, below=0.5)[0]
    for curve in curves if len(curves) > 1 else []:
        axes.plot(grid, curve, color=NEUTRAL, linewidth=0.8, zorder=1.5)
    axes.plot(grid, best, color=ACCENT, linestyle="--", label="perfect order")
    axes.plot(grid, mean, color=MAIN, linewidth=2.6, label="prediction")
    axes.plot(grid, grid, color=QUIET_INK, linewidth=1.2, linestyle=":", label="random order")
    _name_the_curves(axes, mean, best)
    return Plot(
        sheet.figure,
        {
            "model_name": model_name,
            "cutoffs": len(curves),
            "share_of_value_top_10_percent": float(mean[10]),
            "share_of_value_top_20_percent": float(mean[20]),
            "perfect_share_top_20_percent": float(best[20]),
        },
        rows=len(known),
    )


@in_house_style
def realised_against_predicted(
    totals: pd.DataFrame,
    *,
    currency: str,
    as_of: date,
    horizon_days: int,
    earliest: date | None = None,
) -> Plot:
    """Draw what was predicted against what then came, a row per earlier date of prediction.

    Args:
        totals: `as_of_date, origin, customers, predicted_value, actual_value, inside` (customers
            whose outcome lay in their interval), a row per date whose horizon is over and origin:
            "served" was in use then, "backtest" is what the model now in use would have said.
        currency: ISO code of the amounts, or empty.
        as_of: The day before which data count.
        horizon_days: Of the predictions.
        earliest: The earliest date that was served, for the sentence where none is over yet.
    """
    source = f"Source: clv.realised_predictions, data before {day(as_of)}.{unit(currency)}"
    if totals.empty:
        return _not_over(as_of, horizon_days, earliest, source)
    frame = totals.sort_values(["as_of_date", "origin"], ascending=[True, False])
    frame = frame.tail(_MOST_DATES).reset_index(drop=True)
    values = ["customers", "predicted_value", "actual_value", "inside"]
    frame[values] = frame[values].apply(pd.to_numeric).fillna(0.0).astype(float)
    served = frame[frame["origin"] == "served"]
    latest = served.iloc[-1] if len(served) else frame.iloc[-1]
    sheet = page(
        _realised_title(latest, currency),
        f"Net revenue of {counted(horizon_days, 'day')} as predicted and as it came, by date of "
        f"prediction: {counted(len(served), 'date')} that {_were(len(served))} served, "
        f"{len(frame) - len(served)} of the backtest",
        source
        + " Hollow: what the model now in use would have said, from the backtest."
        * (len(served) < len(frame)),
        height=2.3 + 0.36 * max(2, len(frame)),
    )
    axes = sheet.panels(left=1.0, right=2.3, below=0.35, above=0.35)[0]
    _draw_totals(axes, frame, currency)
    return Plot(
        sheet.figure,
        {
            "dates": len(frame),
            "dates_served": len(served),
            "origin": str(latest["origin"]),
            "customers": int(latest["customers"]),
            "predicted_value": float(latest["predicted_value"]),
            "actual_value": float(latest["actual_value"]),
            "predicted_over_actual": _ratio(latest["predicted_value"], latest["actual_value"])
            or "no actual value",
            "coverage_80": float(latest["inside"] / max(latest["customers"], 1.0)),
        },
        rows=len(frame),
    )


def _means(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the groups' mean predicted and actual value, and the latter's standard error."""
    groups = ranked.groupby("group")
    means = groups[["predicted_value", "actual_value"]].mean()
    independent = per_cutoff(groups.size(), int(ranked["cutoff_date"].nunique()))
    spread = groups["actual_value"].std(ddof=1).fillna(0.0)
    return means.assign(error=spread / np.sqrt(independent))


def _against_title(top: pd.Series, name: str, currency: str) -> str:
    predicted, actual = top["predicted_value"], top["actual_value"]
    return (
        f"The top {name} by prediction spent {money(actual, currency)} each, "
        f"{money(predicted, currency)} was predicted"
    )


def _ratio(predicted: float, actual: float) -> float | None:
    return float(predicted / actual) if actual else None


def _paired_bars(axes: Axes, groups: pd.DataFrame, currency: str) -> None:
    places = groups.index.to_numpy(float)
    for shift, column, colour in (
        (-0.21, "predicted", MAIN),
        (0.21, "actual", ACCENT),
    ):
        values = groups[f"{column}_value"]
        bars = axes.bar(places + shift, values, width=0.4, color=colour, label=column)
        tops = values if column == "predicted" else values + 1.96 * groups["error"]
        _label_tops(axes, bars, values, tops)
    actual, reach = groups["actual_value"].to_numpy(), 1.96 * groups["error"].to_numpy()
    axes.errorbar(
        places + 0.21,
        actual,
        yerr=np.array([np.minimum(reach, actual.clip(min=0.0)), reach]),
        fmt="none",
        ecolor=INK,
        elinewidth=1.1,
        capsize=2.5,
    )
    axes.margins(y=0.12)
    axes.set_title("Mean value of a customer")
    _name_the_bars(axes)
    axes.axhline(0, color=INK, linewidth=0.8)
    money_axis(axes, currency)
    axes.tick_params(axis="x", length=0)


def _name_the_bars(axes: Axes) -> None:
    """Write what the two colours are into the bars of the highest group, or where bars are low."""
    scale = float(np.diff(axes.get_ylim())[0])
    needed = 0.85 * scale / size_of(axes)[1]
    bars = [c for c in axes.containers if isinstance(c, BarContainer)]
    highest = [container.patches[-1] for container in bars]
    if any(bar.get_height() <= needed for bar in highest):
        for place, colour, name in ((0.98, MAIN, "predicted"), (0.88, ACCENT_INK, "actual")):
            axes.text(
                0.01, place, name, transform=axes.transAxes, va="top", color=colour, weight="bold"
            )
        return
    for bar, ink, name in zip(highest, ("white", INK), ("predicted", "actual"), strict=True):
        axes.text(
            bar.get_x() + bar.get_width() / 2,
            0.02 * scale,
            name,
            rotation=90,
            ha="center",
            va="bottom",
            color=ink,
            weight="bold",
            size=9.5,
            zorder=5,
            bbox={"facecolor": bar.get_facecolor(), "edgecolor": "none", "pad": 0.5},
        )


def _label_tops(axes: Axes, bars: BarContainer, values: pd.Series, tops: pd.Series) -> None:
    for bar, value, top in zip(bars, values, tops, strict=True):
        axes.annotate(
            brief(value),
            (bar.get_x() + bar.get_width() / 2, max(top, 0.0)),
            xytext=(0, 2.5),
            textcoords="offset points",
            ha="center",
            size=8,
        )


def _ratios(axes: Axes, groups: pd.DataFrame) -> None:
    ratios = groups["predicted_value"] / groups["actual_value"].where(groups["actual_value"] > 0)
    away = float((ratios - 1).abs().max()) if ratios.notna().any() else 0.0
    low, high = 1 - min(max(away, 0.25), 1.0), 1 + min(max(away, 0.25), 2.0)
    shown = ratios.clip(low, high)
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.vlines(groups.index, 1, shown, color=QUIET_INK, linewidth=1.2)
    axes.scatter(groups.index, shown, color=QUIET_INK, s=26, zorder=3)
    for group, ratio, height in zip(groups.index, ratios, shown.fillna(1.0), strict=True):
        upward = not ratio < 1
        axes.annotate(
            "no actual" if np.isnan(ratio) else f"{ratio:.2f}",
            (group, height),
            xytext=(0, 5 if upward else -5),
            textcoords="offset points",
            ha="center",
            va="bottom" if upward else "top",
            size=8,
        )
    room = 0.45 * (high - low)
    axes.set_title("Predicted ÷ actual")
    axes.set_ylim(low - room, high + room)
    axes.locator_params(axis="y", nbins=4)
    axes.set_xticks(groups.index)
    axes.set_xlim(0.4, len(groups) + 0.6)


def _curves(known: pd.DataFrame, order_by: str) -> list[Floats]:
    """Return, per cut-off with any value, the cumulated share of value by share of people."""
    grid = np.linspace(0.0, 1.0, 101)
    curves = []
    for _, customers in known.groupby("cutoff_date"):
        value = _brought(customers)
        if value.sum() <= 0:
            continue
        tied = value.groupby(customers[order_by]).agg(["sum", "size"]).sort_index(ascending=False)
        people = np.append(0.0, tied["size"].cumsum() / len(customers))
        curves.append(np.interp(grid, people, np.append(0.0, tied["sum"].cumsum() / value.sum())))
    return curves


def _brought(known: pd.DataFrame) -> pd.Series:
    return known["actual_value"].clip(lower=0.0)


def _name_the_curves(axes: Axes, mean: Floats, best: Floats) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Share of customers, highest prediction first")
    share_axis(axes)
    share_axis(axes, "x")
    axes.set_title("Share of actual net revenue")
    axes.plot([0.2, 0.2], [0, mean[20]], color=INK, linewidth=0.8)
    axes.scatter([0.2], [mean[20]], color=MAIN, s=46, zorder=4)
    beside: dict[str, Any] = {
        "textcoords": "offset points",
        "weight": "bold",
        "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
    }
    # Left of the curve, where there is room; of few customers it is flat there.
    is_flat = best[20] > 0.94
    below = -32 if is_flat and best[20] - mean[20] < _NEAR else -14
    if mean[20] < _LOW:
        below = 6
    axes.annotate(
        f"by prediction: {share(mean[20])}",
        (0.2, mean[20]),
        xytext=(12, below),
        color=MAIN,
        **beside,
    )
    axes.annotate(
        f"perfect order: {share(best[20])}",
        (0.2, best[20]),
        xytext=(12, -14) if is_flat else (-8, 6),
        ha="left" if is_flat else "right",
        color=ACCENT_INK,
        **beside,
    )
    _name_the_diagonal(axes, mean, beside)


def _name_the_diagonal(axes: Axes, mean: Floats, beside: dict[str, Any]) -> None:
    """Name it at the mark, or, where the curve's label stands there, on its side without curve."""
    is_near = abs(mean[20] - 0.2) < _NEAR
    on_left = is_near and mean[60] < 0.6 - 1e-9
    axes.annotate(
        "random order" if is_near else "random order: 20%",
        (0.6, 0.6) if is_near else (0.2, 0.2),
        xytext=(-8, 6) if on_left else (12, -14),
        ha="right" if on_left else "left",
        color=QUIET_INK,
        **beside,
    )


def _not_over(as_of: date, horizon_days: int, earliest: date | None, source: str) -> Plot:
    when = earliest or as_of
    over = pd.Timestamp(when) + pd.Timedelta(days=horizon_days)
    return words(
        "No served prediction is old enough to be judged yet",
        [
            f"The earliest was served for {day(when)} over {counted(horizon_days, 'day')}: what "
            f"came of it is complete on {day(over)}.",
            "Until then, the backtest's figures show how good such predictions were in the past.",
        ],
        source,
    )


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _realised_title(latest: pd.Series, currency: str) -> str:
    came, said = (money(latest[f"{name}_value"], currency) for name in ("actual", "predicted"))
    when = day(pd.Timestamp(latest["as_of_date"]))
    if latest["origin"] == "served":
        return f"{came} came of the {said} that were served on {when}"
    return f"{came} came after {when}; the model now in use would have predicted {said}"


def _draw_totals(axes: Axes, frame: pd.DataFrame, currency: str) -> None:
    rows = np.arange(len(frame))
    axes.hlines(rows, frame["predicted_value"], frame["actual_value"], color=NEUTRAL, linewidth=3)
    for column, colour, name in (
        ("predicted_value", MAIN, "predicted"),
        ("actual_value", ACCENT, "came"),
    ):
        faces = [colour if origin == "served" else "white" for origin in frame["origin"]]
        axes.scatter(
            frame[column], rows, s=60, facecolor=faces, edgecolor=colour, linewidth=1.8, zorder=3
        )
        first, other = frame[column].iloc[0], frame[["predicted_value", "actual_value"]].iloc[0]
        left = first < other.max() or (other.min() == other.max() and column == "predicted_value")
        axes.annotate(
            name,
            (first, 0),
            xytext=(4 if not left else -4, 9),
            textcoords="offset points",
            ha="right" if left else "left",
            color=MAIN if colour == MAIN else ACCENT_INK,
            weight="bold",
        )
    for row, values in enumerate(frame.to_dict("records")):
        ratio = _ratio(values["predicted_value"], values["actual_value"])
        covered = share(values["inside"] / max(values["customers"], 1.0))
        text = f"{MISSING if ratio is None else f'{ratio:.2f}'}      {covered}"
        axes.text(1.03, row, text, transform=axes.get_yaxis_transform(), va="center", size=9.5)
    axes.text(
        1.03, 1.02, "÷ actual   in interval", transform=axes.transAxes, color=QUIET_INK, size=8.5
    )
    axes.set_yticks(rows, [day(pd.Timestamp(value)) for value in frame["as_of_date"]])
    axes.set_ylim(len(frame) - 0.4, -0.9)
    money_axis(axes, currency, "x")
    axes.locator_params(axis="x", nbins=6)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.margins(x=0.12)
    _widen(axes, frame[["predicted_value", "actual_value"]].to_numpy(float))


def _widen(axes: Axes, amounts: Floats) -> None:
    """Give nearly equal amounts an axis on which no two ticks read the same."""
    low, high = float(amounts.min()), float(amounts.max())
    span = _NARROWEST * max(abs(low), abs(high))
    if high - low < span:
        axes.set_xlim((low + high) / 2 - 0.62 * span, (low + high) / 2 + 0.62 * span)
        axes.locator_params(axis="x", steps=[1, 2, 5, 10])
