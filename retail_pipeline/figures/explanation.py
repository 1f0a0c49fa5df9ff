"""Figures that explain models: regression coefficients, decision tree, feature importance."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from retail_pipeline.figures.colors import ACCENT, ACCENT_INK, INK, MAIN, NEUTRAL, QUIET_INK
from retail_pipeline.figures.marks import hide_scale, label, name_rows
from retail_pipeline.figures.queries import Context, Fit
from retail_pipeline.figures.style import MARGIN, WIDTH, Plot, in_house_style, page, plot, words
from retail_pipeline.figures.writing import (
    counted,
    day,
    feature_in_words,
    model_in_words,
    number,
    shortened,
)

_MOST_TERMS = 24
_LONGEST_NAME = 38

_BARS_FROM, _BARS_TO = 7.2, 8.4
"""Start and end of the groups' bars in inches; the tree is left of them, the labels are right."""

_CHARACTERS_PER_INCH = 12.5
"""For bold type of 8.5 points."""


@in_house_style
def coefficients(fit: Fit, context: Context) -> Plot:
    """Draw the regression's coefficients: effects on the square root of the predicted value."""
    source = f"Source: clv.model_terms as of {day(fit.as_of)}."
    frame = fit.terms[fit.terms["feature"].notna() & (fit.terms["feature"] != "intercept")]
    frame = frame.assign(coefficient=pd.to_numeric(frame["coefficient"]).astype(float))
    frame = frame[np.isfinite(frame["coefficient"])]
    if frame.empty:
        return _not_fitted("linear_regression", fit, source)
    order = frame["coefficient"].abs().sort_values(ascending=False, kind="stable").index
    shown = frame.loc[order].head(_MOST_TERMS)
    left_out = len(frame) - len(shown)
    rest = f" Not drawn: {counted(left_out, 'smaller one')}." if left_out else ""
    figure = page(
        _coefficients_title(shown),
        "Change of the square root of the value predicted for "
        f"{counted(context.horizon_days, 'day')} per standard deviation of a feature, with the "
        f"others fixed. {counted(len(frame), 'feature')}. "
        f"{_whether_served('linear_regression', context)}",
        f"{source} Correlated features share their effect and may have opposite signs; "
        f"a coefficient does not show a cause.{rest}",
        height=2.4 + 0.25 * max(3, len(shown)),
    )
    axes = figure.subplots()
    _draw_coefficients(axes, shown["coefficient"].to_numpy(float))
    _only_rows(axes, [feature_in_words(str(name)) for name in shown["feature"]])
    return plot(
        figure,
        len(shown),
        fitted_as_of=fit.as_of.isoformat(),
        features=len(frame),
        largest=str(shown["feature"].iloc[0]),
        largest_coefficient=float(shown["coefficient"].iloc[0]),
    )


@in_house_style
def decision_tree(fit: Fit, context: Context) -> Plot:
    """Draw the tree from its root on the left to its final groups of customers on the right.

    There is one row of terms per node; its `branch` is "yes" for values up to the threshold of its
    parent.
    """
    source = f"Source: clv.model_terms as of {day(fit.as_of)}."
    if not context.currency:
        source += " The data have no single currency; amounts are as given."
    if fit.terms.empty:
        return _not_fitted("decision_tree", fit, source)
    tree = _grown(fit.terms)
    leaves = [node for node in tree.walk() if not node.children]
    best = max(leaves, key=lambda node: node.mean)
    part = best.customers / max(tree.customers, 1)
    figure = page(
        f"The tree's best group, {number(part, '%')} of customers, spends "
        f"{number(best.mean, context.currency)} each",
        "Splits from left to right, the upper branch for smaller values. Bars: mean net revenue "
        f"over {counted(context.horizon_days, 'day')} of the past customers in each group. "
        f"{_whether_served('decision_tree', context)}",
        f"{source} Customers are counted once per past cut-off of the training sample. Thicker "
        "lines are more customers.",
        height=2.5 + 0.34 * max(4, len(leaves)),
    )
    _draw_tree(figure.subplots(), tree, context.currency)
    return plot(
        figure,
        len(fit.terms),
        fitted_as_of=fit.as_of.isoformat(),
        groups=len(leaves),
        depth=max(node.depth for node in leaves),
        best_group_mean_value=best.mean,
        best_group_share_of_customers=part,
    )


