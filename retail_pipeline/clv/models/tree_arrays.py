"""Fitted decision trees as plain arrays: taken from scikit-learn, stored as JSON, evaluated.

A stored tree gives the predictions of the fitted one without scikit-learn. The trees are fitted in
`trees` and `boosted`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from retail_pipeline.clv.models.base import Array

_CHUNK_ROWS = 10_000
_FAR = 1e300
"""Stands for an infinite threshold, which JSON cannot hold."""


@dataclass(frozen=True)
class Bins:
    """Cut points per feature, which turn values into bin numbers; NaN becomes -1.

    They are unweighted quantiles of the training rows. Trees fitted to bin numbers equal trees
    fitted to the values with thresholds at the cut points.
    """

    edges: tuple[Array, ...]

    @classmethod
    def fit(cls, design: Array, bins: int = 48) -> Self:
        """Return bins with the quantiles of every column as cut points."""
        shares = np.linspace(0, 1, bins + 1)[1:-1]
        known = [column[np.isfinite(column)] for column in design.T]
        return cls(tuple(np.unique(np.quantile(c, shares)) if len(c) else c for c in known))

    def parameters(self) -> list[list[float]]:
        """Return the cut points as JSON values."""
        return [edges.tolist() for edges in self.edges]

    @classmethod
    def restore(cls, edges: list[list[float]]) -> Self:
        """Return the bins with the cut points that `parameters` returned."""
        return cls(tuple(np.array(own, float) for own in edges))

    def code(self, design: Array) -> Array:
        """Return the bin number of every value in a design matrix, as floats."""
        coded = np.empty(design.shape, order="F")  # it is read by columns
        for number, edges in enumerate(self.edges):
            column = design[:, number]
            missing = np.isnan(column)
            coded[:, number] = np.where(missing, -1, np.searchsorted(edges, column))
        return coded


@dataclass(frozen=True)
class Trees:
    """Trees in one list of nodes. A leaf's children are the leaf itself.

    Attributes:
        roots: The node where each tree starts.
        feature: The column that a node splits by.
        threshold: Values up to it go to the left child.
        left: Left child of a node.
        right: Right child of a node.
        missing_left: Whether a missing value goes to the left child.
        value: Value of a leaf.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Array
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    value: Array

    @classmethod
    def of_boosting(cls, model: Any) -> Self:
        """Return the trees of a fitted HistGradientBoosting model, whose values add up."""
        nodes = [tree.nodes for (tree,) in model._predictors]
        return cls._joined(
            [
                {
                    "feature": tree["feature_idx"],
                    "threshold": tree["num_threshold"],
                    "left": np.where(tree["is_leaf"], -1, tree["left"].astype(np.int64)),
                    "right": tree["right"],
                    "missing_left": tree["missing_go_to_left"],
                    "value": tree["value"],
                }
                for tree in nodes
            ]
        )

    @classmethod
    def of_forest(cls, trees: Sequence[Any]) -> Self:
        """Return the trees of fitted DecisionTreeRegressors."""
        return cls._joined(
            [
                {
                    "feature": tree.feature,
                    "threshold": tree.threshold,
                    "left": tree.children_left,
                    "right": tree.children_right,
                    "missing_left": tree.missing_go_to_left,
                    "value": tree.value[:, 0, 0],
                }
                for tree in (fitted.tree_ for fitted in trees)
            ]
        )

    @classmethod
    def _joined(cls, trees: list[dict[str, Any]]) -> Self:
        """Return trees as one list of nodes; a node with a negative left child is a leaf."""
        sizes = [len(tree["left"]) for tree in trees]
        roots = np.cumsum([0, *sizes[:-1]])
        nodes = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
        own, root = np.arange(sum(sizes)), np.repeat(roots, sizes)
        is_leaf = nodes["left"] < 0
        threshold = np.where(is_leaf, 0.0, nodes["threshold"])
        return cls.restore(
            {
                **nodes,
                "roots": roots,
                "feature": np.where(is_leaf, 0, nodes["feature"]),
                "threshold": np.clip(threshold, -_FAR, _FAR),
                "left": np.where(is_leaf, own, root + nodes["left"]),
                "right": np.where(is_leaf, own, root + nodes["right"].astype(np.int64)),
            }
        )

    def leaves(self, design: Array) -> NDArray[np.int64]:
        """Return the leaf of each row (rows) in each tree (columns)."""
        found = np.empty((len(design), len(self.roots)), dtype=np.int64)
        for start in range(0, len(design), _CHUNK_ROWS):
            part = _Columns(design[start : start + _CHUNK_ROWS])
            for number, root in enumerate(self.roots):
                found[start : start + _CHUNK_ROWS, number] = self._follow(part, root, _itself)
        return found

    def sums(self, design: Array) -> Array:
        """Return the sum of the trees' values for each row."""
        total = np.zeros(len(design))
        for start in range(0, len(design), _CHUNK_ROWS):
            part = _Columns(design[start : start + _CHUNK_ROWS])
            for root in self.roots:
                total[start : start + _CHUNK_ROWS] += self._follow(part, root, self.value.item)
        return total

    def _follow(self, rows: "_Columns", node: int, leaf: Callable[[int], float]) -> Any:
        """Return `leaf` of the leaf below a node that each row reaches.

        Each node evaluates its split for all rows at once, also for rows that do not reach it.
        """
        left, right = int(self.left[node]), int(self.right[node])
        if left == node:
            return leaf(int(node))
        column = int(self.feature[node])
        goes_left = rows.values[column] <= self.threshold[node]
        if self.missing_left[node] and rows.missing[column] is not None:
            goes_left |= rows.missing[column]
        return np.where(goes_left, self._follow(rows, left, leaf), self._follow(rows, right, leaf))

    def parameters(self) -> dict[str, Any]:
        """Return the arrays as JSON values."""
        return {name: getattr(self, name).tolist() for name in _KINDS}

    @classmethod
    def restore(cls, parameters: dict[str, Any]) -> Self:
        """Return the trees with the arrays that `parameters` returned."""
        return cls(**{name: np.array(parameters[name], kind) for name, kind in _KINDS.items()})


_KINDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("roots", "feature", "left", "right"), np.int64),
    "missing_left": bool,
    **dict.fromkeys(("threshold", "value"), float),
}


class _Columns:
    """A design matrix by columns, with a mask of missing values (None if none is missing)."""

    def __init__(self, design: Array) -> None:
        self.values = np.ascontiguousarray(design.T)
        missing = np.isnan(self.values)
        self.missing = [column if column.any() else None for column in missing]


def _itself(node: int) -> int:
    return node
