"""What models say: the regression's coefficients, the tree, which features matter.

Pure: frames in, figures out; no reading, no Dagster. Nothing is fitted here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retail_pipeline.figures.page import (
    WIDTH,
    page,
    room_for,
    shortened,
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
    counted,
    day,
    in_house_style,
    money,
    readable,
    share,
    three_digits,
    unit,
)

_MOST_TERMS = 24
_LONGEST_NAME = 2.9

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
    "orders_ahead": "purchases to expect",
    "value_ahead": "value to expect",
    "silence": "silence against age",
}
_SCALES = {"log_": "log of ", "sqrt_": "root of "}


def feature_in_words(name: str) -> str:
    """Return what a feature's column is called: `net_amount_90d` is `net amount, 90 days`."""
    for prefix, scale in _SCALES.items():
        if name.startswith(prefix):
            return scale + feature_in_words(name.removeprefix(prefix))
    found = re.fullmatch(r"(.+)_(\d+)d", name)
    stem, days = (found[1], f", {found[2]} days") if found else (name, "")
    return _IN_WORDS.get(stem, stem.replace("_", " ")) + days


@in_house_style
def coefficients(
    terms: pd.DataFrame, *, as_of: date, horizon_days: int, abstention: str | None = None
) -> Plot:
    """Draw what one standard deviation of each feature adds to the regression's root of value.

    Args:
        terms: `feature, coefficient`, the intercept among them, of one version of the model.
        as_of: The date that the model was fitted for, or was last tried for.
        horizon_days: Days ahead whose value it predicts.
        abstention: Why the model could not be fitted, for the sentence where there are no terms.
    """
    source = f"Source: clv.model_terms as of {day(as_of)}."
    frame = terms[terms["feature"].notna() & (terms["feature"] != "intercept")]
    frame = frame.assign(coefficient=pd.to_numeric(frame["coefficient"]).astype(float))
    frame = frame[np.isfinite(frame["coefficient"])]
    if frame.empty:
        return _not_fitted("linear_regression", abstention, as_of, source)
    order = frame["coefficient"].abs().sort_values(ascending=False, kind="stable").index
    shown = frame.loc[order].head(_MOST_TERMS)
    left_out = len(frame) - len(shown)
    names = [
        shortened(feature_in_words(str(name)), _LONGEST_NAME, 9.5) for name in shown["feature"]
    ]
    rest = f" Not drawn: {counted(left_out, 'smaller one')}." if left_out else ""
    sheet = page(
        _coefficients_title(shown),
        "What one standard deviation more of a feature adds to the root of the predicted value of "
        f"{counted(horizon_days, 'day')}, the others held fixed. "
        f"{readable('linear_regression')}, {counted(len(frame), 'feature')}",
        f"{source} Features that say nearly the same share their effect, and may bear opposite "
        f"signs: no single coefficient is a cause.{rest}",
        height=2.4 + 0.25 * max(3, len(shown)),
    )
    axes = sheet.panels(left=room_for(names), right=0.2, below=0.1, above=0.1)[0]
    _draw_coefficients(axes, shown["coefficient"].to_numpy(float), names)
    return Plot(
        sheet.figure,
        {
            "fitted_as_of": as_of.isoformat(),
            "features": len(frame),
            "largest": str(shown["feature"].iloc[0]),
            "largest_coefficient": float(shown["coefficient"].iloc[0]),
        },
        rows=len(shown),
    )


@in_house_style
def decision_tree(
    terms: pd.DataFrame,
    *,
    currency: str,
    as_of: date,
    horizon_days: int,
    abstention: str | None = None,
) -> Plot:
    """Draw the tree from its root on the left to the groups of customers that it ends in.

    Args:
        terms: `term_number, feature, parent_number, branch` ("yes" at most the threshold, "no"
            above), `threshold, mean_value, customers`, a row per node of one version.
        currency: ISO code of the amounts, or empty.
        as_of: The date that the model was fitted for, or was last tried for.
        horizon_days: Days ahead whose value it predicts.
        abstention: Why the model could not be fitted, for the sentence where there are no nodes.
    """
    source = f"Source: clv.model_terms as of {day(as_of)}.{unit(currency)}"
    if terms.empty:
        return _not_fitted("decision_tree", abstention, as_of, source)
    tree = _grown(terms)
    leaves = [node for node in tree.values() if not node.children]
    best = max(leaves, key=lambda node: node.mean)
    total = max(tree[_root(tree)].customers, 1)
    sheet = page(
        f"The tree's best group, {share(best.customers / total)} of customers, is worth "
        f"{money(best.mean, currency)} each",
        f"Questions from left to right, the upper branch for the smaller values; the bars are the "
        f"mean net revenue of {counted(horizon_days, 'day')} of the past customers in each group. "
        f"{counted(len(leaves), 'group')}",
        f"{source} Customers are counted once per past cut-off that the tree learned from. Thick "
        "lines bear many customers.",
        height=2.5 + 0.34 * max(4, len(leaves)),
    )
    axes = sheet.panels(left=0.0, right=0.0, below=0.0, above=0.25)[0]
    _draw_tree(axes, tree, currency)
    return Plot(
        sheet.figure,
        {
            "fitted_as_of": as_of.isoformat(),
            "groups": len(leaves),
            "depth": max(node.depth for node in leaves),
            "best_group_mean_value": best.mean,
            "best_group_share_of_customers": best.customers / total,
        },
        rows=len(tree),
    )


