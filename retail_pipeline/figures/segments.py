"""The customers in groups: segments by size and value, how they move, and the RFM scores as a map.

Pure: frames in, figures out; no reading, no Dagster.
"""

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from retail_pipeline.figures.page import (
    page,
    room_for,
    shortened,
    size_of,
    words,
)
from retail_pipeline.figures.style import (
    ACCENT,
    INK,
    MAIN,
    QUIET_INK,
    SEQUENCE,
    Plot,
    count,
    counted,
    day,
    in_house_style,
    money,
    readable,
    share,
    unit,
)

_LONGEST_NAME = 2.3
"""Inches: a longer name of a segment is cut, so that the bars keep their room."""

_SCORES = range(1, 6)


@in_house_style
def segments(
    table: pd.DataFrame, *, currency: str, as_of: date, horizon_days: int, model_name: str
) -> Plot:
    """Draw each segment's number of customers and predicted value.

    Args:
        table: `segment, customers, predicted_value`, a row per segment; missing numbers are zero.
        currency: ISO code of the amounts, or empty.
        as_of: The prediction's date.
        horizon_days: Days ahead whose value is predicted.
        model_name: The model that was served.
    """
    source = (
        f"Source: clv.segments as of {day(as_of)}, predicted by "
        f"{readable(model_name)}.{unit(currency)}"
    )
    if table.empty:
        return words("There are no segments yet", ["No customer was predicted."], source)
    frame = _segments_by_value(table)
    top = frame.iloc[0].copy()
    sheet = page(
        _segments_title(frame, currency, horizon_days),
        f"Customers and their predicted net revenue over the {counted(horizon_days, 'day')} from "
        f"{day(as_of)}: {_customers(frame['customers'])}, "
        f"{money(frame['predicted_value'].sum(), currency)}",
        source,
        height=2.1 + 0.33 * max(2, len(frame)),
    )
    frame["segment"] = [shortened(name, _LONGEST_NAME, 9.5) for name in frame["segment"]]
    left, right, last = sheet.panels(
        1,
        3,
        sharey=True,
        widths=[5, 5, 1.4],
        left=room_for(frame["segment"]),
        below=0.05,
        gap=0.15,
    )
    _segment_bars(left, frame, "customers", ACCENT, count, "Customers")
    _segment_bars(
        right, frame, "predicted_value", MAIN, lambda v: money(v, currency), "Predicted value"
    )
    _per_customer(last, frame, currency)
    return Plot(
        sheet.figure,
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
def segment_movement(
    changes: pd.DataFrame, *, order: Sequence[str], as_of: date, horizon_days: int
) -> Plot:
    """Draw where the customers of each segment are now: a row per segment before, in shares.

    Args:
        changes: `label_before, label_after, customers, since_date`, a row per pair of segments,
            those who stayed included; customers of both dates only.
        order: The segments, the most valuable first; others follow by name.
        as_of: The later date.
        horizon_days: Of the predictions that the segments stand on.
    """
    source = (
        f"Source: clv.segment_changes as of {day(as_of)}, predictions over "
        f"{counted(horizon_days, 'day')}. Customers of both dates; new ones are in no row."
    )
    frame = changes[pd.to_numeric(changes["customers"]).fillna(0) > 0]
    if frame.empty:
        return words(
            "There is no earlier month to compare the segments with yet",
            [
                "Movement is shown as soon as customers have a segment at the first of a month "
                f"before {day(as_of)}."
            ],
            source,
        )
    since = day(pd.Timestamp(frame["since_date"].max()))
    moves = _moves(frame, order)
    shares = moves.div(moves.sum(axis=1).replace(0, np.nan), axis=0)
    stayed = float(np.trace(moves.to_numpy()) / moves.to_numpy().sum())
    sheet = page(
        _movement_title(moves, stayed, since),
        f"Share of a segment's customers of {since} by their segment as of {day(as_of)}: "
        f"{_customers(moves.sum(axis=1))}, frames mark those who stayed",
        source,
        height=2.4 + 0.36 * len(moves),
    )
    _draw_moves(sheet.panels, moves, shares)
    return Plot(
        sheet.figure,
        {
            "since_date": pd.Timestamp(frame["since_date"].max()).date().isoformat(),
            "segments": len(moves),
            "customers": int(moves.to_numpy().sum()),
            "share_that_stayed": stayed,
        },
        rows=len(frame),
    )


@in_house_style
def rfm_map(cells: pd.DataFrame, *, currency: str, as_of: date) -> Plot:
    """Draw customers and past net revenue by recency and frequency score, with the segments' names.

    Args:
        cells: `r_score, f_score` (1 to 5, 5 the best), `rfm_segment, customers, monetary,
            recency_min, recency_max, frequency_min, frequency_max`, a row per pair of scores that
            has customers.
        currency: ISO code of the amounts, or empty.
        as_of: The day before which data count.
    """
    source = (
        f"Source: warehouse.customer_rfm as of {day(as_of)}. Scores are fifths by rank; customers "
        f"with equal values have equal scores, so some scores can be empty.{unit(currency)}"
    )
    if cells.empty:
        return words("There is no customer to score yet", ["Nobody has bought anything."], source)
    frame = cells.assign(
        monetary=pd.to_numeric(cells["monetary"]).fillna(0.0).astype(float),
        rfm_segment=cells["rfm_segment"].fillna("(none)").astype(str),
    )
    customers, total = float(frame["customers"].sum()), float(frame["monetary"].sum())
    sheet = page(
        _rfm_title(frame, customers, currency),
        f"{counted(customers, 'customer')} by how recently and how often they bought. Colour: "
        f"share of past net revenue, {money(total, currency)} in all",
        source,
        height=6.4,
    )
    rows = [_range(frame, "f_score", s, "frequency", "purchase") for s in _SCORES]
    axes = sheet.panels(left=room_for(rows) + 0.02, below=0.55, above=0.3)[0]
    _draw_cells(axes, frame, total, currency)
    axes.set_yticks(np.arange(5) + 0.5, rows)
    axes.set_xticks(
        np.arange(5) + 0.5,
        [_range(frame, "r_score", s, "recency", "day") for s in _SCORES],
    )
    axes.set_title("Purchases", size=9.5, weight="normal", color=QUIET_INK)
    axes.set_xlabel("Days since the last purchase")
    return Plot(
        sheet.figure,
        {
            "customers": int(customers),
            "net_revenue": total,
            "segments": int(frame["rfm_segment"].nunique()),
        },
        rows=len(frame),
    )


def _segments_by_value(table: pd.DataFrame) -> pd.DataFrame:
    frame = table[["segment", "customers", "predicted_value"]].copy()
    frame["segment"] = frame["segment"].fillna("(none)").astype(str)
    for column in ("customers", "predicted_value"):
        frame[column] = pd.to_numeric(frame[column]).fillna(0.0).astype(float)
        total = frame[column].sum()
        frame[f"{column}_share"] = frame[column] / total if total else 0.0
    return frame.sort_values(
        ["predicted_value", "customers", "segment"], ascending=[False, False, True]
    ).reset_index(drop=True)


def _segments_title(frame: pd.DataFrame, currency: str, horizon_days: int) -> str:
    top = frame.iloc[0]
    if len(frame) == 1:
        alone = round(top["customers"]) == 1
        all_of_them = (
            "The only customer is" if alone else f"All {_customers(frame['customers'])} are"
        )
        return (
            f"{all_of_them} in one segment, worth "
            f"{money(top['predicted_value'], currency)} over {counted(horizon_days, 'day')}"
        )
    return (
        f"“{top['segment']}” holds {share(top['customers_share'])} of the customers and "
        f"{share(top['predicted_value_share'])} of the predicted value"
    )


def _segment_bars(
    axes: Axes,
    frame: pd.DataFrame,
    column: str,
    colour: str,
    write: Callable[[float], str],
    title: str,
) -> None:
    rows = np.arange(len(frame))
    bars = axes.barh(rows, frame[column], height=0.68, color=colour)
    labels = [
        f"{write(value)}  {share(part)}"
        for value, part in zip(frame[column], frame[f"{column}_share"], strict=True)
    ]
    axes.bar_label(bars, labels, padding=4, size=9.5, color=INK)
    axes.set_yticks(rows, frame["segment"])
    axes.set_ylim(len(frame) - 0.5, -0.5)
    axes.set_title(title)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    lowest, highest = min(0.0, frame[column].min()), max(0.0, frame[column].max())
    axes.set_xlim(lowest, lowest + ((highest - lowest) or 1.0) * 1.45)


def _per_customer(axes: Axes, frame: pd.DataFrame, currency: str) -> None:
    mean = frame["predicted_value"] / frame["customers"].replace(0, np.nan)
    for row, value in enumerate(mean):
        axes.text(1.0, row, money(value, currency), ha="right", va="center", size=9.5)
    axes.set_title("Per customer", loc="right")
    axes.set_xlim(0, 1)
    axes.set_axis_off()


def _customers(sizes: pd.Series) -> str:
    return counted(float(sizes.sum()), "customer")


def _moves(changes: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Return customers by segment before (rows) and after (columns), both in the same order."""
    frame = changes.assign(
        before=changes["label_before"].fillna("(none)").astype(str),
        after=changes["label_after"].fillna("(none)").astype(str),
        customers=pd.to_numeric(changes["customers"]).astype(float),
    )
    named = set(frame["before"]) | set(frame["after"])
    labels = [name for name in order if name in named]
    labels += sorted(named - set(labels))
    table = frame.pivot_table(index="before", columns="after", values="customers", aggfunc="sum")
    return table.reindex(index=labels, columns=labels).fillna(0.0)


def _movement_title(moves: pd.DataFrame, stayed: float, since: str) -> str:
    title = f"{share(stayed)} of customers are in the same segment as on {since}"
    away = moves.to_numpy().copy()
    np.fill_diagonal(away, 0.0)
    if away.sum() == 0:
        return title
    row, column = divmod(int(away.argmax()), away.shape[1])
    return (
        f"{title}; the largest move, {count(away.max())}, is from “{moves.index[row]}” to "
        f"“{moves.columns[column]}”"
    )


def _draw_moves(
    panels: Callable[..., list[Axes]], moves: pd.DataFrame, shares: pd.DataFrame
) -> None:
    import seaborn as sns

    names = [shortened(name, _LONGEST_NAME, 9.5) for name in moves.index]
    rows = [
        f"{name}  {count(size)}   {number}"
        for number, (name, size) in enumerate(zip(names, moves.sum(axis=1), strict=True), start=1)
    ]
    axes = panels(left=room_for(rows), below=0.55, above=0.3)[0]
    values = shares.fillna(0.0).to_numpy(float)
    sns.heatmap(
        values,
        ax=axes,
        cmap=SEQUENCE,
        vmin=0,
        vmax=1,
        cbar=False,
        xticklabels=False,
        yticklabels=False,
        linewidths=1.2,
        linecolor="white",
        annot=np.vectorize(lambda part: share(part) if part > 0 else "")(values),
        fmt="",
        annot_kws={"size": 8.5},
    )
    for place in range(len(moves)):
        axes.add_patch(
            Rectangle((place + 0.03, place + 0.05), 0.94, 0.9, fill=False, edgecolor=INK, lw=1.1)
        )
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    axes.set_xticks(
        np.arange(len(rows)) + 0.5, [str(number + 1) for number in range(len(rows))], rotation=0
    )
    axes.set_xlabel("Segment now, by its number")
    axes.set_title("Segment before, and its customers", size=9.5, weight="normal", color=QUIET_INK)
    axes.tick_params(length=0)
    axes.grid(visible=False)


def _rfm_title(cells: pd.DataFrame, customers: float, currency: str) -> str:
    """Tell of the best segment; beside one that returned more than it bought, shares mislead."""
    by_name = cells.groupby("rfm_segment")[["customers", "monetary"]].sum()
    best = by_name.sort_values("monetary", ascending=False).iloc[0]
    title = f"“{best.name}” are {share(best['customers'] / customers)} of the customers"
    if best["monetary"] <= 0:
        return title
    if (by_name["monetary"] < 0).any():
        return f"{title} and brought {money(best['monetary'], currency)} of net revenue"
    part = best["monetary"] / by_name["monetary"].sum()
    return f"{title} and brought {share(part)} of the net revenue"


def _range(cells: pd.DataFrame, score: str, value: int, column: str, noun: str) -> str:
    """Return what a score stands for: `31 to 58 days`."""
    chosen = cells[cells[score] == value]
    if chosen.empty:
        return "(nobody)"
    low, high = int(chosen[f"{column}_min"].min()), int(chosen[f"{column}_max"].max())
    return counted(high, noun) if low == high else f"{count(low)} to {counted(high, noun)}"


def _draw_cells(axes: Axes, cells: pd.DataFrame, total: float, currency: str) -> None:
    parts = cells["monetary"].clip(lower=0.0) / total if total > 0 else cells["monetary"] * 0.0
    ceiling = max(float(parts.max()), 1e-9)
    names = {
        (int(r), int(f)): name
        for r, f, name in zip(cells["r_score"], cells["f_score"], cells["rfm_segment"], strict=True)
    }
    in_order = cells.assign(part=parts).sort_values(["f_score", "r_score"], ascending=[False, True])
    for cell in in_order.to_dict("records"):
        x, y = int(cell["r_score"]) - 1, int(cell["f_score"]) - 1
        axes.add_patch(
            Rectangle((x, y), 1, 1, facecolor=SEQUENCE(0.1 + 0.9 * cell["part"] / ceiling))
        )
        ink = "white" if cell["part"] / ceiling > 0.62 else INK
        name = cell["rfm_segment"]
        told = name in (names.get((x, y + 1)), names.get((x + 1, y + 2)))
        _write_cell(axes, (x, y), cell, currency, ink, "" if told else name)
    _draw_borders(axes, names)
    axes.set(xlim=(-0.01, 5.01), ylim=(-0.01, 5.01))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _write_cell(
    axes: Axes, place: tuple[int, int], cell: dict, currency: str, ink: str, name: str
) -> None:
    x, y = place
    amount = money(cell["monetary"], currency)
    axes.text(x + 0.06, y + 0.4, counted(cell["customers"], "customer"), color=ink, size=8.5)
    axes.text(x + 0.06, y + 0.15, amount, color=ink, size=8.5)
    if name:
        room = size_of(axes)[0] / 5 - 0.12
        axes.text(x + 0.06, y + 0.7, shortened(name, room, 9.5), color=ink, size=9.5, weight="bold")


def _draw_borders(axes: Axes, names: dict[tuple[int, int], str]) -> None:
    """Draw a strong line between cells of different names, a fine one within a name."""
    for (r, f), name in names.items():
        for (r2, f2), line in (
            ((r + 1, f), ([r, r], [f - 1, f])),
            ((r, f + 1), ([r - 1, r], [f, f])),
        ):
            other = names.get((r2, f2))
            if other is None:
                continue
            strong = other != name
            axes.plot(*line, color="white", linewidth=5 if strong else 0.8, zorder=3)
