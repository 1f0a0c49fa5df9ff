"""Whether today's customers and predictions still are those that the model knows.

Pure: a frame in, a figure out; no reading, no Dagster. The indices are measured elsewhere.
"""

from datetime import date

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retail_pipeline.figures.explanation import feature_in_words
from retail_pipeline.figures.page import (
    page,
    room_for,
    shortened,
    words,
)
from retail_pipeline.figures.style import (
    ACCENT,
    ACCENT_INK,
    INK,
    MAIN,
    NEUTRAL,
    QUIET_INK,
    Plot,
    counted,
    day,
    in_house_style,
)

_LITTLE, _MUCH = 0.1, 0.25
"""Below the first the index says little, from the second the population has changed."""

CLOCKS = frozenset(
    {
        *("age_days", "days_since_registration", "month_of_year", "active_months"),
        *("net_amount_year_ago_90d", "net_amount_year_ago_180d"),
    }
)
"""What moves with the calendar or the shop's age, whatever customers do: not drawn. A test holds it
equal to what the checks of `clv` pass over; rooms do not import one another."""

_FARTHEST = 1.0
"""Larger indices are drawn at the edge: they say no more than that everything is different."""

_MOST_ROWS = 22
_LONGEST_NAME = 2.6


@in_house_style
def drift(indices: pd.DataFrame, *, as_of: date, horizon_days: int) -> Plot:
    """Draw the population stability index of features and predictions, the largest on top.

    Args:
        indices: `quantity, is_prediction, reference` ("training" or "previous"), `reference_date,
            stability_index, chance_95`, a row per quantity and reference.
        as_of: The date of the run.
        horizon_days: Of the predictions.
    """
    source = f"Source: clv.drift as of {day(as_of)}, predictions over "
    source += f"{counted(horizon_days, 'day')}."
    known = np.isfinite(pd.to_numeric(indices["stability_index"]).astype(float))
    frame = indices[known & ~indices["quantity"].isin(CLOCKS)]
    if frame.empty:
        return words(
            "There is nothing earlier to compare today's customers with yet",
            ["Drift is shown as soon as there is an earlier date with features or predictions."],
            source,
        )
    table = frame.pivot_table(index="quantity", columns="reference", values="stability_index")
    chance = frame.groupby("quantity")["chance_95"].max()
    predictions = set(frame.loc[frame["is_prediction"].astype(bool), "quantity"])
    table = table.loc[table.max(axis=1).sort_values(ascending=False, kind="stable").index]
    shown = _with_predictions(table, predictions)
    changed = _changed(frame)
    left_out = len(table) - len(shown)
    sheet = page(
        _title(table, changed),
        f"Population stability index of {counted(len(table), 'distribution')} on {day(as_of)}"
        f"{_references(frame)}. Bold: predictions, the others are features",
        f"{source} Below {_LITTLE} little has changed, from {_MUCH} much has. Light bars: what 19 "
        "of 20 samples of this size stay below where nothing has changed. Triangles: beyond the "
        "scale. Left out: what moves with the calendar."
        + (f" Not drawn: {counted(left_out, 'smaller one')}." if left_out else ""),
        height=2.5 + 0.25 * max(3, len(shown)),
    )
    names = [
        shortened(feature_in_words(str(name)), _LONGEST_NAME, 9.5, weight="bold")
        for name in shown.index
    ]
    axes = sheet.panels(left=room_for(names, weight="bold"), right=0.9, below=0.35, above=0.35)[0]
    _draw(axes, shown, chance, names, predictions)
    return Plot(
        sheet.figure,
        {
            "quantities": len(table),
            "changed_much": len(changed),
            "largest": str(table.index[0]),
            "largest_index": float(table.max(axis=1).iloc[0]),
        },
        rows=len(frame),
    )


def _with_predictions(table: pd.DataFrame, predictions: set[str]) -> pd.DataFrame:
    """Return the largest rows, and the predictions wherever they stand."""
    room = max(0, _MOST_ROWS - len(predictions))
    others = [name for name in table.index if name not in predictions][:room]
    return table.loc[[name for name in table.index if name in predictions or name in others]]


