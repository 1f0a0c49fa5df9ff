"""The house style: colors, the page that every figure is drawn on, and how numbers are written.

Nothing here touches pyplot or leaves matplotlib's global settings changed: figures are built and
saved inside `house_style()`, and matplotlib's constrained layout gives the axes their room.
"""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from retail_pipeline.figures.queries import Context

INK = "#1C2B3A"
QUIET_INK = "#5A6673"
RULE = "#D9DEE3"
MAIN = "#0B4F8A"
ACCENT = "#E08E00"
NEUTRAL = "#C9D1D9"
"""MAIN, ACCENT and NEUTRAL differ in lightness as well as in hue: they stay apart in grey and for
color-blind readers."""

ACCENT_INK = "#8A5600"
"""ACCENT for words: dark enough to be read on white."""

SEQUENCE = LinearSegmentedColormap.from_list("retail", ["#F4F7FA", "#B3CEE5", "#5C93C1", MAIN])

WIDTH, MARGIN = 10.0, 0.3
"""Inches; every figure has the same width, so that pages of them align."""

MISSING = "\N{EN DASH}"

_TITLE, _SUBTITLE, _FOOTER = (14.0, 80), (10.5, 120), (8.5, 150)
"""Points, and the characters that fit into a line of the page."""

_ROUNDING = 1e-9
"""Percentage points that arithmetic alone may take from a whole."""