@in_house_style
def feature_importance(importance: pd.DataFrame, *, as_of: date, horizon_days: int) -> Plot:
    """Draw how much worse the served kind of model predicts without each group of features.

    Args:
        importance: `feature_group, deviance_increase, deviance_increase_sd, model_name,
            cutoff_date, customers`, a row per group; the increase is a share of the deviance.
        as_of: The date that it was measured for.
        horizon_days: Days after the cut-off whose value was predicted.
    """
    source = f"Source: clv.feature_importance as of {day(as_of)}."
    frame = importance.dropna(subset=["deviance_increase"])
    if frame.empty:
        return words(
            "It cannot be told yet which features matter",
            [
                "Nothing has been measured: that takes a past cut-off whose outcome of "
                f"{counted(horizon_days, 'day')} is complete and tells one prediction from another."
            ],
            source,
        )
    frame = frame.sort_values("deviance_increase", ascending=False).reset_index(drop=True)
    top, names = frame.iloc[0], [str(name).replace("_", " ") for name in frame["feature_group"]]
    names = [shortened(name, _LONGEST_NAME, 9.5) for name in names]
    sheet = page(
        _importance_title(names[0], float(top["deviance_increase"])),
        "By how much the Tweedie deviance grows when a group of features is shuffled among "
        f"customers. {readable(str(top['model_name']))}, cut-off "
        f"{day(pd.Timestamp(top['cutoff_date']))}, {counted(top['customers'], 'customer')}",
        f"{source} Whiskers: twice the standard deviation over the repeated shuffles.",
        height=2.3 + 0.33 * max(2, len(frame)),
    )
    axes = sheet.panels(left=room_for(names), right=0.6, below=0.1, above=0.1)[0]
    _draw_importance(axes, frame, names)
    return Plot(
        sheet.figure,
        {
            "model_name": str(top["model_name"]),
            "measured_as_of": as_of.isoformat(),
            "groups": len(frame),
            "most_important": str(top["feature_group"]),
            "deviance_increase_of_most_important": float(top["deviance_increase"]),
        },
        rows=len(frame),
    )


@dataclass
class _Node:
    number: int
    feature: str | None
    threshold: float
    mean: float
    customers: float
    children: list[int]
    depth: int = 0
    height: float = 0.0


def _not_fitted(model_name: str, abstention: str | None, as_of: date, source: str) -> Plot:
    reason = f" It says: {abstention}." if abstention else ""
    return words(
        f"{readable(model_name)} has not been fitted as of {day(as_of)}",
        [f"It learns from past outcomes, and there are too few so far.{reason}"],
        source,
    )


def _coefficients_title(shown: pd.DataFrame) -> str:
    value, name = float(shown["coefficient"].iloc[0]), str(shown["feature"].iloc[0])
    if value == 0:
        return "No feature moves the regression's prediction: all coefficients are zero"
    verb = "raises" if value > 0 else "lowers"
    title = f"“{feature_in_words(name)}” {verb} the regression's prediction most"
    other = shown[np.sign(shown["coefficient"]) == -np.sign(value)]
    if other.empty:
        return title
    against = "lowers" if value > 0 else "raises"
    return f"{title}, “{feature_in_words(str(other['feature'].iloc[0]))}” {against} it most"


def _importance_title(name: str, increase: float) -> str:
    """Tell of the most important group; what is shuffled without loss makes nothing better."""
    if increase > 0:
        return f"Without “{name}”, the deviance is {share(increase)} higher"
    change = f"{share(-increase)} lower" if increase < 0 else "the same"
    return (
        f"No group of features makes the predictions better: without “{name}”, the deviance is "
        f"{change}"
    )


def _draw_coefficients(axes: Axes, values: np.ndarray, names: list[str]) -> None:
    rows = np.arange(len(values))
    colours = [MAIN if value >= 0 else ACCENT for value in values]
    axes.barh(rows, values, height=0.62, color=colours)
    axes.axvline(0, color=INK, linewidth=0.8)
    for row, value in zip(rows, values, strict=True):
        axes.annotate(
            f"{'+' if value > 0 else ''}{three_digits(value)}",
            (value, row),
            xytext=(4 if value >= 0 else -4, 0),
            textcoords="offset points",
            ha="left" if value >= 0 else "right",
            va="center",
            size=8.5,
            color=MAIN if value >= 0 else ACCENT_INK,
        )
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    room = 0.12 * ((high - low) or 1.0)
    axes.set_xlim(low - (room if low < 0 else 0.0), high + room)
    _only_rows(axes, names)


