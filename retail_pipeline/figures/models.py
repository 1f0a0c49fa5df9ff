"""How good the predictions were: out-of-time predictions against what came, model against model.

Pure: frames in, figures out; no reading, no Dagster. Metrics are drawn as the backtest measured
them, none is computed here.
"""

from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from retail_pipeline.figures.style import (
    ACCENT,
    ACCENT_INK,
    INK,
    MAIN,
    NEUTRAL,
    QUIET_INK,
    RULE,
    Plot,
    brief,
    counted,
    day,
    framed,
    in_house_style,
    money,
    money_axis,
    share,
    share_axis,
    three_digits,
    unit,
    words,
)

_ORDINALS = {10: "tenth", 5: "fifth", 4: "quarter", 3: "third", 2: "half"}
_READABLE = {
    "mean": "Mean",
    "last_window": "Last window",
    "linear_regression": "Linear regression",
    "decision_tree": "Decision tree",
    "random_forest": "Random forest",
    "gradient_boosting": "Gradient boosting",
    "bg_nbd_gamma_gamma": "BG/NBD + Gamma-Gamma",
    "pareto_nbd_gamma_gamma": "Pareto/NBD + Gamma-Gamma",
}
_ACCEPTED_BIAS = (0.75, 1.33)
"""The selection rule's band: outside it a model cannot become champion."""

Floats = NDArray[np.float64]


class _Panel(NamedTuple):
    column: str
    title: str
    advice: str
    ideal: float | None


_PANELS = (
    _Panel("tweedie_deviance", "Tweedie deviance", "lower is better", None),
    _Panel("normalized_gini", "Normalised Gini", "higher is better", None),
    _Panel("bias", "Bias", "predicted ÷ actual, 1 is right", 1.0),
    _Panel("mae_over_mean", "MAE ÷ mean", "lower is better", None),
)


def readable(model_name: str) -> str:
    """Return a model's name as people write it, unbreakable; an unknown one keeps its words."""
    name = _READABLE.get(model_name, model_name.replace("_", " ").capitalize())
    return name.replace(" ", "\u00a0")


