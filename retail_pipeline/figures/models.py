"""Model against model over the backtest's cut-offs, as the backtest measured them."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from retail_pipeline.figures.backtests import METRICS, cutoffs_in_words, no_outcome
from retail_pipeline.figures.queries import Context
from retail_pipeline.figures.style import (
    INK,
    MAIN,
    NEUTRAL,
    QUIET_INK,
    RULE,
    Plot,
    counted,
    in_house_style,
    label,
    model_in_words,
    name_rows,
    number,
    number_axis,
    page,
    source_of,
    words,
)

_ACCEPTED_BIAS = (0.75, 1.33)
"""The selection rule's band: outside it a model cannot become champion."""

_FARTHEST = 1.0
"""Deviance beyond twice the served model's is drawn at the edge: the others stay apart."""

_TRIANGLES = "Triangles point to values beyond the scale."
_NOT_COMMON = (
    " No cut-off is common to all models: each mean is over the model's own, and they do not "
    "compare."
)

Limits = tuple[float, float]


class _Panel(NamedTuple):
    column: str
    title: str
    advice: str


_PANELS = (
    _Panel("tweedie_deviance", "Tweedie deviance", "lower is better"),
    _Panel("normalized_gini", "Normalized Gini", "higher is better"),
    _Panel("bias", "Bias", "predicted ÷ actual"),
    _Panel("mae_over_mean", "MAE ÷ mean", "lower is better"),
)
_COLUMNS = [panel.column for panel in _PANELS]


@in_house_style
def model_comparison(metrics: pd.DataFrame, context: Context) -> Plot:
    """Draw each model's metrics: a dot for a cut-off, a line for the mean, best deviance on top.

    Only cut-offs at which every model was tested count: means over different ones do not compare.

    Args:
        metrics: `model_name, cutoff_date, tweedie_deviance, normalized_gini, bias, mae_over_mean`,
            a row per model and cut-off; an undefined metric is missing.
        context: Of the run.
    """
    source = source_of(context, METRICS)
    frame = metrics[["model_name", "cutoff_date", *_COLUMNS]].replace([np.inf, -np.inf], np.nan)
    frame[_COLUMNS] = frame[_COLUMNS].apply(pd.to_numeric).astype(float)
    frame, is_common = _common_cutoffs(frame.dropna(subset=_COLUMNS, how="all"))
    if frame.empty:
        return no_outcome(context, source)
    means = frame.groupby("model_name")[_COLUMNS].mean()
    means = means.sort_values(["tweedie_deviance", "normalized_gini"], ascending=[True, False])
    blue = ", blue is the model that serves" if context.served in means.index else ""
    figure = page(
        _comparison_title(means, context),
        f"Out-of-time backtest over {counted(context.horizon_days, 'day')}, "
        f"{cutoffs_in_words(frame['cutoff_date'])}: a dot is a cut-off, the bold line and the "
        f"number are the mean{blue}",
        f"{source} {_TRIANGLES} Gray band: bias that the selection accepts."
        f"{'' if is_common else _NOT_COMMON}",
        height=2.6 + 0.42 * max(2, len(means)),
    )
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    names = [model_in_words(str(name)) for name in means.index]
    name_rows(panels[0], names, [name == context.served for name in means.index])
    for axes, panel in zip(panels, _PANELS, strict=True):
        _draw_metric(axes, frame, means, panel, context.served)
    best = means.iloc[0]
    return Plot(
        figure,
        {
            "models": len(means),
            "cutoffs": int(frame["cutoff_date"].nunique()),
            "best_by_deviance": str(best.name),
            "served": context.served or "none yet",
            "validated": "yes" if context.served and context.validated else "no",
            **{f"{name}_of_best": float(best[name]) for name in _COLUMNS if pd.notna(best[name])},
        },
        rows=len(frame),
    )


