"""Figures of the customer segments: their size and value, and the moves between them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import Patch
from matplotlib.path import Path

from retail_pipeline.figures.colors import ACCENT, INK, MAIN, NEUTRAL
from retail_pipeline.figures.marks import Look, hide_scale, label, name_rows, write_column
from retail_pipeline.figures.queries import Changes, Context
from retail_pipeline.figures.style import Plot, in_house_style, page, plot, source_of, words
from retail_pipeline.figures.writing import counted, day, model_in_words, number, shortened

_MOVES = (
    (NEUTRAL, "stayed"),
    (ACCENT, "to a less valuable segment"),
    (MAIN, "to a more valuable one"),
)
"""Color and label by direction of a move in the order of segments: 0, 1 (down) or -1 (up)."""

_BAND = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]


@in_house_style
def segments(table: pd.DataFrame, context: Context) -> Plot:
    """Draw each segment's number of customers and predicted value; null counts as zero."""
    model = model_in_words(context.served_model)
    source = f"{source_of(context, 'clv.segments', money=True)} Predicted by {model}."
    if table.empty:
        return words("There are no segments yet", "No customer was predicted.", source)
    frame = _by_value(table)
    top, currency = frame.iloc[0], context.currency
    figure = page(
        _segments_title(frame, context),
        "Customers and their predicted net revenue over the "
        f"{counted(context.horizon_days, 'day')} from {day(context.as_of)}: "
        f"{counted(frame['customers'].sum(), 'customer')}, "
        f"{number(frame['predicted_value'].sum(), currency)}",
        source,
        height=2.1 + 0.33 * max(2, len(frame)),
    )
    left, right = figure.subplots(1, 2, sharey=True)
    name_rows(left, [shortened(name) for name in frame["segment"]])
    people = [f"{value:,.0f}" for value in frame["customers"]]
    _draw_bars(left, frame, "customers", ACCENT, people)
    values = [number(value, currency) for value in frame["predicted_value"]]
    _draw_bars(right, frame, "predicted_value", MAIN, values)
    left.set_title("Customers")
    right.set_title("Predicted value")
    means = frame["predicted_value"] / frame["customers"].replace(0, np.nan)
    write_column(right, 1.27, [number(mean, currency) for mean in means], "Per customer")
    return plot(
        figure,
        len(frame),
        segments=len(frame),
        customers=int(frame["customers"].sum()),
        predicted_value=float(frame["predicted_value"].sum()),
        top_segment=str(top["segment"]),
        top_segment_share_of_value=float(top["predicted_value_share"]),
        top_segment_share_of_customers=float(top["customers_share"]),
    )


@in_house_style
def segment_movement(changes: Changes, context: Context) -> Plot:
    """Draw the moves of customers between segments since the previous month start as bands.

    Segments without a place in the order come last, by name.
    """
    source = source_of(context, "clv.segment_changes") + (
        f" Predictions over {counted(context.horizon_days, 'day')}. Customers who are new since "
        "the earlier date are left out."
    )
    frame = changes.frame
    frame = frame[pd.to_numeric(frame["customers"]).fillna(0) > 0]
    if frame.empty:
        return words(
            "There is no earlier month to compare the segments with yet",
            "Movement is shown as soon as customers have a segment at a month start before "
            f"{day(context.as_of)}.",
            source,
        )
    since = pd.Timestamp(frame["since_date"].max())
    if not {*frame["label_before"], *frame["label_after"]} <= {*changes.order}:
        source += " At the bottom: segments that are empty now."
    moves = _moves(frame, changes.order)
    stayed = float(np.trace(moves.to_numpy()) / moves.to_numpy().sum())
    figure = page(
        _movement_title(moves, stayed, day(since)),
        f"{counted(moves.to_numpy().sum(), 'customer')} by their segment on {day(since)} (left) "
        f"and on {day(context.as_of)} (right), the most valuable on top; thicker bands are more "
        "customers",
        source,
        height=2.7 + 0.45 * len(moves),
    )
    _draw_moves(figure.subplots(), moves)
    return plot(
        figure,
        len(frame),
        since_date=since.date().isoformat(),
        segments=len(moves),
        customers=int(moves.to_numpy().sum()),
        share_that_stayed=stayed,
    )


def _by_value(table: pd.DataFrame) -> pd.DataFrame:
    frame = table[["segment", "customers", "predicted_value"]].copy()
    frame["segment"] = frame["segment"].fillna("(none)").astype(str)
    for column in ("customers", "predicted_value"):
        frame[column] = pd.to_numeric(frame[column]).fillna(0.0).astype(float)
        total = frame[column].sum()
        frame[f"{column}_share"] = frame[column] / total if total else 0.0
    order = ["predicted_value", "customers", "segment"]
    return frame.sort_values(order, ascending=[False, False, True]).reset_index(drop=True)


