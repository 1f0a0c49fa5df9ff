"""Fitted decision trees as plain arrays: from scikit-learn, to JSON and back, and their sums.

A tree that was stored predicts what the fitted one did, without any code of scikit-learn. Growing
trees belongs to scikit-learn, what they mean to the models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retail_pipeline.clv.btyd import Array

_CHUNK_ROWS = 10_000
_FAR = 1e300
"""In place of an infinite threshold, which JSON does not know."""


@dataclass(frozen=True)
class Bins:
    """Cut points per feature, which turn its values into small whole numbers; NaN becomes -1.

    They are quantiles of the training rows, unweighted. Trees grown on the numbers are those grown
    on the values with thresholds at these points; weights do not slow the binning down.
    """

    edges: tuple[Array, ...]

    @classmethod
    def fit(cls, design: Array, bins: int = 48) -> Self:
        """Return quantile edges of every column."""
        shares = np.linspace(0, 1, bins + 1)[1:-1]
        known = [column[np.isfinite(column)] for column in design.T]
        return cls(tuple(np.unique(np.quantile(c, shares)) if len(c) else c for c in known))

    def code(self, design: Array) -> Array:
        """Return the design in bins, as floats."""
        coded = np.empty(design.shape)
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
        feature: Column that a node looks at.
        threshold: Values up to it go left.
        left: Child node.
        right: Child node.
        missing_left: Whether a missing value goes left.
        value: What a leaf says.
        depth: Steps from a root to the deepest leaf.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Array
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    value: Array
    depth: int

    @classmethod
    def of_boosting(cls, model: Any) -> Self:
        """Take the trees of a fitted HistGradientBoosting model; their values sum up."""
        parts = []
        for (tree,) in model._predictors:
            nodes = tree.nodes
            leaf = nodes["is_leaf"].astype(bool)
            parts.append(
                (
                    nodes["feature_idx"], nodes["num_threshold"], nodes["left"], nodes["right"],
                    nodes["missing_go_to_left"], nodes["value"], leaf,
                )
            )  # fmt: skip
        return cls._joined(parts)

    @classmethod
    def of_forest(cls, trees: Sequence[Any], leaf_values: Sequence[Array]) -> Self:
        """Take fitted DecisionTreeRegressors, with values of their nodes."""
        parts = []
        for tree, value in zip(trees, leaf_values, strict=True):
            t = tree.tree_
            leaf = t.children_left < 0
            missing = getattr(t, "missing_go_to_left", np.zeros(t.node_count))
            parts.append(
                (t.feature, t.threshold, t.children_left, t.children_right, missing, value, leaf)
            )
        return cls._joined(parts)

    @classmethod
    def _joined(cls, parts: list[tuple[Any, ...]]) -> Self:
        sizes = [len(part[0]) for part in parts]
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        columns: list[list[Any]] = [[] for _ in range(6)]
        for root, (feature, threshold, left, right, missing, value, leaf) in zip(
            roots, parts, strict=True
        ):
            own = root + np.arange(len(leaf))
            columns[0].append(np.where(leaf, 0, feature))
            columns[1].append(np.clip(np.where(leaf, 0.0, threshold), -_FAR, _FAR))
            columns[2].append(np.where(leaf, own, root + left.astype(np.int64)))
            columns[3].append(np.where(leaf, own, root + right.astype(np.int64)))
            columns[4].append(np.asarray(missing, bool))
            columns[5].append(np.asarray(value, float))
        feature, threshold, left, right, missing, value = map(np.concatenate, columns)
        return cls(
            roots,
            feature.astype(np.int64),
            threshold.astype(float),
            left,
            right,
            missing,
            value,
            _depth(roots, left, right),
        )

    def leaves(self, design: Array) -> NDArray[np.int64]:
        """Return the leaf of each row (rows) in each tree (columns)."""
        found = np.empty((len(design), len(self.roots)), dtype=np.int64)
        for start in range(0, len(design), _CHUNK_ROWS):
            part = design[start : start + _CHUNK_ROWS]
            rows = np.arange(len(part))[:, None]
            node = np.broadcast_to(self.roots, (len(part), len(self.roots)))
            for _ in range(self.depth):
                seen = part[rows, self.feature[node]]
                missing = np.isnan(seen)
                goes_left = np.where(missing, self.missing_left[node], seen <= self.threshold[node])
                node = np.where(goes_left, self.left[node], self.right[node])
            found[start : start + _CHUNK_ROWS] = node
        return found

    def sums(self, design: Array) -> Array:
        """Return the sum of the trees' values for each row."""
        return self.value[self.leaves(design)].sum(axis=1)

    def parameters(self) -> dict[str, Any]:
        """Return the arrays as JSON values."""
        arrays = ("roots", "feature", "threshold", "left", "right", "missing_left", "value")
        return {name: getattr(self, name).tolist() for name in arrays} | {"depth": self.depth}

    @classmethod
    def restore(cls, parameters: dict[str, Any]) -> Self:
        """Take over what `parameters` returned."""
        whole = ("roots", "feature", "left", "right")
        arrays: dict[str, Any] = {name: np.array(parameters[name], np.int64) for name in whole}
        arrays["missing_left"] = np.array(parameters["missing_left"], bool)
        for name in ("threshold", "value"):
            arrays[name] = np.array(parameters[name], float)
        return cls(**arrays, depth=int(parameters["depth"]))


def _depth(roots: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> int:
    """Return how many steps lead from the roots to the deepest leaf."""
    depth, nodes = 0, roots
    while True:
        inner = nodes[left[nodes] != nodes]
        if not len(inner):
            return depth
        nodes, depth = np.concatenate([left[inner], right[inner]]), depth + 1
