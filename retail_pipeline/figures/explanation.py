"""What models say: the regression's coefficients, the tree, the importance of features."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from retail_pipeline.figures.queries import Context, Fit, Importance
from retail_pipeline.figures.style import (
    ACCENT,
    ACCENT_INK,
    INK,
    MAIN,
    MARGIN,
    NEUTRAL,
    QUIET_INK,
    WIDTH,
    Plot,
    counted,
    day,
    in_house_style,
    label,
    model_in_words,
    name_rows,
    number,
    page,
    shortened,
    words,
)

_MOST_TERMS = 24
_LONGEST_NAME = 38

_IN_WORDS = {
    "recency_days": "days since purchase",
    "age_days": "days since first purchase",
    "purchase_days": "purchases",
    "total_net_amount": "net amount",
    "mean_purchase_value": "mean purchase",
    "max_purchase_value": "largest purchase",
    "net_amount_ewm": "recent net amount",
    "active_months": "months with a purchase",
    "distinct_products": "products bought",
    "yearly_rate": "purchases a year",
    "orders_ahead": "expected purchases",
    "value_ahead": "expected value",
    "silence": "silence against age",
}
_SCALES = {"log_": "log of ", "sqrt_": "root of "}


def feature_in_words(name: str) -> str:
    """Return a feature's name in words: `net_amount_90d` is `net amount, 90 days`."""
    for prefix, scale in _SCALES.items():
        if name.startswith(prefix):
            return scale + feature_in_words(name.removeprefix(prefix))
    found = re.fullmatch(r"(.+)_(\d+)d", name)
    stem, days = (found[1], f", {found[2]} days") if found else (name, "")
    return _IN_WORDS.get(stem, stem.replace("_", " ")) + days


@in_house_style
def coefficients(fit: Fit, context: Context) -> Plot:
    """Draw what one standard deviation of each feature adds to the regression's root of value.

    Args:
        fit: `feature, coefficient` of the linear regression, the intercept among them.
        context: Of the run.
    """
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
        "What one standard deviation more of a feature adds to the root of the predicted value of "
        f"{counted(context.horizon_days, 'day')}, the others held fixed. "
        f"{model_in_words('linear_regression')}, {counted(len(frame), 'feature')}",
        f"{source} Features that say nearly the same share their effect, and may have opposite "
        f"signs: no single coefficient is a cause.{rest}",
        height=2.4 + 0.25 * max(3, len(shown)),
    )
    axes = figure.subplots()
    _draw_coefficients(axes, shown["coefficient"].to_numpy(float))
    _only_rows(axes, [feature_in_words(str(name)) for name in shown["feature"]])
    return Plot(
        figure,
        {
            "fitted_as_of": fit.as_of.isoformat(),
            "features": len(frame),
            "largest": str(shown["feature"].iloc[0]),
            "largest_coefficient": float(shown["coefficient"].iloc[0]),
        },
        rows=len(shown),
    )


@in_house_style
def decision_tree(fit: Fit, context: Context) -> Plot:
    """Draw the tree from its root on the left to the groups of customers that it ends in.

    Args:
        fit: `term_number, feature, parent_number, branch` ("yes" at most the threshold, "no"
            above), `threshold, mean_value, customers`, a row per node.
        context: Of the run.
    """
    source = f"Source: clv.model_terms as of {day(fit.as_of)}."
    if not context.currency:
        source += " The data name no single currency: amounts are as given."
    if fit.terms.empty:
        return _not_fitted("decision_tree", fit, source)
    tree = _grown(fit.terms)
    leaves = [node for node in tree.values() if not node.children]
    best = max(leaves, key=lambda node: node.mean)
    part = best.customers / max(tree[_root(tree)].customers, 1)
    figure = page(
        f"The tree's best group, {number(part, '%')} of customers, spends "
        f"{number(best.mean, context.currency)} each",
        "Questions from left to right, the upper branch for the smaller values; the bars are the "
        f"mean net revenue of {counted(context.horizon_days, 'day')} of the past customers in each "
        f"group. {counted(len(leaves), 'group')}",
        f"{source} Customers are counted once per past cut-off of the training sample. Thick lines "
        "stand for many customers.",
        height=2.5 + 0.34 * max(4, len(leaves)),
    )
    _draw_tree(figure.subplots(), tree, context.currency)
    return Plot(
        figure,
        {
            "fitted_as_of": fit.as_of.isoformat(),
            "groups": len(leaves),
            "depth": max(node.depth for node in leaves),
            "best_group_mean_value": best.mean,
            "best_group_share_of_customers": part,
        },
        rows=len(tree),
    )


@in_house_style
def feature_importance(importance: Importance, context: Context) -> Plot:
    """Draw how much worse the served kind of model predicts with a group of features shuffled.

    Args:
        importance: Of each group of features.
        context: Of the run.
    """
    source = f"Source: clv.feature_importance as of {day(importance.as_of)}."
    frame = importance.frame.dropna(subset=["deviance_increase"])
    if frame.empty:
        return words(
            "The importance of features is not known yet",
            "Nothing has been measured: that takes a past cut-off whose outcome of "
            f"{counted(context.horizon_days, 'day')} is complete and differs by prediction.",
            source,
        )
    frame = frame.sort_values("deviance_increase", ascending=False).reset_index(drop=True)
    top, names = frame.iloc[0], [str(name).replace("_", " ") for name in frame["feature_group"]]
    figure = page(
        _importance_title(names[0], float(top["deviance_increase"])),
        "By how much the Tweedie deviance grows when a group of features is shuffled among "
        f"customers. {model_in_words(str(top['model_name']))}, cut-off "
        f"{day(pd.Timestamp(top['cutoff_date']))}, {counted(top['customers'], 'customer')}",
        f"{source} Whiskers: twice the standard deviation over the repeated shuffles.",
        height=2.3 + 0.33 * max(2, len(frame)),
    )
    axes = figure.subplots()
    _draw_importance(axes, frame)
    _only_rows(axes, names)
    return Plot(
        figure,
        {
            "model_name": str(top["model_name"]),
            "measured_as_of": importance.as_of.isoformat(),
            "groups": len(frame),
            "most_important": str(top["feature_group"]),
            "deviance_increase_of_most_important": float(top["deviance_increase"]),
        },
        rows=len(frame),
    )