@in_house_style
def model_differences(metrics: pd.DataFrame, context: Context) -> Plot:
    """Draw by how much each model's deviance differs from the served model's, cut-off by cut-off.

    A difference within a cut-off says more than two means: both models met the same months. The
    best model by mean deviance is the reference where the served one was not tested.

    Args:
        metrics: `model_name, cutoff_date, tweedie_deviance`, a row per model and cut-off.
        context: Of the run.
    """
    source = source_of(context, METRICS)
    deviance = pd.to_numeric(metrics["tweedie_deviance"]).astype(float)
    frame = metrics.assign(deviance=deviance.replace([np.inf, -np.inf], np.nan))
    table = frame.pivot_table(index="cutoff_date", columns="model_name", values="deviance")
    if table.empty:
        return no_outcome(context, source)
    served = context.served
    reference = served if served in table else str(table.mean().idxmin())
    base = table[reference].where(table[reference] > 0)
    apart = table.drop(columns=reference).div(base, axis=0).sub(1.0).dropna(how="all")
    apart = apart.dropna(axis="columns", how="all")
    if apart.empty:
        return words(
            f"{model_in_words(reference)} has no other model to compare with",
            "No other model was tested at the same cut-offs.",
            source,
        )
    apart = apart[apart.mean().sort_values().index]
    closest = str(apart.mean().abs().idxmin())
    figure = page(
        _differences_title(apart[closest].dropna(), reference),
        f"Tweedie deviance relative to {model_in_words(reference)} at the same cut-off: a dot is a "
        f"cut-off, the bold line their mean. Horizon {counted(context.horizon_days, 'day')}, "
        f"{cutoffs_in_words(apart.index.to_series())}",
        f"{source} Left of zero is better. Outcomes of neighboring cut-offs overlap: their dots "
        f"are no independent tests. {_TRIANGLES}",
        height=2.5 + 0.42 * max(2, apart.shape[1]),
    )
    axes = figure.subplots()
    _draw_differences(axes, apart)
    against = "the served model" if reference == served else model_in_words(reference)
    axes.set_title(f"Deviance against {against}'s")
    return Plot(
        figure,
        {
            "reference": reference,
            "models": int(apart.shape[1]),
            "cutoffs": len(apart),
            "closest": closest,
            "closest_mean_difference": float(apart[closest].mean()),
        },
        rows=int(apart.notna().to_numpy().sum()),
    )


