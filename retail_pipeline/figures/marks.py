"""Marks that several figures draw: labels, rows and columns, heat maps, cumulative shares."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from numpy.typing import NDArray

from retail_pipeline.figures.colors import INK, MAIN, QUIET_INK, SEQUENCE, ink_on
from retail_pipeline.figures.writing import number

Look = dict[str, Any]
"""Properties of a matplotlib artist."""

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Cumulative shares of customers and of value, from 0 to 1."""

EVEN: Look = {"color": QUIET_INK, "linewidth": 1.2, "linestyle": ":"}
"""Style of a reference line, such as the diagonal of equal customers."""

_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
_SIDES: Mapping[str, tuple[tuple[int, int], str, str]] = {
    "right": ((6, 0), "left", "center"),
    "left": ((-6, 0), "right", "center"),
    "above": ((0, 4), "center", "bottom"),
    "below": ((0, -4), "center", "top"),
    "below right": ((7, -4), "left", "top"),
    "below left": ((-7, -4), "right", "top"),
    "above left": ((-5, 4), "right", "bottom"),
    "above right": ((5, 4), "left", "bottom"),
}
"""Distance in points from a mark, horizontal and vertical alignment."""


def label(axes: Axes, text: str, at: tuple[Any, Any], side: str = "right", **style: Any) -> None:
    """Write a text on white beside a mark, such as `right`, `above` or `below right` of it."""
    offset, horizontal, vertical = _SIDES[side]
    style = {"ha": horizontal, "va": vertical, "size": 9, "bbox": _PAPER, **style}
    axes.annotate(text, at, xytext=offset, textcoords="offset points", **style)


def number_axis(axis: Axis, unit: str = "", *, signed: bool = False) -> None:
    """Format the ticks of an axis with `number`."""
    axis.set_major_formatter(lambda value, _: number(round(value, 9), unit, signed=signed))


def legend_above(axes: Axes, columns: int = 2) -> None:
    """Put the legend above the axes, at their right end."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=columns, borderaxespad=0.2)


def name_rows(axes: Axes, names: Sequence[str], bold: Sequence[bool] = ()) -> None:
    """Label the rows of a chart from top to bottom; they are at 0, 1, 2 … of its y-axis."""
    axes.set_yticks(range(len(names)), names)
    for tick, is_bold in zip(axes.get_yticklabels(), bold or [False] * len(names), strict=True):
        tick.set(color=INK, weight="bold" if is_bold else "normal")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def hide_scale(axes: Axes) -> None:
    """Hide the x-axis of a chart whose marks have their numbers beside them."""
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def write_column(
    axes: Axes, right: float, texts: Iterable[str], title: str = "", **style: Any
) -> None:
    """Write a column of texts, one per row from the top down, with a small title above.

    The column ends at `right`, a fraction of the axes' width.
    """
    style = {"ha": "right", "va": "center", "size": 9.5, **style}
    for row, text in enumerate(texts):
        axes.text(right, row, text, transform=axes.get_yaxis_transform(), **style)
    style |= {"va": "bottom", "size": 8.5, "color": QUIET_INK, "weight": "normal"}
    axes.text(right, 1.02, title, transform=axes.transAxes, **style)


def draw_bars(axes: Axes, left: Any, widths: Any, heights: Any, **style: Any) -> None:
    """Draw vertical bars from zero as one artist, because there can be hundreds.

    A property of the style has one value, or one per bar.
    """
    x0, y1 = np.asarray(left, float), np.asarray(heights, float)
    x1, y0 = x0 + np.asarray(widths, float), np.zeros(len(y1))
    corners = np.array([[x0, y0], [x0, y1], [x1, y1], [x1, y0]])
    bars = PolyCollection(list(corners.transpose(2, 0, 1)), **{"linewidth": 0, **style})
    bars.sticky_edges.y.append(0.0)
    axes.add_collection(bars)
    axes.autoscale_view()


def heat_map(
    axes: Axes, values: NDArray[np.float64], ceiling: float, write: Callable[[float], str] | None
) -> Any:
    """Draw cells from the top row down; return the mesh for a color scale.

    Args:
        axes: Axes to draw on.
        values: Values from 0 up; missing ones stay white.
        ceiling: The value of the darkest color.
        write: Function that returns the text of a cell; with None, cells have no text.
    """
    import seaborn as sns

    # Lines between hundreds of cells would cover them.
    lines: dict[str, Any] = {"linewidths": 0.8 if write else 0.0, "linecolor": "white"}
    no_ticks = {"cbar": False, "xticklabels": False, "yticklabels": False}
    sns.heatmap(values, ax=axes, cmap=SEQUENCE, vmin=0, vmax=ceiling, **no_ticks, **lines)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for (row, column), value in np.ndenumerate(values):
        if write and np.isfinite(value):
            # seaborn's own text color falls below a contrast of 4.5 in the middle of the scale.
            ink = ink_on(SEQUENCE(min(value / ceiling, 1.0)))
            place: Look = {"ha": "center", "va": "center", "size": 8, "in_layout": False}
            axes.text(column + 0.5, row + 0.5, write(float(value)), color=ink, **place)
    return axes.collections[-1]


def color_scale(mesh: Any, axes: Axes | Sequence[Axes], ends: Sequence[str]) -> None:
    """Draw the color scale of a heat map, with the labels `ends` at equal distances from 0 up."""
    first = axes if isinstance(axes, Axes) else axes[0]
    scale = first.figure.colorbar(mesh, ax=axes, aspect=30, pad=0.01)
    scale.set_ticks(list(np.linspace(0, mesh.get_clim()[1], len(ends))), labels=list(ends))
    scale.outline.set_visible(False)
    if scale.solids is not None:
        scale.solids.set(edgecolor="face", linewidth=0)


def draw_shares(axes: Axes, curves: Sequence[tuple[Curve, str, Look]]) -> None:
    """Draw cumulative shares of value, with the share of the top 20 % in the legend.

    Args:
        axes: Axes to draw on.
        curves: Points, name and line properties of each curve; solid ones are marked at 20 %.
    """
    axes.axvline(0.2, color=INK, linewidth=0.8, zorder=1.5)
    for curve, name, style in curves:
        share = float(np.interp(0.2, *curve))
        look = {"color": MAIN, "linewidth": 2.4, **style}
        axes.plot(*curve, label=f"{name}: {number(share, '%')} with the top 20%", **look)
        if "linestyle" not in look:
            axes.scatter([0.2], [share], color=look["color"], s=46, zorder=4)
    axes.set(xlim=(0, 1), ylim=(0, 1.04))
    axes.legend(loc="lower right")
    for axis in (axes.xaxis, axes.yaxis):
        number_axis(axis, "%")