@in_house_style
def feature_importance(importance: pd.DataFrame, context: Context) -> Plot:
    """Draw the increase in deviance when a group of features is shuffled among customers."""
    as_of = context.as_of if importance.empty else pd.Timestamp(importance["as_of_date"].max())
    source = f"Source: clv.feature_importance as of {day(as_of)}."
    frame = importance.dropna(subset=["deviance_increase"])
    if frame.empty:
        return words(
            "The importance of features has not been measured yet",
            "It is measured at a past cut-off whose outcome of "
            f"{counted(context.horizon_days, 'day')} is complete and whose predictions differ.",
            source,
        )
    frame = frame.sort_values("deviance_increase", ascending=False).reset_index(drop=True)
    top, names = frame.iloc[0], [str(name).replace("_", " ") for name in frame["feature_group"]]
    figure = page(
        _importance_title(names[0], float(top["deviance_increase"])),
        "Increase of the Tweedie deviance when a group of features is shuffled among customers. "
        f"{model_in_words(str(top['model_name']))}, cut-off "
        f"{day(pd.Timestamp(top['cutoff_date']))}, {counted(top['customers'], 'customer')}",
        f"{source} Whiskers: twice the standard deviation over the repeated shuffles.",
        height=2.3 + 0.33 * max(2, len(frame)),
    )
    axes = figure.subplots()
    _draw_importance(axes, frame)
    _only_rows(axes, names)
    return plot(
        figure,
        len(frame),
        model_name=str(top["model_name"]),
        measured_as_of=f"{as_of:%Y-%m-%d}",
        groups=len(frame),
        most_important=str(top["feature_group"]),
        deviance_increase_of_most_important=float(top["deviance_increase"]),
    )


@dataclass
class _Node:
    feature: str
    threshold: float
    mean: float
    customers: float
    depth: int
    height: float
    children: list["_Node"]

    def walk(self) -> Iterator["_Node"]:
        yield self
        for child in self.children:
            yield from child.walk()


def _whether_served(model_name: str, context: Context) -> str:
    if context.served == model_name:
        return "It is the served model"
    served = model_in_words(context.served) if context.served else "another model"
    return f"Predictions come from {served}, not from it"


def _not_fitted(model_name: str, fit: Fit, source: str) -> Plot:
    reason = f" Reason: {fit.abstention}." if fit.abstention else ""
    return words(
        f"{model_in_words(model_name)} has not been fitted as of {day(fit.as_of)}",
        f"It is fitted to past outcomes, of which there are too few so far.{reason}",
        source,
    )


def _coefficients_title(shown: pd.DataFrame) -> str:
    value, name = float(shown["coefficient"].iloc[0]), str(shown["feature"].iloc[0])
    if value == 0:
        return "No feature changes the regression's prediction: all coefficients are zero"
    verb, opposite = ("raises", "lowers") if value > 0 else ("lowers", "raises")
    title = f"“{feature_in_words(name)}” {verb} the regression's prediction most"
    other = shown[np.sign(shown["coefficient"]) == -np.sign(value)]
    if other.empty:
        return title
    return f"{title}, “{feature_in_words(str(other['feature'].iloc[0]))}” {opposite} it most"


def _importance_title(name: str, increase: float) -> str:
    if increase > 0:
        return f"With “{name}” shuffled, the deviance is {number(increase, '%')} higher"
    change = f"{number(-increase, '%')} lower" if increase < 0 else "the same"
    return (
        f"No group of features makes the predictions better: with “{name}” shuffled, the deviance "
        f"is {change}"
    )


def _draw_coefficients(axes: Axes, values: NDArray[np.float64]) -> None:
    colors = [MAIN if value >= 0 else ACCENT for value in values]
    axes.barh(range(len(values)), values, height=0.62, color=colors)
    axes.axvline(0, color=INK, linewidth=0.8)
    for row, value in enumerate(values):
        side, ink = ("right", MAIN) if value >= 0 else ("left", ACCENT_INK)
        label(axes, number(value, signed=True), (value, row), side, size=8.5, color=ink, bbox=None)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    room = 0.12 * ((high - low) or 1.0)
    axes.set_xlim(low - (room if low < 0 else 0.0), high + room)