@in_house_style
def predicted_against_actual(
    predictions: pd.DataFrame,
    *,
    currency: str,
    as_of: date,
    horizon_days: int,
    model_name: str,
    source: str | None = None,
) -> Plot:
    """Draw mean predicted and mean actual value of customers grouped by their prediction's rank.

    Customers are ranked within each cut-off; a group's mean is over the customers of all cut-offs.
    With ten customers and more there are ten groups.

    Args:
        predictions: `cutoff_date, customer_id, predicted_value, actual_value` of one model,
            out-of-time; rows whose actual value is missing are not over yet and do not count.
        currency: ISO code of the amounts, or empty.
        as_of: The day before which data count.
        horizon_days: Days after the cut-off whose value was predicted.
        model_name: The model that predicted.
        source: Where the predictions come from; by default the backtest's table.
    """
    source = (source or _source("clv.backtest_predictions", as_of)) + unit(currency)
    known = _with_outcome(predictions)
    if known.empty:
        return _no_outcome(horizon_days, as_of, source)
    groups = _by_rank(known)
    top, name = groups.iloc[-1], _ORDINALS.get(len(groups), "group")
    figure = framed(
        _against_title(top, name, currency),
        f"Mean net revenue of a customer over {counted(horizon_days, 'day')}, by rank of the "
        f"prediction. {readable(model_name)}, {_cutoffs(known)}",
        source,
        height=5.8,
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    _paired_bars(above, groups, currency)
    _ratios(below, groups)
    below.set_xlabel(
        f"Customers by predicted value: 1 the lowest {name}, {len(groups)} the highest"
    )
    total = known[["predicted_value", "actual_value"]].sum()
    return Plot(
        figure,
        {
            "model_name": model_name,
            "cutoffs": int(known["cutoff_date"].nunique()),
            "customer_outcomes": len(known),
            "top_group_predicted_mean": float(top["predicted_value"]),
            "top_group_actual_mean": float(top["actual_value"]),
            "predicted_over_actual": _ratio(total["predicted_value"], total["actual_value"])
            or "no actual value",
        },
    )


@in_house_style
def gain_curve(
    predictions: pd.DataFrame, *, as_of: date, horizon_days: int, model_name: str
) -> Plot:
    """Draw which share of the actual value the customers ranked highest by prediction brought.

    The curve is the mean over the cut-offs, thin lines are single cut-offs. Equal predictions share
    their value evenly: their order is nobody's merit.

    Args:
        predictions: As in `predicted_against_actual`.
        as_of: The day before which data count.
        horizon_days: Days after the cut-off whose value was predicted.
        model_name: The model that predicted.
    """
    source = _source("clv.backtest_predictions", as_of)
    known = _with_outcome(predictions)
    if known.empty:
        return _no_outcome(horizon_days, as_of, source)
    curves = _curves(known, "predicted_value")
    if not curves:
        return words(
            "Nobody bought anything after any past cut-off",
            [f"There is no value to gain: {counted(len(known), 'customer outcome')}, all zero."],
            source,
        )
    grid = np.linspace(0.0, 1.0, 101)
    mean, best = np.mean(curves, axis=0), np.mean(_curves(known, "actual_value"), axis=0)
    figure = framed(
        f"The 20% of customers ranked highest brought {share(mean[20])} of what was really spent",
        f"Share of the net revenue of {counted(horizon_days, 'day')}, customers in the order of "
        f"their prediction. {readable(model_name)}, {_cutoffs(known)}",
        source,
        height=5.8,
    )
    axes = figure.subplots()
    for curve in curves if len(curves) > 1 else []:
        axes.plot(grid, curve, color=NEUTRAL, linewidth=0.8, zorder=1.5)
    axes.plot(grid, best, color=ACCENT, linestyle="--", label="perfect order")
    axes.plot(grid, mean, color=MAIN, linewidth=2.6, label="prediction")
    axes.plot(grid, grid, color=QUIET_INK, linewidth=1.2, linestyle=":", label="random order")
    _name_the_curves(axes, mean, best)
    return Plot(
        figure,
        {
            "model_name": model_name,
            "cutoffs": len(curves),
            "share_of_value_top_10_percent": float(mean[10]),
            "share_of_value_top_20_percent": float(mean[20]),
            "perfect_share_top_20_percent": float(best[20]),
        },
    )


@in_house_style
def model_comparison(
    metrics: pd.DataFrame,
    *,
    as_of: date,
    horizon_days: int,
    served: str | None,
    validated: bool = True,
    source: str | None = None,
) -> Plot:
    """Draw each model's metrics: a dot for a cut-off, a line for the mean, best deviance on top.

    Only cut-offs at which every model was tested count: means over different ones do not compare.

    Args:
        metrics: `model_name, cutoff_date, tweedie_deviance, normalized_gini, bias, mae_over_mean`,
            a row per model and cut-off; an undefined metric is missing.
        as_of: The day before which data count.
        horizon_days: Days after the cut-off whose value was predicted.
        served: The model that serves as of `as_of`, None before there is one.
        validated: Whether that model met the selection's rule; the title says where it did not.
        source: Where the metrics come from; by default the backtest's table.
    """
    source = source or _source("clv.backtest_metrics", as_of)
    columns = [panel.column for panel in _PANELS]
    frame = metrics[["model_name", "cutoff_date", *columns]].replace([np.inf, -np.inf], np.nan)
    frame[columns] = frame[columns].apply(pd.to_numeric).astype(float)
    frame = _common_cutoffs(frame.dropna(subset=columns, how="all"))
    if frame.empty:
        return _no_outcome(horizon_days, as_of, source)
    means = frame.groupby("model_name")[columns].mean()
    means = means.sort_values(["tweedie_deviance", "normalized_gini"], ascending=[True, False])
    figure = framed(
        _comparison_title(means, served, "serves" if validated else "serves unvalidated"),
        f"Out-of-time backtest over {counted(horizon_days, 'day')}, {_cutoffs(frame)}: a dot is a "
        "cut-off, the bold line and the number are the mean"
        + (", blue is the model that serves" if served in means.index else ""),
        f"{source} Triangles point to values beyond the scale. Grey band: bias that the selection "
        "accepts.",
        height=2.6 + 0.42 * max(2, len(means)),
        gap=0.08,
    )
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, panel in zip(panels, _PANELS, strict=True):
        _metric_panel(axes, frame, means, panel, served)
    panels[0].set_yticks(range(len(means)), [readable(str(name)) for name in means.index])
    for label, name in zip(panels[0].get_yticklabels(), means.index, strict=True):
        label.set(color=INK, weight="bold" if name == served else "normal")
    return Plot(
        figure,
        {
            "models": len(means),
            "cutoffs": int(frame["cutoff_date"].nunique()),
            "best_by_deviance": str(means.index[0]),
            "served": served or "none yet",
            "validated": "yes" if served and validated else "no",
            **{
                f"{column}_of_best": float(means.iloc[0][column])
                for column in columns
                if np.isfinite(means.iloc[0][column])
            },
        },
    )


def _source(table: str, as_of: date) -> str:
    return f"Source: {table}, data before {day(as_of)}."


def _no_outcome(horizon_days: int, as_of: date, source: str) -> Plot:
    return words(
        "No past prediction can be checked yet",
        [
            f"No cut-off lies {counted(horizon_days, 'day')} before {day(as_of)} with customers to "
            "predict, so there is no complete past outcome to compare with.",
            "Predictions are served unvalidated until there is one.",
        ],
        source,
    )


def _with_outcome(predictions: pd.DataFrame) -> pd.DataFrame:
    frame = predictions[["cutoff_date", "customer_id", "predicted_value", "actual_value"]].copy()
    values = ["predicted_value", "actual_value"]
    frame[values] = frame[values].apply(pd.to_numeric).astype(float)
    return frame.replace([np.inf, -np.inf], np.nan).dropna(subset=values)


def _cutoffs(frame: pd.DataFrame) -> str:
    days = pd.to_datetime(frame["cutoff_date"])
    first, last = days.min(), days.max()
    if first == last:
        return f"cut-off {day(first)}"
    return f"{days.nunique()} cut-offs from {day(first)} to {day(last)}"


def _common_cutoffs(metrics: pd.DataFrame) -> pd.DataFrame:
    tested = metrics.dropna(subset=["tweedie_deviance"])
    models = tested.groupby("cutoff_date")["model_name"].nunique()
    common = models.index[models == tested["model_name"].nunique()]
    return metrics[metrics["cutoff_date"].isin(common)] if len(common) else metrics


def _by_rank(known: pd.DataFrame) -> pd.DataFrame:
    frame = known.sort_values(["cutoff_date", "predicted_value", "customer_id"])
    customers = frame.groupby("cutoff_date")["customer_id"].transform("size")
    groups = int(min(10, customers.max()))
    rank = frame.groupby("cutoff_date").cumcount()
    frame["group"] = (rank * groups // customers).astype(int) + 1
    return frame.groupby("group")[["predicted_value", "actual_value"]].mean()


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
        axes.bar_label(bars, [brief(v) for v in values], padding=2, size=8, color=INK)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        frameon=False,
        borderpad=0,
        borderaxespad=0.4,
        handlelength=0.9,
        handleheight=0.9,
    )
    axes.margins(y=0.12)
    axes.axhline(0, color=INK, linewidth=0.8)
    money_axis(axes, currency)
    axes.tick_params(axis="x", length=0)


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
        value = customers["actual_value"].clip(lower=0.0)
        if value.sum() <= 0:
            continue
        tied = value.groupby(customers[order_by]).agg(["sum", "size"]).sort_index(ascending=False)
        people = np.append(0.0, tied["size"].cumsum() / len(customers))
        curves.append(np.interp(grid, people, np.append(0.0, tied["sum"].cumsum() / value.sum())))
    return curves


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
    axes.annotate(
        f"by prediction: {share(mean[20])}",
        (0.2, mean[20]),
        xytext=(12, -14),
        color=MAIN,
        **beside,
    )
    axes.annotate(
        f"perfect order: {share(best[20])}",
        (0.2, best[20]),
        xytext=(-8, 6),
        ha="right",
        color=ACCENT_INK,
        **beside,
    )
    axes.annotate("random order: 20%", (0.2, 0.2), xytext=(12, -14), color=QUIET_INK, **beside)


def _comparison_title(means: pd.DataFrame, served: str | None, serves: str) -> str:
    deviance = means["tweedie_deviance"]
    best = str(means.index[0])
    if not np.isfinite(deviance.iloc[0]):
        return "The models' deviance is undefined: there was nothing bought after the cut-offs"
    if len(means) == 1:
        return f"{readable(best)} has a mean Tweedie deviance of {three_digits(deviance.iloc[0])}"
    title = f"{readable(best)} has the lowest deviance of {len(means)} models"
    lowest = three_digits(deviance.iloc[0])
    if served is None or served == best or served not in means.index:
        return f"{title}: {lowest} against {three_digits(deviance.iloc[1])} of the next"
    against = f"{lowest} against {three_digits(deviance[served])}"
    return f"{title}, {readable(served)} {serves} ({against})"


def _metric_panel(
    axes: Axes, frame: pd.DataFrame, means: pd.DataFrame, panel: _Panel, served: str | None
) -> None:
    low, high = _limits(frame, means, panel)
    if panel.column == "bias":
        axes.axvspan(*_ACCEPTED_BIAS, color=RULE, alpha=0.6, linewidth=0)
    if panel.ideal is not None:
        axes.axvline(panel.ideal, color=INK, linewidth=0.8)
    for row, name in enumerate(means.index):
        values = frame.loc[frame["model_name"] == name, panel.column].dropna().to_numpy(float)
        colour = MAIN if name == served else QUIET_INK
        inside = values[(values >= low) & (values <= high)]
        axes.scatter(
            inside, np.full(len(inside), row), s=20, color=colour, alpha=0.45, linewidth=0, zorder=2
        )
        _beyond(axes, row, values, (low, high), colour)
        _mean_mark(axes, row, float(means.loc[name, panel.column]), (low, high), colour)
    axes.set_title(panel.title, pad=18)
    axes.text(0, 1.02, panel.advice, transform=axes.transAxes, size=8.5, color=QUIET_INK)
    axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_ylim(len(means) - 0.45, -0.7)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")


def _limits(frame: pd.DataFrame, means: pd.DataFrame, panel: _Panel) -> tuple[float, float]:
    """Return a scale that shows every mean within reach: one absurd model must not flatten all."""
    values = frame[panel.column].dropna()
    if values.empty:
        return 0.0, 1.0
    centre = float(means[panel.column].median())
    spread = max(float((means[panel.column] - centre).abs().median()), 0.05 * abs(centre), 1e-9)
    low = max(float(values.min()), centre - 8 * spread)
    high = min(float(values.max()), centre + 8 * spread)
    if panel.column == "bias":
        low, high = min(low, 0.7), max(high, 1.4)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    return low, high


def _beyond(axes: Axes, row: int, values: Floats, limits: tuple[float, float], colour: str) -> None:
    low, high = limits
    if (values > high).any():
        axes.scatter([high], [row], marker=">", s=30, color=colour, zorder=3)
    if (values < low).any():
        axes.scatter([low], [row], marker="<", s=30, color=colour, zorder=3)


def _mean_mark(axes: Axes, row: int, mean: float, limits: tuple[float, float], colour: str) -> None:
    low, high = limits
    if np.isnan(mean):
        axes.text((low + high) / 2, row - 0.12, "undefined", ha="center", size=8.5, color=colour)
        return
    place = min(max(mean, low), high)
    if place == mean:
        axes.plot([mean, mean], [row - 0.22, row + 0.22], color=colour, linewidth=3, zorder=4)
    side = (place - low) / (high - low)
    axes.text(
        place,
        row - 0.26,
        three_digits(mean),
        ha="left" if side < 0.08 else "right" if side > 0.92 else "center",
        va="bottom",
        size=8.5,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
    )