@dataclass
class _Node:
    feature: str | None
    threshold: float
    mean: float
    customers: float
    children: list[int]
    depth: int = 0
    height: float = 0.0


def _not_fitted(model_name: str, fit: Fit, source: str) -> Plot:
    reason = f" Its reason: {fit.abstention}." if fit.abstention else ""
    return words(
        f"{model_in_words(model_name)} has not been fitted as of {day(fit.as_of)}",
        f"It is fitted to past outcomes, and there are too few so far.{reason}",
        source,
    )


def _coefficients_title(shown: pd.DataFrame) -> str:
    value, name = float(shown["coefficient"].iloc[0]), str(shown["feature"].iloc[0])
    if value == 0:
        return "No feature moves the regression's prediction: all coefficients are zero"
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
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _grown(terms: pd.DataFrame) -> dict[int, _Node]:
    """Return the nodes by number, with their children (yes first), depths and places."""
    numbers = ["threshold", "mean_value", "customers"]
    frame = terms.sort_values("term_number")
    frame = frame.assign(**{name: pd.to_numeric(frame[name]).astype(float) for name in numbers})
    tree = {
        int(row["term_number"]): _Node(
            None if pd.isna(row["feature"]) else str(row["feature"]),
            float(row["threshold"]),
            float(row["mean_value"]),
            float(row["customers"]),
            [],
        )
        for row in frame.to_dict("records")
    }
    for branch in ("yes", "no"):
        chosen = frame[frame["branch"] == branch]
        for place, parent in zip(chosen["term_number"], chosen["parent_number"], strict=True):
            tree[int(parent)].children.append(int(place))
    _place(tree, _root(tree), 0, 0)
    return tree


def _root(tree: Mapping[int, _Node]) -> int:
    below = {child for node in tree.values() for child in node.children}
    return next(place for place in sorted(tree) if place not in below)


def _place(tree: dict[int, _Node], place: int, depth: int, leaves: int) -> int:
    """Set depths, and heights in leaves from the top; return how many leaves are placed."""
    node = tree[place]
    node.depth = depth
    for child in node.children:
        leaves = _place(tree, child, depth + 1, leaves)
    if node.children:
        node.height = sum(tree[child].height for child in node.children) / len(node.children)
        return leaves
    node.height = float(leaves)
    return leaves + 1


_BARS_FROM, _BARS_TO = 7.2, 8.4
"""Inches of the page: the tree on the left, then the groups' bars and their words."""

_CHARACTERS_PER_INCH = 12.5
"""Of bold type of 8.5 points."""


def _draw_tree(axes: Axes, tree: dict[int, _Node], currency: str) -> None:
    leaves = [node for node in tree.values() if not node.children]
    step = _BARS_FROM / max(1, *(node.depth for node in leaves))
    total = max(tree[_root(tree)].customers, 1.0)
    highest = max((node.mean for node in leaves), default=0.0) or 1.0
    axes.set(xlim=(0, WIDTH - 2 * MARGIN), ylim=(len(leaves) - 0.4, -1.0))
    axes.set_axis_off()
    axes.text(_BARS_FROM, -0.75, "Mean value, share of customers", color=QUIET_INK, size=9)
    for node in tree.values():
        if node.children:
            _draw_question(axes, tree, node, step, total, currency)
            continue
        length = max(node.mean, 0.0) / highest * (_BARS_TO - _BARS_FROM)
        axes.barh(node.height, length, left=_BARS_FROM, height=0.55, color=MAIN)
        text = f"{number(node.mean, currency)}, {number(node.customers / total, '%')}"
        label(axes, text, (_BARS_FROM + length, node.height), bbox=None)


def _draw_question(
    axes: Axes, tree: dict[int, _Node], node: _Node, step: float, total: float, currency: str
) -> None:
    x = node.depth * step
    fork, name = x + 0.16, str(node.feature)
    for child, sign in zip((tree[place] for place in node.children), "≤>", strict=False):
        end = child.depth * step if child.children else _BARS_FROM - 0.08
        axes.plot(
            [fork, fork, end],
            [node.height, child.height, child.height],
            color=NEUTRAL,
            linewidth=1.0 + 7.0 * child.customers / total,
            solid_joinstyle="round",
            zorder=1,
        )
        text = f"{sign} {_limit(name, node.threshold, currency)}"
        label(axes, text, (fork, child.height), size=8.5, zorder=3)
    text = shortened(feature_in_words(name), int((step - 0.1) * _CHARACTERS_PER_INCH))
    label(axes, text, (max(x - 0.06, 0.0), node.height), size=8.5, weight="bold", zorder=4)


def _limit(feature: str, threshold: float, currency: str) -> str:
    """Return a threshold as people read it: whole for counts and days, money for amounts."""
    if re.search(r"amount|value", feature):
        return number(threshold, currency)
    if re.search(r"days|orders|months", feature):
        return f"{np.floor(threshold):,.0f}"
    return number(threshold)
