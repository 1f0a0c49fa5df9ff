"""How customers buy: the time between purchases, the size of orders, how unequal they are.

Pure: frames in, figures out; no reading, no Dagster. The frames are counts by value, never a row
per customer.
"""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator
from numpy.typing import NDArray

from retail_pipeline.figures.page import (
    page,
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
    count,
    counted,
    day,
    in_house_style,
    money,
    share,
    share_axis,
    unit,
)

_BARS_PER_DECADE = 10
_MOST_BARS = 60
_NEAR_THE_DIAGONAL = 0.33

Floats = NDArray[np.float64]


@in_house_style
def purchase_gaps(
    gaps: pd.DataFrame, *, customers: int, single: int, as_of: date, horizon_days: int
) -> Plot:
    """Draw how many days pass from one purchase of a customer to the next.

    Args:
        gaps: `gap_days, gaps`: how often so many days passed.
        customers: With a purchase.
        single: Of them, with one purchase only.
        as_of: The day before which data count.
        horizon_days: Marked where it lies within the scale.
    """
    source = (
        f"Source: warehouse.customer_days, data before {day(as_of)}. A purchase is a day with a "
        "positive net amount. Time since the last purchase is no gap yet: long gaps are seen less "
        "often than they occur."
    )
    frame = _counts(gaps, "gap_days", "gaps")
    if frame.empty:
        return words(
            "Nobody has bought a second time yet",
            [f"There is no time between purchases to show: {counted(customers, 'customer')}."],
            source,
        )
    total = float(frame["gaps"].sum())
    half, most = _quantile(frame, 0.5), _quantile(frame, 0.9)
    width = max(1, -(-_quantile(frame, 0.99) // _MOST_BARS))
    width = width if width < 4 else 7 * -(-width // 7)
    once = f", {share(single / customers)} of customers bought once" if customers else ""
    sheet = page(
        f"Half of all repeat purchases come within {counted(half, 'day')}, nine in ten within "
        f"{counted(most, 'day')}",
        f"Days between two purchases of a customer: {counted(total, 'gap')}"
        f" of {counted(customers - single, 'customer')}{once}",
        source,
    )
    above, below = sheet.panels(2, 1, sharex=True, heights=[2.2, 1], left=0.62, below=0.5, gap=0.42)
    end = _draw_gaps(above, frame, width)
    step = {1: "day", 7: "week"}.get(width, f"{width} days")
    above.set_title(f"Share of purchases, by {step}")
    _draw_gap_sums(below, frame, {0.5: half, 0.9: most}, end, horizon_days)
    return Plot(
        sheet.figure,
        {
            "gaps": int(total),
            "customers": customers,
            "customers_with_one_purchase": single,
            "median_gap_days": half,
            "gap_days_90_percent": most,
            "share_within_horizon": float(
                frame.loc[frame["gap_days"] <= horizon_days, "gaps"].sum() / total
            ),
        },
        rows=len(frame),
    )


@in_house_style
def order_values(
    orders: pd.DataFrame, *, steps_per_decade: int, currency: str, as_of: date
) -> Plot:
    """Draw how large orders are, on a scale of equal ratios, and which of them bring the revenue.

    Args:
        orders: `step, orders, amount`: `step` is floor(steps_per_decade · log10 of the order's net
            amount), missing for orders of zero and less; how many orders, and their sum.
        steps_per_decade: How finely the values were counted; quantiles are interpolated in a step.
        currency: ISO code of the amounts, or empty.
        as_of: The day before which data count.
    """
    source = (
        f"Source: warehouse.fct_transactions, data before {day(as_of)}. Sales without excluded "
        f"lines and before returns.{unit(currency)}"
    )
    frame = orders.assign(amount=pd.to_numeric(orders["amount"]).astype(float))
    known = frame[frame["step"].notna() & (frame["orders"] > 0)].sort_values("step")
    known = known.assign(step=known["step"].astype(float) / steps_per_decade)
    other = int(frame.loc[frame["step"].isna(), "orders"].sum())
    if known.empty:
        return words("There is no order with a value yet", ["Nothing was sold."], source)
    if other:
        source += f" Not drawn: {counted(other, 'order')} of zero or less."
    total, amount = float(known["orders"].sum()), float(known["amount"].sum())
    half = _step_quantile(known, 0.5, 1 / steps_per_decade)
    sheet = page(
        f"Half of the orders are below about {_about(half, currency)}; the largest "
        f"tenth bring {share(_share_of_largest(known, 0.1))} of sales",
        f"Net amount of an order, on a scale of equal ratios: {counted(total, 'order')}, "
        f"{money(amount, currency)}, {money(amount / total, currency)} on average",
        source,
    )
    above, below = sheet.panels(2, 1, sharex=True, heights=[1, 1], left=0.62, below=0.5, gap=0.42)
    bars = _bars(known)
    _draw_bars(above, bars, "orders", MAIN)
    _draw_bars(below, bars, "amount", ACCENT)
    above.set_title("Share of orders")
    below.set_title("Share of their value")
    _value_axis(below, bars, currency)
    for axes, at, name, colour in (
        (above, half, f"median about {_about(half, currency)}", MAIN),
        (
            below,
            _value_middle(known, 1 / steps_per_decade),
            "half of the value on either side",
            ACCENT_INK,
        ),
    ):
        _mark(axes, at, name, colour)
    return Plot(
        sheet.figure,
        {
            "orders": int(total),
            "orders_of_zero_or_less": other,
            "mean_order_value": amount / total,
            "median_order_value_about": half,
            "share_of_value_of_largest_tenth": _share_of_largest(known, 0.1),
        },
        rows=len(frame),
    )


@in_house_style
def revenue_concentration(
    groups: pd.DataFrame, *, currency: str, as_of: date, horizon_days: int
) -> Plot:
    """Draw which share of the customers holds which share of the value, past and predicted.

    A Lorenz curve from its rich end: the customers who brought most come first.

    Args:
        groups: `kind` ("past" or "predicted"), `place` (1 the most valuable), `customers, value,
            negative`: customers of equal rank, their value floored at zero, and how many of them
            lie below zero.
        currency: ISO code of the amounts, or empty.
        as_of: The day before which data count.
        horizon_days: Days ahead whose value is predicted.
    """
    source = (
        f"Source: warehouse.customer_rfm and clv.predictions as of {day(as_of)}.{unit(currency)}"
    )
    curves = {kind: _lorenz(groups, kind) for kind in ("past", "predicted")}
    drawn = {kind: curve for kind, curve in curves.items() if curve is not None}
    if not drawn:
        return words(
            "There is no value to be shared out yet",
            ["Nobody has brought or will bring any."],
            source,
        )
    negative = int(groups.loc[groups["kind"] == "past", "negative"].sum())
    if negative:
        verb = "counts" if negative == 1 else "count"
        source += f" {counted(negative, 'customer')} with a negative sum {verb} as zero."
    tops = {kind: float(np.interp(0.2, *curve)) for kind, curve in drawn.items()}
    past = groups[groups["kind"] == "past"]
    sheet = page(
        _concentration_title(tops),
        f"Cumulated share of value, most valuable customers first: "
        f"{counted(past['customers'].sum(), 'customer')}, {money(past['value'].sum(), currency)} "
        f"in the past, and the {counted(horizon_days, 'day')} from {day(as_of)}",
        source,
        height=5.8,
    )
    _draw_lorenz(sheet.panels(left=0.55, below=0.5)[0], drawn)
    return Plot(
        sheet.figure,
        {
            "customers": int(past["customers"].sum()),
            **{f"{kind}_share_of_top_20_percent": top for kind, top in tops.items()},
            **{f"{kind}_gini": _gini(curve) for kind, curve in drawn.items()},
        },
        rows=len(groups),
    )


def _about(value: float, currency: str) -> str:
    return money(float(f"{value:.2g}"), currency)


def _counts(frame: pd.DataFrame, value: str, number: str) -> pd.DataFrame:
    counts = frame[[value, number]].apply(pd.to_numeric).dropna()
    counts = counts[counts[number] > 0].groupby(value, as_index=False).sum()
    return counts.astype({value: int}).sort_values(value)


def _quantile(frame: pd.DataFrame, part: float) -> int:
    """Return the fewest days within which at least this part of the gaps ended."""
    reached = frame["gaps"].cumsum() / frame["gaps"].sum() >= part - 1e-12
    return int(frame["gap_days"].to_numpy()[int(np.argmax(reached.to_numpy()))])


def _draw_gaps(axes: Axes, frame: pd.DataFrame, width: int) -> float:
    """Draw the bars; the last one holds everything beyond the scale. Return the scale's end."""
    number = int(min(_MOST_BARS, frame["gap_days"].max() // width + 1))
    bins = np.minimum(frame["gap_days"] // width, number - 1)
    parts = frame.groupby(bins)["gaps"].sum().reindex(range(number), fill_value=0)
    parts = parts / frame["gaps"].sum()
    is_open = int(frame["gap_days"].max()) >= number * width
    colours = [MAIN] * (number - 1) + [NEUTRAL if is_open else MAIN]
    places = np.arange(number) * width
    axes.bar(places, parts, width=0.9 * width, align="edge", color=colours)
    if is_open:
        axes.annotate(
            f"{share(parts.iloc[-1])} take {count((number - 1) * width)} days and more",
            (places[-1] + width * 0.9, parts.iloc[-1]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            size=9,
            color=QUIET_INK,
        )
    axes.tick_params(axis="x", length=0)
    share_axis(axes)
    axes.locator_params(axis="y", nbins=5)
    axes.margins(y=0.14)
    return float(number * width)


def _draw_gap_sums(
    axes: Axes, frame: pd.DataFrame, marks: dict[float, int], end: float, horizon_days: int
) -> None:
    days = np.concatenate([[0], frame["gap_days"].to_numpy(float)])
    sums = np.concatenate([[0], (frame["gaps"].cumsum() / frame["gaps"].sum()).to_numpy(float)])
    axes.step(days, sums, where="post", color=MAIN)
    axes.set_title("Share of purchases that came within so many days")
    axes.set_xlabel("Days since the purchase before")
    for part, at in marks.items():
        axes.scatter([at], [part], color=MAIN, s=34, zorder=4)
        _beside(axes, f"{share(part)}: {counted(at, 'day')}", (at, part), end, MAIN)
    if horizon_days < end and abs(horizon_days - marks[0.9]) > 0.12 * end:
        within = float(sums[np.searchsorted(days, horizon_days, side="right") - 1])
        axes.axvline(horizon_days, color=ACCENT, linewidth=1.2, linestyle="--")
        horizon = f"horizon, {counted(horizon_days, 'day')}"
        _beside(axes, horizon, (horizon_days, 0.2), end, ACCENT_INK)
        axes.scatter([horizon_days], [within], color=ACCENT, s=26, zorder=4)
    axes.set(xlim=(0, end), ylim=(0, 1.08))
    share_axis(axes)
    axes.set_yticks([0, 0.5, 1])


def _beside(axes: Axes, text: str, at: tuple[float, float], end: float, colour: str) -> None:
    on_left = at[0] > 0.7 * end
    axes.annotate(
        text,
        at,
        xytext=(-7 if on_left else 7, -4),
        textcoords="offset points",
        ha="right" if on_left else "left",
        va="top",
        size=9,
        color=colour,
        weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
    )


def _step_quantile(known: pd.DataFrame, part: float, step: float) -> float:
    """Return a quantile of the order values, interpolated within its step (of a logarithm)."""
    sums = known["orders"].cumsum().to_numpy(float)
    wanted = part * sums[-1]
    place = int(np.searchsorted(sums, wanted - 1e-9))
    before = sums[place - 1] if place else 0.0
    inside = (wanted - before) / (sums[place] - before)
    return float(10 ** (known["step"].to_numpy(float)[place] + inside * step))


def _value_middle(known: pd.DataFrame, step: float) -> float:
    sums = known["amount"].cumsum().to_numpy(float)
    place = int(np.searchsorted(sums, 0.5 * sums[-1]))
    return float(10 ** (known["step"].to_numpy(float)[place] + 0.5 * step))


def _share_of_largest(known: pd.DataFrame, part: float) -> float:
    orders = np.append(0.0, known["orders"].to_numpy(float)[::-1].cumsum())
    amount = np.append(0.0, known["amount"].to_numpy(float)[::-1].cumsum())
    return float(np.interp(part * orders[-1], orders, amount) / amount[-1])


def _bars(known: pd.DataFrame) -> pd.DataFrame:
    """Return shares by bar, a tenth of a decade each, or wider where there are few orders."""
    span = known["step"].max() - known["step"].min()
    per_decade = _BARS_PER_DECADE if known["orders"].sum() >= 200 and span > 0.3 else 5
    bars = np.floor(known["step"].to_numpy(float) * per_decade + 1e-9).astype(int)
    sums = known.groupby(bars)[["orders", "amount"]].sum()
    sums = sums.reindex(range(int(bars.min()), int(bars.max()) + 1), fill_value=0.0)
    parts = sums / sums.sum()
    parts["left"] = 10.0 ** (parts.index.to_numpy(float) / per_decade)
    parts["right"] = 10.0 ** ((parts.index.to_numpy(float) + 1) / per_decade)
    return parts


def _draw_bars(axes: Axes, bars: pd.DataFrame, column: str, colour: str) -> None:
    axes.bar(
        bars["left"],
        bars[column],
        width=0.92 * (bars["right"] - bars["left"]),
        align="edge",
        color=colour,
    )
    axes.set_xscale("log")
    share_axis(axes)
    axes.locator_params(axis="y", nbins=4)
    axes.margins(y=0.2)


def _mark(axes: Axes, at: float, name: str, colour: str) -> None:
    axes.axvline(at, color=INK, linewidth=1.0)
    low, high = np.log(axes.get_xlim())
    on_left = np.log(at) > low + 0.6 * (high - low)
    axes.annotate(
        name,
        (at, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-5 if on_left else 5, -4),
        textcoords="offset points",
        ha="right" if on_left else "left",
        va="top",
        size=9,
        color=colour,
        weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
    )


def _value_axis(axes: Axes, bars: pd.DataFrame, currency: str) -> None:
    low, high = float(bars["left"].min()), float(bars["right"].max())
    low, high = min(low, high / 4), max(high, low * 4)
    axes.set_xlim(low, high)
    axes.set_xlabel("Net amount of an order")
    decades = np.log10(high / low)
    if decades <= 2.2:
        axes.xaxis.set_major_locator(FixedLocator(_round_values(low, high)))
    else:
        axes.xaxis.set_major_locator(LogLocator(numticks=10))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: money(value, currency))


def _round_values(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two numbers."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return [value for value in values if low <= value <= high]


def _lorenz(groups: pd.DataFrame, kind: str) -> tuple[Floats, Floats] | None:
    """Return cumulated shares of customers and of value from 0 to 1; None without any value."""
    frame = groups[groups["kind"] == kind].sort_values("place")
    customers = pd.to_numeric(frame["customers"]).to_numpy(float)
    value = pd.to_numeric(frame["value"]).fillna(0.0).to_numpy(float)
    if value.sum() <= 0:
        return None
    return (
        np.append(0.0, customers.cumsum() / customers.sum()),
        np.append(0.0, value.cumsum() / value.sum()),
    )


def _gini(curve: tuple[Floats, Floats]) -> float:
    people, value = curve
    return float(2 * np.trapezoid(value, people) - 1)


def _concentration_title(tops: dict[str, float]) -> str:
    if "past" not in tops:
        return f"The top 20% of customers hold {share(tops['predicted'])} of the predicted value"
    title = f"The top 20% of customers brought {share(tops['past'])} of past net revenue"
    if "predicted" not in tops:
        return title
    return f"{title}; the top 20% by prediction hold {share(tops['predicted'])} of what is expected"


def _draw_lorenz(axes: Axes, curves: dict[str, tuple[Floats, Floats]]) -> None:
    looks = {
        "past": (ACCENT, ACCENT_INK, "past net revenue"),
        "predicted": (MAIN, MAIN, "predicted value"),
    }
    axes.plot([0, 1], [0, 1], color=QUIET_INK, linewidth=1.2, linestyle=":")
    beside: dict[str, Any] = {
        "textcoords": "offset points",
        "weight": "bold",
        "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
    }
    best_first = sorted(curves, key=lambda kind: -float(np.interp(0.2, *curves[kind])))
    lowest = float(np.interp(0.2, *curves[best_first[-1]]))
    for line, kind in enumerate(best_first):
        people, value = curves[kind]
        colour, ink, name = looks[kind]
        top = float(np.interp(0.2, people, value))
        axes.plot(people, value, color=colour, linewidth=2.4)
        axes.scatter([0.2], [top], color=colour, s=46, zorder=4)
        axes.annotate(
            f"{name}: {share(top)}",
            (0.2, lowest),
            xytext=(12, -14 - 16 * line),
            color=ink,
            **beside,
        )
    # The labels of a curve near the diagonal stand where that of the diagonal would.
    at, label = (0.6, "all alike") if lowest < _NEAR_THE_DIAGONAL else (0.2, "all alike: 20%")
    axes.annotate(label, (at, at), xytext=(12, -14), color=QUIET_INK, **beside)
    axes.axvline(0.2, color=INK, linewidth=0.8, zorder=1.5)
    axes.set(xlim=(0, 1), ylim=(0, 1.04), xlabel="Share of customers, most valuable first")
    axes.set_title("Share of value")
    share_axis(axes)
    share_axis(axes, "x")