def _index(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _changed(frame: pd.DataFrame) -> pd.Series:
    """Return the indices of what has changed much, and more than chance does, the largest first."""
    index = frame["stability_index"].astype(float)
    by_chance = frame["chance_95"].astype(float).fillna(0.0)
    changed = frame.assign(stability_index=index)[index >= np.maximum(_MUCH, by_chance)]
    return changed.groupby("quantity")["stability_index"].max().sort_values(ascending=False)


def _title(table: pd.DataFrame, changed: pd.Series) -> str:
    indices = table.max(axis=1) if changed.empty else changed
    largest = feature_in_words(str(indices.index[0]))
    index = _index(float(indices.iloc[0]))
    if changed.empty:
        beyond = " beyond chance" if indices.iloc[0] >= _MUCH else ""
        return f"No distribution has changed much{beyond}; “{largest}” moved most, by {index}"
    have = "has" if len(changed) == 1 else "have"
    counts = f"{len(changed)} of {counted(len(table), 'distribution')}"
    return f"{counts} {have} changed much, “{largest}” most: {index}"


def _references(frame: pd.DataFrame) -> str:
    named = {
        "training": "the past cut-offs that the model learned from (blue)",
        "previous": "the as-of date before (orange)",
    }
    found = [
        f"{text} until {day(pd.Timestamp(rows['reference_date'].max()))}"
        for reference, text in named.items()
        if len(rows := frame[frame["reference"] == reference])
    ]
    return " against " + " and ".join(found) if found else ""


def _draw(
    axes: Axes, shown: pd.DataFrame, chance: pd.Series, names: list[str], predictions: set[str]
) -> None:
    rows, largest = np.arange(len(shown)), shown.max(axis=1)
    end = min(max(float(largest.max()), float(chance.max()), _MUCH), _FARTHEST)
    by_chance = chance.reindex(shown.index).fillna(0.0).clip(upper=end)
    axes.barh(rows, by_chance, height=0.7, color=NEUTRAL, alpha=0.6)
    for reference, colour, size in (("previous", ACCENT, 34), ("training", MAIN, 46)):
        if reference in shown:
            values = shown[reference].to_numpy(float)
            axes.scatter(
                np.where(values <= end, values, np.nan), rows, s=size, color=colour, zorder=3
            )
            beyond = np.flatnonzero(values > end)
            if len(beyond):
                edge = np.full(len(beyond), end)
                axes.scatter(edge, beyond, marker=">", s=size, color=colour, zorder=3)
    for row, value in enumerate(largest):
        axes.text(
            1.015,
            row,
            _index(float(value)),
            transform=axes.get_yaxis_transform(),
            va="center",
            size=9,
        )
    for limit, name in ((_LITTLE, "little"), (_MUCH, "much")):
        axes.axvline(limit, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        if limit > 0.02 * end:
            axes.text(limit, -0.75, name, ha="center", va="bottom", size=8.5, color=QUIET_INK)
    axes.set_yticks(rows, names)
    for label, name in zip(axes.get_yticklabels(), shown.index, strict=True):
        label.set(color=INK, weight="bold" if name in predictions else "normal")
    axes.set_ylim(len(shown) - 0.4, -0.7)
    axes.set_xlim(0, 1.03 * end)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    if "previous" in shown and "training" in shown:
        _name_the_references(axes, shown)


def _are_apart(axes: Axes, first: pd.Series) -> bool:
    end = axes.get_xlim()[1]
    return bool(0.3 * end < first["training"] - first["previous"] and first["training"] < end)


def _name_the_references(axes: Axes, shown: pd.DataFrame) -> None:
    """Write beside the first row's dots what they are, where they are far enough apart."""
    first = shown.iloc[0]
    for reference, ink in (("training", MAIN), ("previous", ACCENT_INK)):
        if not np.isfinite(first[reference]) or not _are_apart(axes, first):
            continue
        axes.annotate(
            reference,
            (first[reference], 0),
            xytext=(-7 if reference == "training" else 7, 0),
            textcoords="offset points",
            ha="right" if reference == "training" else "left",
            va="center",
            size=8.5,
            color=ink,
            weight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )
