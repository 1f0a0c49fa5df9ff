"""Model against model over the backtest's cut-offs.

Pure: frames in, figures out; no reading, no Dagster. Metrics are drawn as the backtest measured
them, none is computed here.
"""

from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from retail_pipeline.figures.backtests import (
    METRICS,
    cutoffs_in_words,
    no_outcome,
    source_of,
)
from retail_pipeline.figures.page import (
    page,
    room_for,
    words,
)
from retail_pipeline.figures.style import (
    INK,
    MAIN,
    NEUTRAL,
    QUIET_INK,
    RULE,
    Plot,
    counted,
    in_house_style,
    readable,
    share,
    three_digits,
)

METRIC_COLUMNS = (
    "model_name",
    "cutoff_date",
    "tweedie_deviance",
    "normalized_gini",
    "bias",
    "mae_over_mean",
)
"""What `model_comparison` draws of `clv.backtest_metrics`."""

_ACCEPTED_BIAS = (0.75, 1.33)
"""The selection rule's band: outside it a model cannot become champion."""

_FARTHEST = 1.0
"""Deviance beyond twice the served model's is drawn at the edge: the others are told apart."""

Floats = NDArray[np.float64]


class _Panel(NamedTuple):
    column: str
    title: str
    advice: str
    ideal: float | None