def _draw_importance(axes: Axes, frame: pd.DataFrame) -> None:
    rows, values = np.arange(len(frame)), frame["deviance_increase"].to_numpy(float)
    spread = 2 * frame["deviance_increase_sd"].fillna(0.0).to_numpy(float)
    axes.barh(rows, values, height=0.62, color=MAIN)
    axes.errorbar(values, rows, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2.5)
    axes.axvline(0, color=INK, linewidth=0.8)
    for row, value, end in zip(rows, values, np.maximum(values + spread, 0.0), strict=True):
        label(axes, number(value, "%"), (end, row))


def _only_rows(axes: Axes, names: list[str]) -> None:
    name_rows(axes, [shortened(name, _LONGEST_NAME) for name in names])
    hide_scale(axes)


def _grown(terms: pd.DataFrame) -> _Node:
    """Return the root of the tree; a node's height is its position among the leaves, 0 on top."""
    numbers = ["term_number", "parent_number", "threshold", "mean_value", "customers"]
    frame = terms.assign(**{name: pd.to_numeric(terms[name]).astype(float) for name in numbers})
    # The branch "yes" has the smaller values and is drawn above "no".
    frame = frame.sort_values(["branch", "term_number"], ascending=[False, True])
    leaf = count(0.0)

    def grown(row: dict[Any, Any], depth: int) -> _Node:
        below = frame[frame["parent_number"] == row["term_number"]].to_dict("records")
        children = [grown(child, depth + 1) for child in below]
        heights = [child.height for child in children] or [next(leaf)]
        values = (
            row["threshold"],
            row["mean_value"],
            row["customers"],
            depth,
            float(np.mean(heights)),
        )
        return _Node(str(row["feature"]), *values, children)

    return grown(frame[frame["parent_number"].isna()].to_dict("records")[0], 0)


def _draw_tree(axes: Axes, tree: _Node, currency: str) -> None:
    leaves = [node for node in tree.walk() if not node.children]
    step = _BARS_FROM / max(1, *(node.depth for node in leaves))
    highest = max((node.mean for node in leaves), default=0.0) or 1.0
    axes.set(xlim=(0, WIDTH - 2 * MARGIN), ylim=(len(leaves) - 0.4, -1.0))
    axes.set_axis_off()
    axes.text(_BARS_FROM, -0.75, "Mean value, share of customers", color=QUIET_INK, size=9)
    for node in tree.walk():
        if node.children:
            _draw_question(axes, node, step, tree.customers, currency)
    lengths = [max(node.mean, 0.0) / highest * (_BARS_TO - _BARS_FROM) for node in leaves]
    heights = [node.height for node in leaves]
    axes.barh(heights, lengths, left=_BARS_FROM, height=0.55, color=MAIN)
    for node, length in zip(leaves, lengths, strict=True):
        part = number(node.customers / max(tree.customers, 1.0), "%")
        at = (_BARS_FROM + length, node.height)
        label(axes, f"{number(node.mean, currency)}, {part}", at, bbox=None)


def _draw_question(axes: Axes, node: _Node, step: float, total: float, currency: str) -> None:
    x = node.depth * step
    fork = x + 0.16
    for child, sign in zip(node.children, "≤>", strict=False):
        end = child.depth * step if child.children else _BARS_FROM - 0.08
        axes.plot(
            [fork, fork, end],
            [node.height, child.height, child.height],
            color=NEUTRAL,
            linewidth=1.0 + 7.0 * child.customers / total,
            solid_joinstyle="round",
            zorder=1,
        )
        text = f"{sign} {_limit(node.feature, node.threshold, currency)}"
        label(axes, text, (fork, child.height), size=8.5, zorder=3)
    most = int((step - 0.1) * _CHARACTERS_PER_INCH)
    name = shortened(feature_in_words(node.feature), most)
    label(axes, name, (max(x - 0.06, 0.0), node.height), size=8.5, weight="bold", zorder=4)


def _limit(feature: str, threshold: float, currency: str) -> str:
    """Return a threshold as text: a whole number for counts and days, money for amounts."""
    if re.search(r"amount|value", feature):
        return number(threshold, currency)
    if re.search(r"days|orders|months", feature):
        return f"{np.floor(threshold):,.0f}"
    return number(threshold)
