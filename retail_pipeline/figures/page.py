"""The page that every figure is drawn on: its words, the room for axes, and what fits into it.

Sizes are inches and the layout is arithmetic over measured text: nothing is laid out by trial at
drawing time, which costs more than the drawing itself. Nothing here knows what a figure shows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from retail_pipeline.figures.style import (
    INK,
    QUIET_INK,
    TYPEFACE,
    Plot,
    in_house_style,
)

WIDTH = 10.0
"""Inches; every figure has the same width, so that pages of them align."""

MARGIN = 0.3
_TITLE, _SUBTITLE, _FOOTER = 14.0, 10.5, 8.5
_SMALLEST_ROOM = 0.5
_MEASURED_AT = 720
"""Dots per inch: enough that letters' widths are not rounded to whole dots."""


@dataclass(frozen=True)
class Page:
    """A figure whose words are in place, and the room between them that is left for axes.

    Attributes:
        figure: The figure, without axes so far.
        bottom: Inches from the figure's lower edge to the room.
        top: Inches from there to the room's upper edge.
    """

    figure: Figure
    bottom: float
    top: float

    def panels(
        self,
        rows: int = 1,
        columns: int = 1,
        *,
        left: float = 0.7,
        right: float = 0.1,
        below: float = 0.35,
        above: float = 0.3,
        gap: float = 0.4,
        heights: Sequence[float] | None = None,
        widths: Sequence[float] | None = None,
        sharex: bool = False,
        sharey: bool = False,
    ) -> list[Axes]:
        """Return axes in rows and columns, row by row.

        Args:
            rows: Their number.
            columns: Their number.
            left: Inches for what stands left of the axes: ticks' labels.
            right: Inches for what stands to the right.
            below: Inches for what stands below: ticks' labels, the axis' name.
            above: Inches for the panels' titles.
            gap: Inches between two panels, the lower one's title included.
            heights: The rows' relative heights.
            widths: The columns' relative widths.
            sharex: Panels in a column share their horizontal axis.
            sharey: Panels in a row share their vertical axis.
        """
        width, height = WIDTH - 2 * MARGIN - left - right, self.top - self.bottom - below - above
        width, height = max(width, _SMALLEST_ROOM), max(height, _SMALLEST_ROOM)
        x, y = MARGIN + left, self.bottom + below
        total = self.figure.get_figheight()
        axes = self.figure.subplots(
            rows,
            columns,
            squeeze=False,
            sharex="col" if sharex else False,
            sharey="row" if sharey else False,
            height_ratios=heights,
            width_ratios=widths,
            gridspec_kw={
                "left": x / WIDTH,
                "right": (x + width) / WIDTH,
                "bottom": y / total,
                "top": (y + height) / total,
                "wspace": _as_share(gap, width, columns),
                "hspace": _as_share(gap, height, rows),
            },
        )
        return list(axes.ravel())


def page(title: str, subtitle: str, footer: str, *, height: float = 5.4) -> Page:
    """Return a page with its words in place.

    Args:
        title: A sentence that says what is seen, with its number.
        subtitle: What is drawn, in which unit, over which time.
        footer: Source, as-of date and caveats.
        height: Inches.
    """
    # Without a canvas of Agg: seaborn's heatmap would draw all of it to see whether ticks touch.
    figure = Figure(figsize=(WIDTH, height))
    figure.set_label(title)
    lines = wrapped(title, _TITLE, weight="bold", balanced=True)
    below_title = _stack(figure, lines, _TITLE, height - MARGIN, weight="bold", color=INK)
    lines = wrapped(subtitle, _SUBTITLE, balanced=True)
    below_words = _stack(figure, lines, _SUBTITLE, below_title - 0.06, color=QUIET_INK)
    lines = wrapped(footer, _FOOTER)
    floor = 0.2 + _line_height(_FOOTER) * len(lines)
    _stack(figure, lines, _FOOTER, floor, color=QUIET_INK)
    return Page(figure, bottom=floor + 0.12, top=below_words - 0.1)


@in_house_style
def words(title: str, sentences: Sequence[str], footer: str) -> Plot:
    """Return a figure that says in words why there is nothing to draw."""
    figure = page(title, " ".join(sentences), footer, height=1.9).figure
    return Plot(figure, {"drawn": "words only: " + title}, rows=0)


def room_for(labels: Iterable[str], size: float = 9.5, *, weight: str = "normal") -> float:
    """Return the inches that labels beside an axis take, their distance from it included."""
    return max((text_width(label, size, weight) for label in labels), default=0.0) + 0.12


def size_of(axes: Axes) -> tuple[float, float]:
    """Return the width and height of axes in inches."""
    box, figure = axes.get_position(), axes.figure
    assert figure is not None
    inches = figure.dpi_scale_trans.inverted().transform(figure.bbox.size)
    return float(box.width * inches[0]), float(box.height * inches[1])


def shortened(text: str, room: float, size: float, *, weight: str = "normal") -> str:
    """Return the text, or as much of it as fits into the room (inches) with an ellipsis."""
    if text_width(text, size, weight) <= room:
        return text
    while text and text_width(text + "…", size, weight) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def wrapped(
    text: str,
    size: float,
    *,
    weight: str = "normal",
    balanced: bool = False,
    room: float = WIDTH - 2 * MARGIN,
) -> list[str]:
    """Return the text's lines as they fit into the room, measured, not guessed.

    Args:
        text: Words between spaces; a no-break space is kept.
        size: Points.
        weight: Of the type.
        balanced: Make the lines about equally long, so that no word is alone on the last one.
        room: Inches.
    """
    pieces = text.split(" ")
    widths = [text_width(piece, size, weight) for piece in pieces]
    gap = text_width("n", size, weight) * 0.55
    lines = _filled(pieces, widths, gap, room)
    for part in np.linspace(0.5, 0.98, 25) if balanced else ():
        even = _filled(pieces, widths, gap, room * part)
        if len(even) == len(lines):
            return even
    return lines


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of one line of text in inches."""
    font = get_font(findfont(FontProperties(family=TYPEFACE, weight=weight)))
    font.set_size(size, _MEASURED_AT)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64 / _MEASURED_AT


def _as_share(gap: float, room: float, number: int) -> float:
    """Return a gap as matplotlib wants it: as a share of the mean panel."""
    each = (room - gap * (number - 1)) / number
    return gap / max(each, 0.05)


def _filled(pieces: list[str], widths: list[float], gap: float, room: float) -> list[str]:
    lines, used = [pieces[0]], widths[0]
    for piece, width in zip(pieces[1:], widths[1:], strict=True):
        if used + gap + width <= room:
            lines[-1], used = f"{lines[-1]} {piece}", used + gap + width
        else:
            lines.append(piece)
            used = width
    return lines


def _stack(
    figure: Figure,
    lines: Sequence[str],
    size: float,
    top: float,
    *,
    color: str,
    weight: str = "normal",
) -> float:
    style: dict[str, Any] = {"size": size, "weight": weight, "color": color, "va": "top"}
    for line in lines:
        figure.text(MARGIN / WIDTH, top / figure.get_figheight(), line, **style)
        top -= _line_height(size)
    return top


def _line_height(size: float) -> float:
    return 1.4 * size / 72