_PANELS = (
    _Panel("tweedie_deviance", "Tweedie deviance", "lower is better", None),
    _Panel("normalized_gini", "Normalised Gini", "higher is better", None),
    _Panel("bias", "Bias", "predicted ÷ actual", 1.0),
    _Panel("mae_over_mean", "MAE ÷ mean", "lower is better", None),
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
    source = source or source_of(METRICS, as_of)
    columns = [panel.column for panel in _PANELS]
    frame = metrics[["model_name", "cutoff_date", *columns]].replace([np.inf, -np.inf], np.nan)
    frame[columns] = frame[columns].apply(pd.to_numeric).astype(float)
    frame = _common_cutoffs(frame.dropna(subset=columns, how="all"))
    if frame.empty:
        return no_outcome(horizon_days, as_of, source)
    means = frame.groupby("model_name")[columns].mean()
    means = means.sort_values(["tweedie_deviance", "normalized_gini"], ascending=[True, False])
    sheet = page(
        _comparison_title(means, served, validated),
        f"Out-of-time backtest over {counted(horizon_days, 'day')}, {cutoffs_in_words(frame)}: "
        "a dot is a cut-off, the bold line and the number are the mean"
        + (", blue is the model that serves" if served in means.index else ""),
        f"{source} Triangles point to values beyond the scale. Grey band: bias that the selection "
        "accepts."
        + (
            ""
            if _is_common(frame)
            else " No cut-off is common to all models: each mean is over "
            "the model's own, and they do not compare."
        ),
        height=2.5 + 0.42 * max(2, len(means)),
    )
    names = [readable(str(name)) for name in means.index]
    panels = sheet.panels(
        1,
        len(_PANELS),
        sharey=True,
        left=room_for(names, weight="bold"),
        above=0.5,
        gap=0.18,
    )
    for axes, panel in zip(panels, _PANELS, strict=True):
        _metric_panel(axes, frame, means, panel, served)
    panels[0].set_yticks(range(len(means)), names)
    for label, name in zip(panels[0].get_yticklabels(), means.index, strict=True):
        label.set(color=INK, weight="bold" if name == served else "normal")
    return Plot(
        sheet.figure,
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
        rows=len(frame),
    )


@in_house_style
def model_differences(
    metrics: pd.DataFrame, *, as_of: date, horizon_days: int, served: str | None
) -> Plot:
    """Draw by how much each model's deviance differs from the served model's, cut-off by cut-off.

    A difference within a cut-off says more than two means: both models met the same months.

    Args:
        metrics: `model_name, cutoff_date, tweedie_deviance`, a row per model and cut-off.
        as_of: The day before which data count.
        horizon_days: Days after the cut-off whose value was predicted.
        served: The model to compare with; the best by mean deviance where it was not tested.
    """
    source = source_of(METRICS, as_of)
    frame = metrics[["model_name", "cutoff_date", "tweedie_deviance"]].copy()
    frame["tweedie_deviance"] = pd.to_numeric(frame["tweedie_deviance"]).astype(float)
    table = frame.replace([np.inf, -np.inf], np.nan).pivot_table(
        index="cutoff_date", columns="model_name", values="tweedie_deviance"
    )
    table = table.loc[:, table.notna().any()]
    if table.empty:
        return no_outcome(horizon_days, as_of, source)
    reference = served if served and served in table else str(table.mean().idxmin())
    base = table[reference].where(table[reference] > 0)
    apart = table.drop(columns=reference).div(base, axis=0).sub(1.0).dropna(how="all")
    apart = apart.dropna(axis="columns", how="all")
    if apart.empty:
        return words(
            f"{readable(reference)} has no other model to compare with",
            ["No other model was tested at the same cut-offs."],
            source,
        )
    apart = apart[apart.mean().sort_values().index]
    closest = str(apart.mean().abs().idxmin())
    tested = pd.DataFrame({"cutoff_date": apart.index})
    sheet = page(
        _differences_title(apart[closest].dropna(), reference),
        f"Tweedie deviance relative to {readable(reference)} at the same cut-off: a dot is a "
        f"cut-off, the bold line their mean. Horizon {counted(horizon_days, 'day')}, "
        f"{cutoffs_in_words(tested)}",
        f"{source} Left of zero is better. Outcomes of neighbouring cut-offs overlap: their dots "
        "are no independent tests. Triangles point to values beyond the scale.",
        height=2.4 + 0.42 * max(2, apart.shape[1]),
    )
    names = [readable(str(name)) for name in apart.columns]
    axes = sheet.panels(left=room_for(names), right=1.9, below=0.35, above=0.3)[0]
    _draw_differences(axes, apart)
    against = "the served model" if reference == served else readable(reference)
    axes.set_title(f"Deviance against {against}'s")
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        label.set_color(INK)
    return Plot(
        sheet.figure,
        {
            "reference": reference,
            "models": int(apart.shape[1]),
            "cutoffs": len(apart),
            "closest": closest,
            "closest_mean_difference": float(apart[closest].mean()),
        },
        rows=int(apart.notna().to_numpy().sum()),
    )


def _common_cutoffs(metrics: pd.DataFrame) -> pd.DataFrame:
    tested = metrics.dropna(subset=["tweedie_deviance"])
    models = tested.groupby("cutoff_date")["model_name"].nunique()
    common = models.index[models == tested["model_name"].nunique()]
    return metrics[metrics["cutoff_date"].isin(common)] if len(common) else metrics


def _is_common(metrics: pd.DataFrame) -> bool:
    """Return whether all models were tested at each of the cut-offs."""
    tested = metrics.dropna(subset=["tweedie_deviance"])
    models = tested.groupby("cutoff_date")["model_name"].nunique()
    return bool((models == tested["model_name"].nunique()).all())


def _comparison_title(means: pd.DataFrame, served: str | None, validated: bool) -> str:
    deviance = means["tweedie_deviance"]
    best, lowest = str(means.index[0]), three_digits(deviance.iloc[0])
    serves = "serves" if validated else "serves unvalidated"
    doubt = "" if validated or served is None else f"; {readable(served)} {serves}"
    if not np.isfinite(deviance.iloc[0]):
        return (
            f"The models' deviance is undefined: there was nothing bought after the cut-offs{doubt}"
        )
    itself, doubt = (f" and {serves}", "") if doubt and served == best else ("", doubt)
    if len(means) == 1:
        return f"{readable(best)} has a mean Tweedie deviance of {lowest}{itself}{doubt}"
    title = f"{readable(best)} has the lowest deviance of {len(means)} models{itself}"
    if served is None or served == best or served not in means.index:
        return f"{title}: {lowest} against {three_digits(deviance.iloc[1])} of the next{doubt}"
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
    axes.set_ylim(len(means) - 0.45, -0.9)
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


def _differences_title(values: pd.Series, reference: str) -> str:
    better, mean = int((values < 0).sum()), float(values.mean())
    side = "lower" if mean < 0 else "higher"
    return (
        f"{readable(str(values.name))} comes closest to {readable(reference)}: deviance "
        f"{share(abs(mean))} {side} on average, lower at {better} of "
        f"{counted(len(values), 'cut-off')}"
    )


def _draw_differences(axes: Axes, apart: pd.DataFrame) -> None:
    values = apart.to_numpy(float)
    reach = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    low = max(float(np.nanmin(values)), -_FARTHEST)
    high = min(float(np.nanmax(values)), _FARTHEST)
    low, high = min(low, -0.05 * min(reach, 1.0)), max(high, 0.05 * min(reach, 1.0))
    if high - low < 1e-9:
        low, high = -0.05, 0.05
    axes.axvline(0, color=INK, linewidth=1.0)
    for row, name in enumerate(apart.columns):
        column = apart[name].dropna().to_numpy(float)
        mean = float(column.mean())
        colour = MAIN if mean < 0 else QUIET_INK
        inside = column[(column >= low) & (column <= high)]
        if len(inside) > 1:
            axes.hlines(row, inside.min(), inside.max(), color=NEUTRAL, linewidth=1.4, zorder=1.5)
        axes.scatter(
            inside, np.full(len(inside), row), s=24, color=colour, alpha=0.5, linewidth=0, zorder=2
        )
        _beyond(axes, row, column, (low, high), colour)
        if low <= mean <= high:
            axes.plot([mean, mean], [row - 0.25, row + 0.25], color=colour, linewidth=3, zorder=4)
        text = f"lower at {int((column < 0).sum())} of {len(column)}"
        beside: dict[str, Any] = {
            "transform": axes.get_yaxis_transform(),
            "va": "center",
            "size": 9,
        }
        axes.text(1.1, row, _signed(mean), ha="right", weight="bold", **beside)
        axes.text(1.125, row, text, **beside)
    room = 0.05 * (high - low)
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(apart.shape[1] - 0.45, -0.6)
    axes.xaxis.set_major_formatter(lambda value, _: _signed(value))
    axes.locator_params(axis="x", nbins=7)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")


def _signed(part: float) -> str:
    text = share(part)
    return f"+{text}" if part > 0 and text[0].isdigit() else text
