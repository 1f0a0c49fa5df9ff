"""The segments of the customers: their size and value, and the moves between them."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from retail_pipeline.figures.queries import Changes, Context
from retail_pipeline.figures.style import (
    ACCENT,
    INK,
    MAIN,
    QUIET_INK,
    Plot,
    counted,
    day,
    heat_map,
    in_house_style,
    model_in_words,
    name_rows,
    number,
    page,
    shortened,
    source_of,
    words,
)


@in_house_style
def segments(table: pd.DataFrame, context: Context) -> Plot:
    """Draw each segment's number of customers and predicted value.

    Args:
        table: `segment, customers, predicted_value`, a row per segment; missing numbers are zero.
        context: Of the run.
    """
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
    left, right, last = figure.subplots(1, 3, sharey=True, width_ratios=[5, 5, 1.2])
    name_rows(left, [shortened(name) for name in frame["segment"]])
    _draw_bars(left, frame, "customers", ACCENT, lambda value: f"{value:,.0f}")
    _draw_bars(right, frame, "predicted_value", MAIN, lambda value: number(value, currency))
    left.set_title("Customers")
    right.set_title("Predicted value")
    last.set_title("Per customer", loc="right")
    last.set_axis_off()
    means = frame["predicted_value"] / frame["customers"].replace(0, np.nan)
    for row, mean in enumerate(means):
        last.text(1.0, row, number(mean, currency), ha="right", va="center", size=9.5)
    return Plot(
        figure,
        {
            "segments": len(frame),
            "customers": int(frame["customers"].sum()),
            "predicted_value": float(frame["predicted_value"].sum()),
            "top_segment": str(top["segment"]),
            "top_segment_share_of_value": float(top["predicted_value_share"]),
            "top_segment_share_of_customers": float(top["customers_share"]),
        },
        rows=len(frame),
    )


@in_house_style
def segment_movement(changes: Changes, context: Context) -> Plot:
    """Draw the segments of now by the segment before: a row per segment before, in shares.

    Args:
        changes: The moves; segments without a place in the order follow by name.
        context: Of the run.
    """
    source = source_of(context, "clv.segment_changes") + (
        f" Predictions over {counted(context.horizon_days, 'day')}. Customers of both dates; new "
        "ones are in no row."
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
    moves = _moves(frame, changes.order)
    stayed = float(np.trace(moves.to_numpy()) / moves.to_numpy().sum())
    figure = page(
        _movement_title(moves, stayed, day(since)),
        f"Share of a segment's customers of {day(since)} by their segment as of "
        f"{day(context.as_of)}: {counted(moves.to_numpy().sum(), 'customer')}, frames mark those "
        "who stayed",
        source,
        height=2.5 + 0.36 * len(moves),
    )
    _draw_moves(figure.subplots(), moves)
    return Plot(
        figure,
        {
            "since_date": since.date().isoformat(),
            "segments": len(moves),
            "customers": int(moves.to_numpy().sum()),
            "share_that_stayed": stayed,
        },
        rows=len(frame),
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
    axes: Axes, frame: pd.DataFrame, column: str, color: str, write: Callable[[float], str]
) -> None:
    bars = axes.barh(range(len(frame)), frame[column], height=0.68, color=color)
    texts = [
        f"{write(value)}  {number(part, '%')}"
        for value, part in zip(frame[column], frame[f"{column}_share"], strict=True)
    ]
    axes.bar_label(bars, texts, padding=4, size=9.5, color=INK)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    lowest, highest = min(0.0, frame[column].min()), max(0.0, frame[column].max())
    axes.set_xlim(lowest, lowest + ((highest - lowest) or 1.0) * 1.45)


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
    sizes = moves.sum(axis=1)
    shares = moves.div(sizes.replace(0, np.nan), axis=0).fillna(0.0).to_numpy(float)
    heat_map(axes, shares, 1.0, lambda part: number(part, "%") if part > 0 else "")
    for place in range(len(moves)):
        frame = Rectangle((place + 0.03, place + 0.05), 0.94, 0.9)
        frame.set(fill=False, edgecolor=INK, linewidth=1.1)
        axes.add_patch(frame)
    rows = [
        f"{shortened(str(name))}  {size:,.0f}   {place}"
        for place, (name, size) in enumerate(sizes.items(), start=1)
    ]
    middles = np.arange(len(rows)) + 0.5
    axes.set_yticks(middles, rows)
    axes.set_xticks(middles, [str(place) for place in range(1, len(rows) + 1)])
    axes.set_xlabel("Segment now, by its number")
    axes.set_title("Segment before, and its customers", size=9.5, weight="normal", color=QUIET_INK)
