"""Figures that compare the models by the metrics of the backtest."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retail_pipeline.figures.backtests import METRICS, cutoffs_in_words, no_outcome
from retail_pipeline.figures.colors import INK, MAIN, NEUTRAL, QUIET_INK, RULE
from retail_pipeline.figures.marks import Look, label, name_rows, number_axis, write_column
from retail_pipeline.figures.queries import Context
from retail_pipeline.figures.style import Plot, in_house_style, page, plot, source_of, words
from retail_pipeline.figures.writing import counted, model_in_words, number

_ACCEPTED_BIAS = (0.75, 1.33)
"""Range of bias that the selection rule accepts; outside it a model cannot become champion."""

_FARTHEST = 1.0
"""A deviance above twice the served model's is drawn at the edge: it would flatten the rest."""

_TRIANGLES = "Triangles point to values beyond the scale."
_NOT_COMMON = (
    " No cut-off is common to all models: each mean is over the model's own cut-offs, so means "
    "are not comparable."
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
    """Draw each model's metrics: a dot per cut-off, a line for the mean, best deviance on top.

    Only cut-offs at which every model was tested count, because means over different cut-offs are
    not comparable. Undefined metrics are left out.
    """
    source = source_of(context, METRICS)
    frame = metrics[["model_name", "cutoff_date", *_COLUMNS]].replace([np.inf, -np.inf], np.nan)
    frame[_COLUMNS] = frame[_COLUMNS].apply(pd.to_numeric).astype(float)
    frame, is_common = _common_cutoffs(frame.dropna(subset=_COLUMNS, how="all"))
    if frame.empty:
        return no_outcome(context, source)
    means = frame.groupby("model_name")[_COLUMNS].mean()
    means = means.sort_values(["tweedie_deviance", "normalized_gini"], ascending=[True, False])
    blue = ", blue is the served model" if context.served in means.index else ""
    figure = page(
        _comparison_title(means, context),
        f"Out-of-time backtest over {counted(context.horizon_days, 'day')}, "
        f"{cutoffs_in_words(frame['cutoff_date'])}: dots are cut-offs, the bold line and the "
        f"number are the mean{blue}",
        f"{source} {_TRIANGLES} Gray band: bias that the selection rule accepts."
        f"{'' if is_common else _NOT_COMMON}",
        height=2.6 + 0.42 * max(2, len(means)),
    )
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    names = [model_in_words(str(name)) for name in means.index]
    name_rows(panels[0], names, [name == context.served for name in means.index])
    for axes, panel in zip(panels, _PANELS, strict=True):
        _draw_metric(axes, frame, means, panel, context.served)
    best = means.iloc[0]
    return plot(
        figure,
        len(frame),
        models=len(means),
        cutoffs=int(frame["cutoff_date"].nunique()),
        best_by_deviance=str(best.name),
        served=context.served or "none yet",
        validated="yes" if context.served and context.validated else "no",
        **{f"{name}_of_best": float(best[name]) for name in _COLUMNS if pd.notna(best[name])},
    )


@in_house_style
def model_differences(metrics: pd.DataFrame, context: Context) -> Plot:
    """Draw the difference between each model's deviance and the served model's, per cut-off.

    At one cut-off both models are tested on the same months, so differences show more than means.
    If the served model was not tested, the model with the lowest mean deviance is the reference.
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
        f"Tweedie deviance relative to {model_in_words(reference)} at the same cut-off: dots are "
        f"cut-offs, the bold line is their mean. Horizon {counted(context.horizon_days, 'day')}, "
        f"{cutoffs_in_words(apart.index.to_series())}",
        f"{source} Left of zero is better. Outcomes of neighboring cut-offs overlap, so their dots "
        f"are not independent tests. {_TRIANGLES}",
        height=2.5 + 0.42 * max(2, apart.shape[1]),
    )
    axes = figure.subplots()
    _draw_differences(axes, apart)
    against = "the served model" if reference == served else model_in_words(reference)
    axes.set_title(f"Deviance against {against}'s")
    return plot(
        figure,
        int(apart.notna().to_numpy().sum()),
        reference=reference,
        models=int(apart.shape[1]),
        cutoffs=len(apart),
        closest=closest,
        closest_mean_difference=float(apart[closest].mean()),
    )


def _common_cutoffs(metrics: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Return the rows of the cut-offs common to all models and True; without any, all and False."""
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
        return f"The models' deviance is undefined, as nothing was bought after the cut-offs{doubt}"
    itself, doubt = (f" and {serves}", "") if unsure and served == best else ("", doubt)
    if len(means) == 1:
        return f"{model_in_words(best)} has a mean Tweedie deviance of {lowest}{itself}{doubt}"
    title = f"{model_in_words(best)} has the lowest deviance of {len(means)} models{itself}"
    if served == best or served not in means.index:
        return f"{title}: {lowest} against {number(deviance.iloc[1])} for the next{doubt}"
    against = f"{lowest} against {number(deviance[served])}"
    return f"{title}, {model_in_words(served)} {serves} ({against})"


def _draw_metric(
    axes: Axes, frame: pd.DataFrame, means: pd.DataFrame, panel: _Panel, served: str
) -> None:
    limits = low, high = _limits(frame, means, panel)
    if panel.column == "bias":
        axes.axvspan(*_ACCEPTED_BIAS, color=RULE, alpha=0.6, linewidth=0)
        axes.axvline(1.0, color=INK, linewidth=0.8)
    table = frame.pivot_table(index="cutoff_date", columns="model_name", values=panel.column)
    colors = [MAIN if name == served else QUIET_INK for name in means.index]
    _draw_dots(axes, table.reindex(columns=means.index), limits, colors)
    for row, (mean, color) in enumerate(zip(means[panel.column], colors, strict=True)):
        place = float(np.clip(np.nan_to_num(mean, nan=(low + high) / 2), low, high))
        text = "undefined" if np.isnan(mean) else number(mean)
        side = (place - low) / (high - low)
        align = "left" if side < 0.08 else "right" if side > 0.92 else "center"
        label(axes, text, (place, row - 0.16), "above", size=8, color=color, ha=align)
    axes.set_title(panel.title, pad=18)
    axes.text(0, 1.02, panel.advice, transform=axes.transAxes, size=8.5, color=QUIET_INK)
    _scale(axes, limits)
    axes.set_ylim(len(means) - 0.45, -0.9)


def _limits(frame: pd.DataFrame, means: pd.DataFrame, panel: _Panel) -> Limits:
    """Return the ends of a scale for the means; a mean far off does not stretch the scale."""
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


def _draw_dots(axes: Axes, table: pd.DataFrame, limits: Limits, colors: Sequence[str]) -> None:
    """Draw a row per model: dots for cut-offs, a bar for the mean, triangles beyond the scale."""
    values, ink = table.to_numpy(float), np.array(colors)
    low, high = limits
    at, rows = np.nonzero((values >= low) & (values <= high))
    axes.scatter(values[at, rows], rows, s=22, color=ink[rows], alpha=0.45, linewidth=0, zorder=2)
    for beyond, end, marker in ((values > high, high, ">"), (values < low, low, "<")):
        rows = np.flatnonzero(beyond.any(axis=0))
        axes.scatter([end] * len(rows), rows, marker=marker, s=30, color=ink[rows], zorder=3)
    means = table.mean()
    rows = np.flatnonzero(means.between(low, high))
    look: Look = {"colors": ink[rows], "linewidth": 3, "zorder": 4}
    axes.vlines(means.iloc[rows], rows - 0.2, rows + 0.2, **look)


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
    inside = apart.where((apart >= limits[0]) & (apart <= limits[1]))
    rows, means = np.arange(apart.shape[1]), apart.mean()
    axes.hlines(rows, inside.min(), inside.max(), color=NEUTRAL, linewidth=1.4, zorder=1.5)
    _draw_dots(axes, apart, limits, [MAIN if mean < 0 else QUIET_INK for mean in means])
    write_column(axes, 1.1, [number(mean, "%", signed=True) for mean in means], weight="bold")
    lower, tested = (apart < 0).sum(), apart.notna().sum()
    texts = [f"lower at {few} of {all_}" for few, all_ in zip(lower, tested, strict=True)]
    write_column(axes, 1.125, texts, ha="left", size=9)
    _scale(axes, limits)
    name_rows(axes, [model_in_words(str(name)) for name in apart.columns])
    number_axis(axes.xaxis, "%", signed=True)
    axes.locator_params(axis="x", nbins=7)
