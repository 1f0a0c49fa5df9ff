"""The style of all figures: the layout of the page and the settings of matplotlib.

Figures are built and saved inside `house_style()`, which restores matplotlib's global settings;
pyplot is not used. Matplotlib's constrained layout places the axes.
"""

import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.figure import Figure

from retail_pipeline.figures.colors import INK, QUIET_INK, RULE
from retail_pipeline.figures.queries import Context
from retail_pipeline.figures.writing import day

WIDTH, MARGIN = 10.0, 0.3
"""In inches; all figures have the same width, so that they align on a page."""

_TITLE, _SUBTITLE, _FOOTER = (14.0, 80), (10.5, 120), (8.5, 150)
"""Size in points, and characters that fit into one line of the page."""

_RC = {
    # Bundled with matplotlib, so it is the same on every machine.
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    # A text with two dollar signs is not a formula.
    "text.parse_math": False,
    "axes.labelcolor": QUIET_INK,
    "axes.labelsize": 9.5,
    "axes.edgecolor": RULE,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET_INK,
    "ytick.color": QUIET_INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Attributes:
        figure: The figure; save it inside `house_style()`.
        numbers: Its key numbers by name, as plain numbers and texts.
        rows: Number of data rows drawn; 0 if the figure is only a sentence.
    """

    figure: Figure
    numbers: dict[str, float | int | str] = field(default_factory=dict)
    rows: int = 0


def plot(figure: Figure, rows: int, **numbers: float | int | str) -> Plot:
    """Return a drawn figure with its number of data rows and its key numbers."""
    return Plot(figure, numbers, rows)


def house_style() -> AbstractContextManager[None]:
    """Return the context in which figures are built and saved; it restores the settings after."""
    return matplotlib.style.context(_RC, after_reset=True)


def in_house_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Return a plotting function that runs inside `house_style()`."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with house_style():
            return draw(*args, **kwargs)

    return drawn


def page(title: str, subtitle: str, footer: str, *, height: float = 5.4) -> Figure:
    """Return a figure with title, subtitle and footer; its axes are placed between them.

    The title states the finding with its number. The subtitle names the quantity, its unit and the
    period. The footer has source, as-of date and caveats. The height is in inches.
    """
    figure = Figure(figsize=(WIDTH, height))
    figure.set_label(title)
    top = height - MARGIN
    top = _write(figure, _balanced(title, _TITLE[1]), _TITLE[0], top, INK, weight="bold")
    top = _write(figure, _balanced(subtitle, _SUBTITLE[1]), _SUBTITLE[0], top - 0.06, QUIET_INK)
    lines = _wrapped(footer, _FOOTER[1])
    bottom = 0.2 + _line(_FOOTER[0]) * len(lines)
    _write(figure, lines, _FOOTER[0], bottom, QUIET_INK)
    bottom, top = bottom + 0.12, top - 0.08
    room = (MARGIN / WIDTH, bottom / height, 1 - 2 * MARGIN / WIDTH, (top - bottom) / height)
    figure.set_layout_engine("constrained", rect=room, w_pad=0.03, h_pad=0.03, wspace=0.04)
    return figure


def source_of(context: Context, table: str, *, money: bool = False) -> str:
    """Return the footer's first sentences: the table, the date, and a note on unknown currency.

    The note is added only if the figure shows amounts (`money`).
    """
    source = context.source or f"Source: {table}, data before {day(context.as_of)}."
    if money and not context.currency:
        source += " The data have no single currency; amounts are as given."
    return source


@in_house_style
def words(title: str, sentence: str, footer: str) -> Plot:
    """Return a figure with a sentence on why there is nothing to draw."""
    return Plot(page(title, sentence, footer, height=1.9), {"drawn": "words only: " + title})


def _wrapped(text: str, most: int) -> list[str]:
    return textwrap.wrap(text, most, break_on_hyphens=False)


def _balanced(text: str, most: int) -> list[str]:
    """Return the text in as few lines as possible, all of about the same length."""
    fewest = len(_wrapped(text, most))
    widths = range(max(1, most // 2), most + 1)
    return next(lines for width in widths if len(lines := _wrapped(text, width)) == fewest)


def _write(
    figure: Figure, lines: Sequence[str], size: float, top: float, color: str, **style: Any
) -> float:
    """Write lines downwards from `top` (in inches); return the position below them."""
    for line in lines:
        at = (MARGIN / WIDTH, top / figure.get_figheight())
        figure.text(*at, line, size=size, color=color, va="top", **style)
        top -= _line(size)
    return top


def _line(size: float) -> float:
    return 1.4 * size / 72
