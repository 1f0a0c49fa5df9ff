"""The figure of drift: how far features and predictions have moved since earlier dates."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retail_pipeline.figures.colors import ACCENT, INK, MAIN, NEUTRAL, QUIET_INK
from retail_pipeline.figures.marks import Look, name_rows, write_column
from retail_pipeline.figures.queries import Context
from retail_pipeline.figures.style import Plot, in_house_style, page, plot, source_of, words
from retail_pipeline.figures.writing import counted, day, feature_in_words, shortened

_LITTLE, _MUCH = 0.1, 0.25
"""Population stability index below which little, and from which much has changed."""

CALENDAR = frozenset(
    {
        *("age_days", "days_since_registration", "month_of_year", "active_months"),
        *("net_amount_year_ago_90d", "net_amount_year_ago_180d"),
    }
)
"""Quantities that change with the calendar or the shop's age regardless of customers; not drawn.

A test keeps them equal to those that the checks of `clv` skip, as stages do not import each other.
"""

_FARTHEST = 1.0
"""Larger indices are drawn at the edge of the scale, as their exact size has no meaning."""

_MOST_ROWS = 22
_REFERENCES = {
    "training": "the training sample (blue)",
    "previous": "the as-of date before (orange)",
}


@in_house_style
def drift(indices: pd.DataFrame, context: Context) -> Plot:
    """Draw the population stability index of features and predictions, the largest on top."""
    source = source_of(context, "clv.drift")
    known = np.isfinite(pd.to_numeric(indices["stability_index"]).astype(float))
    frame = indices[known & ~indices["quantity"].isin(CALENDAR)]
    if frame.empty:
        return words(
            "There is no earlier date to compare today's customers with yet",
            "Drift is shown as soon as there is an earlier date with features or predictions.",
            source,
        )
    table = frame.pivot_table(index="quantity", columns="reference", values="stability_index")
    chance = frame.groupby("quantity")["chance_95"].max().astype(float)
    predictions = set(frame.loc[frame["is_prediction"].astype(bool), "quantity"])
    table = table.loc[table.max(axis=1).sort_values(ascending=False, kind="stable").index]
    changed = _changed(frame)
    shown = _with_predictions(table, predictions)
    left_out = len(table) - len(shown)
    figure = page(
        _title(table, changed),
        f"Population stability index of {counted(len(table), 'distribution')} on "
        f"{day(context.as_of)}{_references(frame)}. Bold: predictions over "
        f"{counted(context.horizon_days, 'day')}, the others are features",
        f"{source} Below {_LITTLE} little has changed, from {_MUCH} much has. Light bars: without "
        "any change, 19 of 20 samples of this size have a lower index. Triangles: beyond the "
        "scale. Left out: quantities that follow the calendar."
        + (f" Not drawn: {counted(left_out, 'smaller one')}." if left_out else ""),
        height=2.6 + 0.25 * max(3, len(shown)),
    )
    axes = figure.subplots()
    _draw(axes, shown, chance)
    names = [shortened(feature_in_words(str(name))) for name in shown.index]
    name_rows(axes, names, [name in predictions for name in shown.index])
    return plot(
        figure,
        len(frame),
        quantities=len(table),
        changed_much=len(changed),
        largest=str(table.index[0]),
        largest_index=float(table.max(axis=1).iloc[0]),
    )


def _with_predictions(table: pd.DataFrame, predictions: set[str]) -> pd.DataFrame:
    """Return the rows of all predictions and of the features with the largest index."""
    room = max(0, _MOST_ROWS - len(predictions))
    others = [name for name in table.index if name not in predictions][:room]
    return table.loc[[name for name in table.index if name in predictions or name in others]]


def _index(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _changed(frame: pd.DataFrame) -> pd.Series:
    """Return the indices that are large and beyond chance, the largest first."""
    index = frame["stability_index"].astype(float)
    by_chance = frame["chance_95"].astype(float).fillna(0.0)
    changed = frame.assign(stability_index=index)[index >= np.maximum(_MUCH, by_chance)]
    return changed.groupby("quantity")["stability_index"].max().sort_values(ascending=False)


def _title(table: pd.DataFrame, changed: pd.Series) -> str:
    indices = table.max(axis=1) if changed.empty else changed
    largest, index = feature_in_words(str(indices.index[0])), _index(float(indices.iloc[0]))
    if changed.empty:
        beyond = " beyond chance" if indices.iloc[0] >= _MUCH else ""
        return f"No distribution has changed much{beyond}; “{largest}” moved most, by {index}"
    have = "has" if len(changed) == 1 else "have"
    counts = f"{len(changed)} of {counted(len(table), 'distribution')}"
    return f"{counts} {have} changed much, “{largest}” most: {index}"


def _references(frame: pd.DataFrame) -> str:
    found = [
        f"{text} until {day(pd.Timestamp(rows['reference_date'].max()))}"
        for reference, text in _REFERENCES.items()
        if len(rows := frame[frame["reference"] == reference])
    ]
    return " against " + " and ".join(found) if found else ""


def _draw(axes: Axes, shown: pd.DataFrame, chance: pd.Series) -> None:
    rows, largest = np.arange(len(shown)), shown.max(axis=1)
    end = min(max(float(largest.max()), float(chance.max()), _MUCH), _FARTHEST)
    by_chance = chance.reindex(shown.index).fillna(0.0).clip(upper=end)
    axes.barh(rows, by_chance, height=0.7, color=NEUTRAL, alpha=0.6, label="chance")
    for reference, color, size in (("previous", ACCENT, 34), ("training", MAIN, 46)):
        if reference not in shown:
            continue
        values = shown[reference].to_numpy(float)
        inside, beyond = np.where(values <= end, values, np.nan), np.flatnonzero(values > end)
        look: Look = {"s": size, "color": color, "zorder": 3}
        axes.scatter(inside, rows, label=reference, **look)
        axes.scatter([end] * len(beyond), beyond, marker=">", **look)
    write_column(axes, 1.06, [_index(float(value)) for value in largest], size=9)
    for limit, name in ((_LITTLE, "little"), (_MUCH, "much")):
        axes.axvline(limit, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        if limit > 0.02 * end:
            above: Look = {"transform": axes.get_xaxis_transform(), "color": QUIET_INK}
            axes.text(limit, 1.005, name, ha="center", va="bottom", size=8.5, **above)
    axes.legend(loc="lower right", frameon=True, edgecolor="none", framealpha=0.9)
    axes.set_xlim(0, 1.03 * end)
    axes.grid(visible=True, axis="x")