def _common_cutoffs(metrics: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Return the rows of the cut-offs at which all models were tested, or all rows and False."""
    tested = metrics.dropna(subset=["tweedie_deviance"])
    models = tested.groupby("cutoff_date")["model_name"].nunique()
    common = models.index[models == tested["model_name"].nunique()]
    if len(common) or tested.empty:
        return metrics[metrics["cutoff_date"].isin(common)] if len(common) else metrics, True
    return metrics, False


def _comparison_title(means: pd.DataFrame, context: Context) -> str:
    served, deviance = context.served, means["tweedie_deviance"]
    best, lowest = str(means.index[0]), number(deviance.iloc[0])
    serves = "serves" if context.validated else "serves unvalidated"
    unsure = bool(served) and not context.validated
    doubt = f"; {model_in_words(served)} {serves}" if unsure else ""
    if not np.isfinite(deviance.iloc[0]):
        return f"The models' deviance is undefined: nothing was bought after the cut-offs{doubt}"
    itself, doubt = (f" and {serves}", "") if unsure and served == best else ("", doubt)
    if len(means) == 1:
        return f"{model_in_words(best)} has a mean Tweedie deviance of {lowest}{itself}{doubt}"
    title = f"{model_in_words(best)} has the lowest deviance of {len(means)} models{itself}"
    if served == best or served not in means.index:
        return f"{title}: {lowest} against {number(deviance.iloc[1])} of the next{doubt}"
    against = f"{lowest} against {number(deviance[served])}"
    return f"{title}, {model_in_words(served)} {serves} ({against})"


def _draw_metric(
    axes: Axes, frame: pd.DataFrame, means: pd.DataFrame, panel: _Panel, served: str
) -> None:
    limits = _limits(frame, means, panel)
    if panel.column == "bias":
        axes.axvspan(*_ACCEPTED_BIAS, color=RULE, alpha=0.6, linewidth=0)
        axes.axvline(1.0, color=INK, linewidth=0.8)
    for row, name in enumerate(means.index):
        values = frame.loc[frame["model_name"] == name, panel.column].dropna().to_numpy(float)
        color = MAIN if name == served else QUIET_INK
        _draw_row(axes, row, values, limits, color)
        mean = float(means.loc[name, panel.column])
        place = float(np.clip(np.nan_to_num(mean, nan=sum(limits) / 2), *limits))
        text = "undefined" if np.isnan(mean) else number(mean)
        side = (place - limits[0]) / (limits[1] - limits[0])
        align = "left" if side < 0.08 else "right" if side > 0.92 else "center"
        label(axes, text, (place, row - 0.16), "above", size=8, color=color, ha=align)
    axes.set_title(panel.title, pad=18)
    axes.text(0, 1.02, panel.advice, transform=axes.transAxes, size=8.5, color=QUIET_INK)
    _scale(axes, limits)
    axes.set_ylim(len(means) - 0.45, -0.9)


def _limits(frame: pd.DataFrame, means: pd.DataFrame, panel: _Panel) -> Limits:
    """Return a scale that shows every mean within reach: one absurd model must not flatten all."""
    values = frame[panel.column].dropna()
    if values.empty:
        return 0.0, 1.0
    center = float(means[panel.column].median())
    spread = max(float((means[panel.column] - center).abs().median()), 0.05 * abs(center), 1e-9)
    low = max(float(values.min()), center - 8 * spread)
    high = min(float(values.max()), center + 8 * spread)
    if panel.column == "bias":
        low, high = min(low, 0.7), max(high, 1.4)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    return low, high


def _draw_row(
    axes: Axes, row: int, values: NDArray[np.float64], limits: Limits, color: str
) -> None:
    """Draw a model's cut-offs as dots, their mean as a bar, and what lies beyond as triangles."""
    low, high = limits
    inside = values[(values >= low) & (values <= high)]
    rows = np.full(len(inside), row)
    axes.scatter(inside, rows, s=22, color=color, alpha=0.45, linewidth=0, zorder=2)
    for is_beyond, end, marker in (
        ((values > high).any(), high, ">"),
        ((values < low).any(), low, "<"),
    ):
        if is_beyond:
            axes.scatter([end], [row], marker=marker, s=30, color=color, zorder=3)
    mean = float(values.mean()) if len(values) else np.nan
    if low <= mean <= high:
        axes.plot([mean, mean], [row - 0.2, row + 0.2], color=color, linewidth=3, zorder=4)


def _scale(axes: Axes, limits: Limits) -> None:
    room = 0.05 * (limits[1] - limits[0])
    axes.set_xlim(limits[0] - room, limits[1] + room)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")


def _differences_title(values: pd.Series, reference: str) -> str:
    better, mean = int((values < 0).sum()), float(values.mean())
    side = "lower" if mean < 0 else "higher"
    return (
        f"{model_in_words(str(values.name))} comes closest to {model_in_words(reference)}: "
        f"deviance {number(abs(mean), '%')} {side} on average, lower at {better} of "
        f"{counted(len(values), 'cut-off')}"
    )


def _draw_differences(axes: Axes, apart: pd.DataFrame) -> None:
    values = apart.to_numpy(float)
    low = max(float(np.nanmin(values)), -_FARTHEST)
    high = min(float(np.nanmax(values)), _FARTHEST)
    margin = max(0.05 * min(float(np.nanmax(np.abs(values))), 1.0), 1e-9)
    limits = min(low, -margin), max(high, margin)
    axes.axvline(0, color=INK, linewidth=1.0)
    beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "size": 9}
    for row, name in enumerate(apart.columns):
        column = apart[name].dropna().to_numpy(float)
        mean = float(column.mean())
        color = MAIN if mean < 0 else QUIET_INK
        inside = column[(column >= limits[0]) & (column <= limits[1])]
        if len(inside) > 1:
            axes.hlines(row, inside.min(), inside.max(), color=NEUTRAL, linewidth=1.4, zorder=1.5)
        _draw_row(axes, row, column, limits, color)
        text = f"lower at {int((column < 0).sum())} of {len(column)}"
        axes.text(1.1, row, number(mean, "%", signed=True), ha="right", weight="bold", **beside)
        axes.text(1.125, row, text, **beside)
    _scale(axes, limits)
    name_rows(axes, [model_in_words(str(name)) for name in apart.columns])
    number_axis(axes.xaxis, "%", signed=True)
    axes.locator_params(axis="x", nbins=7)