_RC = {
    # Bundled with matplotlib, hence the same on every machine.
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    # Two amounts in dollars are no formula.
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

_MODELS = {
    "bg_nbd_gamma_gamma": "BG/NBD + Gamma-Gamma",
    "pareto_nbd_gamma_gamma": "Pareto/NBD + Gamma-Gamma",
    "boosted_pareto_nbd": "Boosted Pareto/NBD",
}
_SYMBOLS = {"": "", "GBP": "£", "USD": "$", "EUR": "€", "JPY": "¥"}
_STEPS = ((1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, ""))
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

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Attributes:
        figure: The figure; save it inside `house_style()`.
        numbers: The key numbers that it shows (plain numbers and words, by name).
        rows: Rows of the data that are drawn, 0 where the figure says in words why there are none.
    """

    figure: Figure
    numbers: dict[str, float | int | str] = field(default_factory=dict)
    rows: int = 0


def house_style() -> AbstractContextManager[None]:
    """Return the context in which figures are built and saved; settings are restored after it."""
    return matplotlib.style.context(_RC, after_reset=True)


def in_house_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Return a plotting function that runs inside `house_style()`."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with house_style():
            return draw(*args, **kwargs)

    return drawn


def page(title: str, subtitle: str, footer: str, *, height: float = 5.4) -> Figure:
    """Return a figure with its words in place; its axes are laid out between them when drawn.

    Args:
        title: A sentence that says what is seen, with its number.
        subtitle: What is drawn, in which unit, over which time.
        footer: Source, as-of date and caveats.
        height: Inches.
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
    """Return the footer's first sentences: the table, the date, and the unit where it is unknown.

    Args:
        context: Of the run.
        table: `schema.name`.
        money: The figure shows amounts.
    """
    source = context.source or f"Source: {table}, data before {day(context.as_of)}."
    if money and not context.currency:
        source += " The data name no single currency: amounts are as given."
    return source


@in_house_style
def words(title: str, sentence: str, footer: str) -> Plot:
    """Return a figure that says in words why there is nothing to draw."""
    figure = page(title, sentence, footer, height=1.9)
    return Plot(figure, {"drawn": "words only: " + title}, rows=0)


def label(axes: Axes, text: str, at: tuple[Any, Any], side: str = "right", **style: Any) -> None:
    """Write words beside a mark, on white paper.

    Args:
        axes: Where the mark is.
        text: The words.
        at: The mark's place in the axes' own units.
        side: `right`, `left`, `above`, `below`, or two of them (`below right`).
        style: Properties of the text that differ from the house's.
    """
    offset, horizontal, vertical = _SIDES[side]
    style = {"ha": horizontal, "va": vertical, "size": 9, "bbox": _PAPER, **style}
    axes.annotate(text, at, xytext=offset, textcoords="offset points", **style)


def name_rows(axes: Axes, names: Sequence[str], bold: Sequence[bool] = ()) -> None:
    """Name the rows of a chart from top to bottom; there is one at each whole number from 0."""
    axes.set_yticks(range(len(names)), names)
    for tick, is_bold in zip(axes.get_yticklabels(), bold or [False] * len(names), strict=True):
        tick.set(color=INK, weight="bold" if is_bold else "normal")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def heat_map(
    axes: Axes, values: NDArray[np.float64], ceiling: float, write: Callable[[float], str] | None
) -> Any:
    """Draw cells from the top row down; return the mesh for a color scale.

    Args:
        axes: Where they are drawn.
        values: From 0; a missing one stays white.
        ceiling: The value of the darkest color.
        write: Returns a cell's words; None leaves the color to speak.
    """
    import seaborn as sns

    sns.heatmap(
        values,
        ax=axes,
        cmap=SEQUENCE,
        vmin=0,
        vmax=ceiling,
        cbar=False,
        xticklabels=False,
        yticklabels=False,
        # Between many cells, lines would leave nothing of them.
        linewidths=0.8 if write else 0.0,
        linecolor="white",
    )
    mesh = axes.collections[-1]
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for (row, column), value in np.ndenumerate(values if write else np.empty((0, 0))):
        if write and np.isfinite(value) and (text := write(float(value))):
            # seaborn's own choice of ink falls below a contrast of 4.5 in the middle of the scale.
            ink = ink_on(SEQUENCE(min(value / ceiling, 1.0)))
            place: dict[str, Any] = {"ha": "center", "va": "center", "size": 8}
            axes.text(column + 0.5, row + 0.5, text, color=ink, **place)
    return mesh


def ink_on(color: tuple[float, ...]) -> str:
    """Return black or white, whichever has the higher contrast with a color; it is over 4.5."""
    linear = np.where(np.array(color[:3]) <= 0.04045, 0, ((np.array(color[:3]) + 0.055) / 1.055))
    luminance = float(linear**2.4 @ (0.2126, 0.7152, 0.0722))
    return "black" if luminance > 0.179 else "white"


def number(value: float, unit: str = "", *, signed: bool = False) -> str:
    """Write a number with three digits that matter: `£1.23M`, `18.1`, `-3.4k CHF`, `23%`, `4.1%`.

    A share that is not all never reads 100%, and one that is not nothing never 0%.

    Args:
        value: A missing one becomes a dash.
        unit: `%` for a share of one, an ISO code for an amount of money, or nothing.
        signed: Write a plus before positive numbers.
    """
    if not math.isfinite(value):
        return MISSING
    sign = "-" if value < 0 else "+" if signed and value > 0 else ""
    if unit == "%":
        return _percentage(float(value), sign)
    text = _three_digits(abs(float(value)), cents=bool(unit))
    sign = "" if text == "0" else sign
    symbol = _SYMBOLS.get(unit)
    return f"{sign}{text}\u00a0{unit}" if symbol is None else f"{sign}{symbol}{text}"


def number_axis(axis: Axis, unit: str = "", *, signed: bool = False) -> None:
    """Write an axis' ticks as `number` does."""
    axis.set_major_formatter(lambda value, _: number(round(value, 9), unit, signed=signed))


def counted(value: float, noun: str) -> str:
    """Write a number of things: `1 customer`, `12,345 customers`; no line is broken in it."""
    return f"{round(value):,}\u00a0{noun if round(value) == 1 else noun + 's'}"


def day(value: date | datetime) -> str:
    """Write a day: `1 Jun 2011`, with spaces at which no line is broken."""
    return f"{value.day} {value:%b %Y}".replace(" ", "\u00a0")


def model_in_words(name: str) -> str:
    """Return a model's name as people write it, unbreakable; an unknown one keeps its words."""
    return _MODELS.get(name, name.replace("_", " ").capitalize()).replace(" ", "\u00a0")


def shortened(text: str, most: int = 32) -> str:
    """Return the text, or so many of its characters with an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _percentage(value: float, sign: str) -> str:
    percent = 100 * abs(value)
    if percent == 0:
        return "0%"
    if percent < 0.1:
        return "<0.1%" if value > 0 else ">-0.1%"
    nearly_all = 99.5 <= percent < 100 - _ROUNDING
    if nearly_all and percent >= 99.95:
        return ">99.9%" if value > 0 else "<-99.9%"
    text = f"{percent:.1f}" if nearly_all or percent < 9.95 else f"{percent:.0f}"
    return f"{sign}{text.removesuffix('.0')}%"


def _three_digits(size: float, *, cents: bool) -> str:
    for step, suffix in _STEPS:
        # 999,950 belongs to the next step: three digits would write it as 1000k.
        if size < step * 0.9995:
            continue
        scaled = size / step
        if step == 1.0 and cents and scaled < 99.995:
            return f"{scaled:.2f}".removesuffix(".00")
        decimals = max(0, 2 - math.floor(math.log10(scaled)))
        text = f"{scaled:.{decimals}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text) + suffix
    if cents and size >= 0.0995:
        return f"{size:.2f}"
    # Feeds have prices of 0.001; below a millionth there are only traces of arithmetic.
    return f"{size:.3g}" if size >= 1e-6 else "0"


def _wrapped(text: str, most: int) -> list[str]:
    return textwrap.wrap(text, most, break_on_hyphens=False)


def _balanced(text: str, most: int) -> list[str]:
    """Return as few lines as possible, about equally long: no word is alone on the last one."""
    fewest = len(_wrapped(text, most))
    widths = range(max(1, most // 2), most + 1)
    return next(lines for width in widths if len(lines := _wrapped(text, width)) == fewest)


def _write(
    figure: Figure, lines: Sequence[str], size: float, top: float, color: str, **style: Any
) -> float:
    """Write lines from the top (inches) downwards; return where they end."""
    for line in lines:
        at = (MARGIN / WIDTH, top / figure.get_figheight())
        figure.text(*at, line, size=size, color=color, va="top", **style)
        top -= _line(size)
    return top


def _line(size: float) -> float:
    return 1.4 * size / 72
