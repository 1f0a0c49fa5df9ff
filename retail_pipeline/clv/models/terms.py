"""Interpretable terms of models as rows: coefficients of the regression, nodes of the tree.

They follow from a version's stored parameters and are published as `clv.model_terms`.
"""

from typing import Any, Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.data import features
from retail_pipeline.clv.models.base import ValueModel
from retail_pipeline.clv.models.linear import LinearRegression
from retail_pipeline.clv.models.trees import DecisionTree

TERM_COLUMNS: Final = [
    "term_number",
    "feature",
    "coefficient",
    "parent_number",
    "branch",
    "threshold",
    "mean_value",
    "customers",
]


def terms(model: ValueModel) -> pd.DataFrame:
    """Return an interpretable model's terms in order; no rows for another model.

    Returns:
        `TERM_COLUMNS`. The regression has a row per feature: `coefficient` is the change of the
        root of value for one standard deviation, before the common factor; term 0 is the
        intercept. The tree has a row per node, parents first: customers whose `feature` is at most
        `threshold` go to the child with `branch` "yes", the others to "no". `feature` and
        `threshold` are null at a leaf, `parent_number` and `branch` at the root. `mean_value` is
        the mean outcome of the `customers` (past rows) in the node.
    """
    if isinstance(model, LinearRegression):
        rows = _coefficients(model.parameters())
    elif isinstance(model, DecisionTree):
        rows = _nodes(model.parameters())
    else:
        rows = []
    return pd.DataFrame(rows, columns=TERM_COLUMNS)


def _coefficients(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    names = ["intercept", *parameters["features"]]
    values = [parameters["intercepts"][0], *parameters["coefficients"][0]]
    return [
        {"term_number": number, "feature": name, "coefficient": float(value)}
        for number, (name, value) in enumerate(zip(names, values, strict=True))
    ]


def _nodes(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    trees, names = parameters["trees"], parameters["features"]
    rows = np.array(parameters["rows"], float)
    value = rows * np.array(parameters["means"], float)[:, 0]
    left, right = trees["left"], trees["right"]
    inner = [node for node in range(len(left)) if left[node] != node]
    parents: dict[int, tuple[int | None, str | None]] = {}
    for node in reversed(inner):  # children come after their parents
        for branch, child in (("yes", left[node]), ("no", right[node])):
            parents[child] = (node, branch)
            rows[node] += rows[child]
            value[node] += value[child]
    found = []
    for node in range(len(left)):
        parent, side = parents.get(node, (None, None))
        splits = left[node] != node
        name = names[trees["feature"][node]]
        unit = parameters["unit"] if name in features.MONEY else 1.0
        found.append(
            {
                "term_number": node,
                "feature": name if splits else None,
                "parent_number": parent,
                "branch": side,
                "threshold": unit * float(trees["threshold"][node]) if splits else None,
                "mean_value": float(value[node] / max(rows[node], 1)),
                "customers": int(rows[node]),
            }
        )
    return found
