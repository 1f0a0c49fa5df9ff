"""The house style: type, colours, and how numbers are written.

Nothing here knows what a figure shows, and nothing touches pyplot or leaves matplotlib's global
settings changed: figures are built and saved inside `house_style()`. The page is in `page`.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import wraps
from typing import ParamSpec, TypeVar

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

INK = "#1C2B3A"
QUIET_INK = "#5A6673"
RULE = "#D9DEE3"
MAIN = "#0B4F8A"
ACCENT = "#E08E00"
NEUTRAL = "#C9D1D9"
"""MAIN, ACCENT and NEUTRAL differ in lightness as well as in hue: they stay apart in grey and for
colour-blind readers."""

ACCENT_INK = "#8A5600"
"""ACCENT for words: dark enough to be read on white."""

SEQUENCE = LinearSegmentedColormap.from_list("retail", ["#F4F7FA", "#B3CEE5", "#5C93C1", MAIN])

TYPEFACE = "DejaVu Sans"
"""Bundled with matplotlib, hence the same on every machine: the layout is what was looked at."""

_ROUNDING = 1e-9
"""Percentage points that arithmetic alone may take from a whole."""

_RC = {
    "font.family": [TYPEFACE],
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
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

MISSING = "\N{EN DASH}"

_READABLE = {
    "mean": "Mean",
    "last_window": "Last window",
    "linear_regression": "Linear regression",
    "decision_tree": "Decision tree",
    "random_forest": "Random forest",
    "gradient_boosting": "Gradient boosting",
    "bg_nbd_gamma_gamma": "BG/NBD + Gamma-Gamma",
    "pareto_nbd_gamma_gamma": "Pareto/NBD + Gamma-Gamma",
    "boosted_pareto_nbd": "Boosted Pareto/NBD",
}

_SYMBOLS = {"GBP": "£", "USD": "$", "EUR": "€", "JPY": "¥"}
_STEPS = ((1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, ""))

P = ParamSpec("P")
R = TypeVar("R")
Number = float | int


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Attributes:
        figure: The figure; save it inside `house_style()`.
        numbers: The key numbers that it shows (plain numbers and words, by name).
        rows: Rows of the frame that are drawn, 0 where the figure says in words why there are none.
    """

    figure: Figure
    numbers: dict[str, float | int | str] = field(default_factory=dict)
    rows: int = 0


def house_style() -> AbstractContextManager[None]:
    """Return the context in which figures are built and saved; settings are restored after it."""
    return matplotlib.style.context(_RC, after_reset=True)


def in_house_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a plotting function inside `house_style()`."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with house_style():
            return draw(*args, **kwargs)

    return drawn


def money(value: Number, currency: str = "") -> str:
    """Write an amount with three digits that matter: `£1.23M`, `£12.50`, `-3.4k CHF`, `£0.001`.

    Args:
        value: The amount; a missing one becomes a dash.
        currency: ISO code; without one the number stands alone.
    """
    if not math.isfinite(value):
        return MISSING
    sign, number = ("-" if value < 0 else ""), _short(abs(float(value)))
    if number == "0":
        sign = ""
    if not currency or currency in _SYMBOLS:
        return f"{sign}{_SYMBOLS.get(currency, '')}{number}"
    return f"{sign}{number}\u00a0{currency}"


def brief(value: Number) -> str:
    """Write an amount with two digits that matter, three from 100 on, for labels beside an axis."""
    if not math.isfinite(value) or value == 0 or abs(value) >= 100:
        return money(value)
    rounded = float(f"{value:.2g}")
    return f"{rounded:.0f}" if abs(rounded) >= 10 else money(rounded)


def three_digits(value: Number) -> str:
    """Write a number without unit with three digits that matter: `0.800`, `29.0`, `1,234`."""
    if not math.isfinite(value):
        return MISSING
    if abs(value) < 1e-9:
        return "0.00"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def share(value: Number) -> str:
    """Write a share of one as a percentage: `23%`, `4.1%`, `<0.1%`, `99.6%`, `>99.9%`.

    What is not all never reads 100%, what is not nothing never 0%.
    """
    if not math.isfinite(value):
        return MISSING
    percent = 100 * float(value)
    if percent == 0:
        return "0%"
    if abs(percent) < 0.1:
        return "<0.1%" if percent > 0 else ">-0.1%"
    if 99.5 <= abs(percent) < 100 - _ROUNDING:
        return _nearly_all(percent)
    return f"{percent:.0f}%" if abs(percent) >= 9.95 else f"{percent:.1f}%"


def count(value: Number) -> str:
    """Write a whole number with thousands separated: `12,345`."""
    return f"{round(value):,}"


def counted(value: Number, noun: str, plural: str | None = None) -> str:
    """Write a number of things: `1 customer`, `12,345 customers`; no line is broken in it."""
    return f"{count(value)}\u00a0{noun if round(value) == 1 else plural or noun + 's'}"


def day(value: date | datetime) -> str:
    """Write a day: `1 Jun 2011`, with spaces at which no line is broken."""
    return f"{value.day} {value:%b %Y}".replace(" ", "\u00a0")


def readable(model_name: str) -> str:
    """Return a model's name as people write it, unbreakable; an unknown one keeps its words."""
    name = _READABLE.get(model_name, model_name.replace("_", " ").capitalize())
    return name.replace(" ", "\u00a0")


def unit(currency: str) -> str:
    """Return the sentence that a figure with amounts needs where their currency is not known."""
    return "" if currency else " The data name no single currency: amounts are as given."


def money_axis(axes: Axes, currency: str, axis: str = "y") -> None:
    """Write an axis' ticks as amounts in the currency."""
    chosen = axes.yaxis if axis == "y" else axes.xaxis
    chosen.set_major_formatter(lambda value, _: money(value, currency))


def share_axis(axes: Axes, axis: str = "y") -> None:
    """Write an axis' ticks as percentages."""
    chosen = axes.yaxis if axis == "y" else axes.xaxis
    chosen.set_major_formatter(lambda value, _: f"{round(100 * value, 6):g}%")


def _nearly_all(percent: float) -> str:
    if abs(percent) < 99.95:
        return f"{percent:.1f}%"
    return ">99.9%" if percent > 0 else "<-99.9%"


def _short(size: float) -> str:
    for step, suffix in _STEPS:
        # 999,950 belongs to the next step: three digits would write it as 1000k.
        if size >= step * 0.9995:
            return _three_digits(size / step, whole=step == 1.0) + suffix
    if size >= 0.0995:
        return f"{size:.2f}"
    # Feeds have prices of 0.001; below a millionth there are only traces of arithmetic.
    return f"{size:.2g}" if size >= 1e-6 else "0"


def _three_digits(number: float, *, whole: bool) -> str:
    if whole:
        text = f"{number:.2f}"
        return f"{number:.0f}" if number >= 100 or text.endswith(".00") else text
    decimals = max(0, 2 - math.floor(math.log10(number)))
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