def _segments_title(frame: pd.DataFrame, context: Context) -> str:
    top = frame.iloc[0]
    if len(frame) > 1:
        return (
            f"“{top['segment']}” holds {number(top['customers_share'], '%')} of the customers and "
            f"{number(top['predicted_value_share'], '%')} of the predicted value"
        )
    customers = round(top["customers"])
    who = "The only customer is" if customers == 1 else f"All {counted(customers, 'customer')} are"
    value = number(top["predicted_value"], context.currency)
    return f"{who} in one segment of {value} over {counted(context.horizon_days, 'day')}"


def _draw_bars(
    axes: Axes, frame: pd.DataFrame, column: str, color: str, texts: Sequence[str]
) -> None:
    bars = axes.barh(range(len(frame)), frame[column], height=0.68, color=color)
    shares = [number(part, "%") for part in frame[f"{column}_share"]]
    words = [f"{text}  {part}" for text, part in zip(texts, shares, strict=True)]
    axes.bar_label(bars, words, padding=4, size=9.5, color=INK)
    hide_scale(axes)
    axes.grid(visible=False)
    lowest, highest = min(0.0, frame[column].min()), max(0.0, frame[column].max())
    axes.set_xlim(lowest, lowest + ((highest - lowest) or 1.0) * 1.6)


def _moves(changes: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Return customers by segment before (rows) and after (columns), both in the same order."""
    frame = changes.assign(
        before=changes["label_before"].fillna("(none)").astype(str),
        after=changes["label_after"].fillna("(none)").astype(str),
        customers=pd.to_numeric(changes["customers"]).astype(float),
    )
    named = set(frame["before"]) | set(frame["after"])
    names = [name for name in order if name in named]
    names += sorted(named - set(names))
    table = frame.pivot_table(index="before", columns="after", values="customers", aggfunc="sum")
    return table.reindex(index=names, columns=names).fillna(0.0)


def _movement_title(moves: pd.DataFrame, stayed: float, since: str) -> str:
    title = f"{number(stayed, '%')} of customers are in the same segment as on {since}"
    away = moves.to_numpy().copy()
    np.fill_diagonal(away, 0.0)
    if away.sum() == 0:
        return title
    row, column = divmod(int(away.argmax()), away.shape[1])
    return (
        f"{title}; the largest move, {away.max():,.0f}, is from “{moves.index[row]}” to "
        f"“{moves.columns[column]}”"
    )


def _draw_moves(axes: Axes, moves: pd.DataFrame) -> None:
    """Draw the segments of both dates as stacks; half of the height is gaps, for the names."""
    sizes = moves.sum(axis=1).to_numpy(), moves.sum(axis=0).to_numpy()
    gap = sizes[0].sum() / len(moves)
    tops = [np.append(0.0, np.cumsum(column + gap)[:-1]) for column in sizes]
    for x, column, top, side in zip((-0.01, 1.01), sizes, tops, ("left", "right"), strict=True):
        axes.bar(x, column, width=0.02, bottom=top, color=INK)
        for name, size, start in zip(moves.index, column, top, strict=True):
            text = f"{shortened(str(name))}  {size:,.0f}"
            label(axes, text, (x, start + size / 2), side, size=9.5)
    _draw_bands(axes, moves, [top.copy() for top in tops])
    lowest = max(top[-1] + column[-1] for top, column in zip(tops, sizes, strict=True))
    axes.set(xlim=(-0.02, 1.02), ylim=(lowest + 0.6 * gap, -0.3 * gap))
    below: Look = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.02), "ncols": len(_MOVES)}
    axes.legend(handles=[Patch(color=color, label=name) for color, name in _MOVES], **below)
    axes.set_axis_off()


def _draw_bands(axes: Axes, moves: pd.DataFrame, free: list[np.ndarray]) -> None:
    """Draw one band per move, at the next free place of both stacks; bands of moves lie on top."""
    bands = []
    for (before, after), customers in np.ndenumerate(moves.to_numpy()):
        if not customers:
            continue
        start, end = free[0][before], free[1][after]
        free[0][before] += customers
        free[1][after] += customers
        edge = [(0.0, start), (0.5, start), (0.5, end), (1.0, end)]
        back = [(x, y + customers) for x, y in reversed(edge)]
        color = _MOVES[int(np.sign(after - before))][0]
        bands.append((before != after, Path(np.array([*edge, *back, edge[0]]), _BAND), color))
    bands.sort(key=lambda band: band[0])
    paths, colors = [path for _, path, _ in bands], [color for *_, color in bands]
    axes.add_collection(PathCollection(paths, facecolors=colors, alpha=0.85, linewidth=0))