def _draw_importance(axes: Axes, frame: pd.DataFrame, names: list[str]) -> None:
    rows, values = np.arange(len(frame)), frame["deviance_increase"].to_numpy(float)
    spread = 2 * frame["deviance_increase_sd"].fillna(0.0).to_numpy(float)
    axes.barh(rows, values, height=0.62, color=MAIN)
    axes.errorbar(values, rows, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2.5)
    axes.axvline(0, color=INK, linewidth=0.8)
    for row, value, reach in zip(rows, values, spread, strict=True):
        axes.annotate(
            share(value),
            (max(value + reach, 0.0), row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            size=9,
        )
    _only_rows(axes, names)


def _only_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        label.set_color(INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _grown(terms: pd.DataFrame) -> dict[int, _Node]:
    """Return the nodes by number, with their children (yes first), depths and places."""
    numbers = ["threshold", "mean_value", "customers"]
    frame = terms.sort_values("term_number")
    frame = frame.assign(**{name: pd.to_numeric(frame[name]).astype(float) for name in numbers})
    tree = {
        int(row["term_number"]): _Node(
            int(row["term_number"]),
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
        for number, parent in zip(chosen["term_number"], chosen["parent_number"], strict=True):
            tree[int(parent)].children.append(int(number))
    _place(tree, _root(tree), 0, 0)
    return tree


def _root(tree: Mapping[int, _Node]) -> int:
    below = {child for node in tree.values() for child in node.children}
    return next(number for number in sorted(tree) if number not in below)


def _place(tree: dict[int, _Node], number: int, depth: int, leaves: int) -> int:
    """Set depths, and heights in leaves from the top; return how many leaves are placed."""
    node = tree[number]
    node.depth = depth
    for child in node.children:
        leaves = _place(tree, child, depth + 1, leaves)
    if node.children:
        node.height = sum(tree[child].height for child in node.children) / len(node.children)
        return leaves
    node.height = float(leaves)
    return leaves + 1


_BARS_FROM, _BARS_TO = 7.2, 8.5
"""Inches on a page 9.4 wide: the tree on the left, then the groups' bars and their words."""


def _draw_tree(axes: Axes, tree: dict[int, _Node], currency: str) -> None:
    leaves = [node for node in tree.values() if not node.children]
    deepest = max(node.depth for node in leaves)
    step = _BARS_FROM / max(deepest, 1)
    total = max(tree[_root(tree)].customers, 1.0)
    highest = max((node.mean for node in leaves), default=0.0) or 1.0
    axes.set(xlim=(0, WIDTH - 0.6), ylim=(len(leaves) - 0.4, -0.6))
    axes.set_axis_off()
    axes.text(_BARS_FROM, -0.75, "Mean value, share of customers", color=QUIET_INK, size=9)
    for node in tree.values():
        if node.children:
            _draw_question(axes, tree, node, step, total, currency)
        else:
            _draw_group(axes, node, highest, total, currency)


def _draw_question(
    axes: Axes, tree: dict[int, _Node], node: _Node, step: float, total: float, currency: str
) -> None:
    x = node.depth * step
    fork = x + 0.16
    for child, sign in zip((tree[number] for number in node.children), "≤>", strict=False):
        end = child.depth * step if child.children else _BARS_FROM - 0.08
        axes.plot(
            [fork, fork, end],
            [node.height, child.height, child.height],
            color=NEUTRAL,
            linewidth=1.0 + 7.0 * child.customers / total,
            solid_joinstyle="round",
            zorder=1,
        )
        axes.text(
            fork + 0.1,
            child.height,
            f"{sign} {_limit(str(node.feature), node.threshold, currency)}",
            size=8.5,
            color=INK,
            va="center",
            zorder=3,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
        )
    axes.text(
        x + 0.02,
        node.height,
        shortened(feature_in_words(str(node.feature)), step - 0.06, 8.5, weight="bold"),
        size=8.5,
        weight="bold",
        va="center",
        zorder=4,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.9},
    )


def _draw_group(axes: Axes, node: _Node, highest: float, total: float, currency: str) -> None:
    length = max(node.mean, 0.0) / highest * (_BARS_TO - _BARS_FROM)
    axes.barh(node.height, length, left=_BARS_FROM, height=0.55, color=MAIN)
    axes.text(
        _BARS_FROM + length + 0.06,
        node.height,
        f"{money(node.mean, currency)}, {share(node.customers / total)}",
        size=9,
        va="center",
    )


def _limit(feature: str, threshold: float, currency: str) -> str:
    """Return a threshold as people read it: whole for counts and days, money for amounts."""
    if re.search(r"amount|value", feature):
        return money(threshold, currency)
    return (
        f"{np.floor(threshold):,.0f}"
        if re.search(r"days|orders|months", feature)
        else (three_digits(threshold))
    )
