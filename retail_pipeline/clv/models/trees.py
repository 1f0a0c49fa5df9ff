"""Tree models fitted to past outcomes: one tree, a forest, boosting in two parts.

The boosting that corrects Pareto/NBD is in `boosted`; fitted trees as arrays are in `tree_arrays`.
"""

from abc import abstractmethod
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeRegressor

from retail_pipeline.clv.data import features
from retail_pipeline.clv.models.base import (
    AbstainError,
    Array,
    ValueModel,
    past_outcomes,
    predictions,
    unit_of_money,
)
from retail_pipeline.clv.models.tree_arrays import (
    Bins,
    Trees,
)

_SEED: Final = 20_231


def matrix(frame: pd.DataFrame, names: tuple[str, ...], unit: float = 1.0) -> Array:
    """Return columns as an array of numbers; NaN for nulls and missing columns.

    Args:
        frame: Feature rows.
        names: The columns.
        unit: Divisor of money columns.
    """
    scale = np.array([unit if name in features.MONEY else 1.0 for name in names])
    return frame.reindex(columns=list(names)).to_numpy(float) / scale


def thinned(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most `most` rows, evenly spaced in the order of the frame."""
    if len(frame) <= most:
        return frame
    return frame.iloc[np.linspace(0, len(frame) - 1, most).astype(int)]


def fewest_per_leaf(rows: int, share: float, least: int) -> int:
    """Return the minimum number of rows per leaf: a share of the rows, at least `least`."""
    return max(least, int(rows * share))


class _LeafMeans(ValueModel):
    """Base class of trees whose leaves hold the mean value, orders and activity of past rows."""

    MOST_ROWS: ClassVar[int]
    columns: ClassVar[tuple[str, ...]]

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit to a thinned set of the rows with outcomes.

        Raises:
            AbstainError: Too few rows have a complete outcome, or all outcomes are 0.
        """
        known = thinned(past_outcomes(frame), self.MOST_ROWS)
        self.training_rows_ = len(known)
        self.unit_ = unit_of_money(known)
        design = matrix(known, self.columns, self.unit_)
        orders = known["future_orders"].to_numpy(float)
        value = known["future_value"].to_numpy(float)
        if not (value > 0).any():
            raise AbstainError(
                f"none of the {len(known)} past customers in the fit bought within the horizon"
            )
        grown = self._grow(design, single(value / self.unit_))
        self.trees_ = Trees.of_forest(grown)
        leaves = self.trees_.leaves(single(design))
        self.rows_ = np.bincount(leaves.ravel(), minlength=len(self.trees_.left))
        self.means_ = np.column_stack(
            [self._leaf_means(leaves, target) for target in (value, orders, np.sign(orders))]
        )
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the leaf means, averaged over the trees."""
        leaves = self.trees_.leaves(single(matrix(frame, self.columns, self.unit_)))
        value, orders, active = (self.means_[:, target][leaves].mean(axis=1) for target in range(3))
        return predictions(frame, value, orders, np.minimum(active, 1.0))

    def parameters(self) -> dict[str, Any]:
        """Return the trees, and the means and number of past rows of each leaf."""
        return {
            "features": list(self.columns),
            "unit": self.unit_,
            "trees": self.trees_.parameters(),
            "rows": self.rows_.tolist(),
            "means": self.means_.tolist(),
        }

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Set the trees and their leaves."""
        self.unit_ = float(parameters["unit"])
        self.trees_ = Trees.restore(parameters["trees"])
        self.rows_ = np.array(parameters["rows"], np.int64)
        self.means_ = np.array(parameters["means"], float)
        return self

    @abstractmethod
    def _grow(self, design: Array, value: Array) -> list[DecisionTreeRegressor]:
        """Return the trees fitted to the past rows."""

    def _leaf_means(self, leaves: np.ndarray, target: Array) -> Array:
        """Return the mean of a target per node; the overall mean for a node without rows."""
        sums = np.zeros(len(self.rows_))
        for tree in leaves.T:
            sums += np.bincount(tree, target.astype(float), minlength=len(sums))
        return np.where(self.rows_ > 0, sums / np.maximum(self.rows_, 1), float(np.mean(target)))


class DecisionTree(_LeafMeans):
    """One shallow tree that fits on a page.

    Splits minimize the Poisson deviance, which measures relative differences, so a few large
    customers do not determine all splits. A leaf predicts the mean outcome of its past rows.
    """

    name = "decision_tree"
    description = "one tree of depth 4 on ten plain features"
    MOST_ROWS = 20_000
    columns = features.SINGLE_TREE

    def _grow(self, design: Array, value: Array) -> list[DecisionTreeRegressor]:
        tree = DecisionTreeRegressor(
            criterion="poisson",
            max_depth=4,
            min_samples_leaf=fewest_per_leaf(len(value), 0.01, 20),
            random_state=_SEED,
        )
        return [tree.fit(design, value)]


class RandomForest(_LeafMeans):
    """The mean of trees fitted to the square root of value on random rows and features."""

    name = "random_forest"
    description = "the mean of 20 randomized trees"
    MOST_ROWS = 4_000
    columns = features.TREES

    def _grow(self, design: Array, value: Array) -> list[DecisionTreeRegressor]:
        forest = RandomForestRegressor(
            n_estimators=20,
            max_features=0.33,
            max_leaf_nodes=48,
            min_samples_leaf=fewest_per_leaf(len(value), 0.001, 5),
            random_state=_SEED,
            n_jobs=1,
        )
        return forest.fit(design, np.sqrt(value)).estimators_


class GradientBoosting(ValueModel):
    """Boosting in two parts, for an outcome that is mostly 0 with a heavy tail.

    A classifier predicts whether a customer buys. For those who buy, a gamma regression predicts
    the value and a Poisson regression the number of purchases.
    """

    name = "gradient_boosting"
    description = "boosted probability of buying times boosted value of buyers"
    MOST_ROWS: ClassVar = 8_000
    FEWEST_BUYERS: ClassVar = 50

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit to a thinned set of the rows with outcomes.

        Raises:
            AbstainError: Too few rows have a complete outcome, or too few bought, or all did.
        """
        known = thinned(past_outcomes(frame), self.MOST_ROWS)
        self.training_rows_ = len(known)
        value = known["future_value"].to_numpy(float)
        orders = known["future_orders"].to_numpy(float)
        buys = (orders > 0) & (value > 0)
        if buys.sum() < self.FEWEST_BUYERS:
            raise AbstainError(
                f"{buys.sum()} past customers bought within the horizon; "
                f"it takes {self.FEWEST_BUYERS}"
            )
        if buys.all():
            raise AbstainError("every past customer bought within the horizon")
        design = matrix(known, features.TREES)
        self.bins_ = Bins.fit(design)
        coded = self.bins_.code(design)
        settings: dict[str, Any] = {
            "learning_rate": 0.1,
            "max_iter": 40,
            "max_leaf_nodes": 8,
            "min_samples_leaf": fewest_per_leaf(len(known), 0.002, 20),
            "l2_regularization": 5.0,
            "early_stopping": False,
        }
        parts = {
            "active": HistGradientBoostingClassifier(**settings).fit(coded, buys),
            "value": HistGradientBoostingRegressor(loss="gamma", **settings).fit(
                coded[buys], value[buys]
            ),
            "orders": HistGradientBoostingRegressor(loss="poisson", **settings).fit(
                coded[buys], orders[buys]
            ),
        }
        self.parts_ = {
            name: (float(np.ravel(model._baseline_prediction)[0]), Trees.of_boosting(model))
            for name, model in parts.items()
        }
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return P(active) times the value and the orders of buyers."""
        coded = self.bins_.code(matrix(frame, features.TREES))
        raw = {name: level + trees.sums(coded) for name, (level, trees) in self.parts_.items()}
        active = expit(raw["active"])
        value, orders = np.exp(raw["value"]), np.maximum(np.exp(raw["orders"]), 1.0)
        return predictions(frame, active * value, active * orders, active)

    def parameters(self) -> dict[str, Any]:
        """Return the bins and the trees of the three parts."""
        parts = {
            name: {"level": level, "trees": trees.parameters()}
            for name, (level, trees) in self.parts_.items()
        }
        bins = self.bins_.parameters()
        return {"features": list(features.TREES), "bins": bins, "parts": parts}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Set the bins and the trees."""
        self.bins_ = Bins.restore(parameters["bins"])
        self.parts_ = {
            name: (float(part["level"]), Trees.restore(part["trees"]))
            for name, part in parameters["parts"].items()
        }
        return self


def single(values: Array) -> Array:
    """Return values rounded to the single precision of features in scikit-learn's trees.

    Targets are rounded as well, so that equally good splits stay equal in every unit of money.
    """
    return values.astype(np.float32).astype(float)
