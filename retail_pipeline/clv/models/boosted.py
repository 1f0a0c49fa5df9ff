"""The combined model: boosted trees that correct Pareto/NBD by customer and keep its total.

Pareto/NBD has a good total and extrapolates to large customers. Trees use features that it leaves
out: silence relative to the usual gap, recent windows, returns. So the trees predict the ratio of
the outcome to the Pareto/NBD prediction, and the total is scaled to that of Pareto/NBD.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from retail_pipeline.clv.data import features
from retail_pipeline.clv.models.base import (
    PREDICTED,
    AbstainError,
    Array,
    ValueModel,
    latest_rows,
    past_outcomes,
)
from retail_pipeline.clv.models.btyd import ParetoNBDGammaGamma
from retail_pipeline.clv.models.tree_arrays import (
    Bins,
    Trees,
)
from retail_pipeline.clv.models.trees import (
    fewest_per_leaf,
    single,
    thinned,
)

_LEAST_SHARE_OF_MEAN: Final = 0.02
"""Pareto/NBD predictions below this share of their mean count as this share in a ratio."""

_SMALL: Final = 1e-9
_DESIGN_DECIMALS: Final = 9
"""Ratios are rounded, so that equal ones (such as those of all customers with one purchase) stay
equal in every unit of money."""


class BoostedParetoNBD(ValueModel):
    """Pareto/NBD with Gamma-Gamma, corrected by boosted trees and scaled to its total.

    Poisson boosting fits E[y / PN], where PN is the Pareto/NBD prediction at the same past cut-off,
    fitted on what was known then. With weights of √PN the loss depends on a customer's size like a
    Tweedie deviance of power 1.5. At each cut-off the ratios are divided by their overall level, so
    that the trees do not fit the season. Features are relative to the customer's own scale, so
    that the trees apply to customers of any size. The correction is shrunk:
    prediction = PN · correction^.8 · constant, with the constant that keeps the Pareto/NBD total.

    Orders and P(active) are those of Pareto/NBD. Recalibrated on past cut-offs they were worse out
    of time, as the cut-offs have the level of another season.
    """

    name = "boosted_pareto_nbd"
    description = "Pareto/NBD and Gamma-Gamma, corrected by boosted trees, total unchanged"

    MOST_ROWS: ClassVar = 40_000
    SHRINKAGE: ClassVar = 0.8

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit Pareto/NBD to the latest rows and the correction to past outcomes.

        Raises:
            AbstainError: Pareto/NBD cannot be fitted, now or at any past cut-off, or too few rows
                have a complete outcome.
        """
        self.base_ = ParetoNBDGammaGamma(self.horizon_days).fit(frame)
        known = past_outcomes(frame)
        design, ratio, weight = self._examples(known)
        self.training_rows_ = len(ratio)
        self.bins_ = Bins.fit(design)
        boosting = HistGradientBoostingRegressor(
            loss="poisson",
            learning_rate=0.08,
            max_iter=50,
            max_leaf_nodes=4,
            min_samples_leaf=fewest_per_leaf(len(ratio), 0.002, 40),
            l2_regularization=10.0,
            early_stopping=False,
        )
        boosting.fit(self.bins_.code(design), single(ratio), sample_weight=single(weight))
        self.trees_ = Trees.of_boosting(boosting)
        self._anchor(latest_rows(frame))
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the corrected values, with the orders and P(active) of Pareto/NBD."""
        base = self.base_.predict(frame)
        value = self._corrected(frame, base) * self.level_
        return base.assign(predicted_value=np.maximum(value, 0.0))

    @property
    def dates(self) -> ParetoNBDGammaGamma:
        """The Pareto/NBD part, as the correction changes only values."""
        return self.base_

    def correction(self, frame: pd.DataFrame) -> Array:
        """Return the ratio of each customer's value to that of Pareto/NBD."""
        base = self.base_.predict(frame)
        value = base["predicted_value"].to_numpy(float)
        return self._corrected(frame, base) * self.level_ / np.maximum(value, _SMALL)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of Pareto/NBD, the trees, and the floor and level of values."""
        return {
            "base": self.base_.parameters(),
            "features": list(DESIGN),
            "bins": self.bins_.parameters(),
            "trees": self.trees_.parameters(),
            "floor": self.floor_,
            "level": self.level_,
        }

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Set the parameters that `parameters` returned."""
        self.base_ = ParetoNBDGammaGamma(self.horizon_days).restore(parameters["base"])
        self.bins_ = Bins.restore(parameters["bins"])
        self.trees_ = Trees.restore(parameters["trees"])
        self.floor_, self.level_ = float(parameters["floor"]), float(parameters["level"])
        return self

    def _examples(self, known: pd.DataFrame) -> tuple[Array, Array, Array]:
        """Return design matrix, ratios and weights of the past rows, cut-off by cut-off."""
        share = min(1.0, self.MOST_ROWS / len(known))
        designs, ratios, weights = [], [], []
        for _, everyone in known.groupby("as_of_date"):
            try:
                then = ParetoNBDGammaGamma(self.horizon_days).fit(everyone)
            except AbstainError:
                continue
            rows = thinned(everyone, max(1, int(share * len(everyone))))
            base = then.predict(rows)
            value = base["predicted_value"].to_numpy(float)
            exposure = np.maximum(value, _LEAST_SHARE_OF_MEAN * value.mean())
            actual = rows["future_value"].to_numpy(float)
            if not actual.sum() > 0 or not exposure.min() > 0:
                continue
            designs.append(design_of(rows, base, self.horizon_days))
            ratios.append(actual / exposure / (actual.sum() / exposure.sum()))
            weights.append(np.sqrt(exposure / exposure.mean()))
        if not designs:
            raise AbstainError("Pareto/NBD could not be fitted at any past cut-off")
        return np.concatenate(designs), np.concatenate(ratios), np.concatenate(weights)

    def _anchor(self, today: pd.DataFrame) -> None:
        base = self.base_.predict(today)
        value = base["predicted_value"].to_numpy(float)
        self.floor_ = _LEAST_SHARE_OF_MEAN * float(value.mean())
        corrected = float(self._corrected(today, base).sum())
        self.level_ = float(value.sum()) / corrected if corrected > 0 else 1.0

    def _corrected(self, frame: pd.DataFrame, base: pd.DataFrame) -> Array:
        coded = self.bins_.code(design_of(frame, base, self.horizon_days))
        exposure = np.maximum(base["predicted_value"].to_numpy(float), self.floor_)
        return exposure * np.exp(self.SHRINKAGE * self.trees_.sums(coded))


DESIGN: Final = (
    *("log_value", "log_orders", "probability_active", "log_value_per_order"),
    *("log_purchase_days", "log_age", "log_recency", "recency_share"),
    *(f"{transformation}_{name}" for name, transformation in features.RATIOS),
)
"""Columns of the design matrix, in order. Only the first, second and fourth depend on size."""


def design_of(frame: pd.DataFrame, base: pd.DataFrame, horizon_days: int) -> Array:
    """Return the design matrix: Pareto/NBD predictions, and features on the customer's own scale.

    Args:
        frame: Feature rows; missing columns count as NaN.
        base: Pareto/NBD's predictions for them.
        horizon_days: Length of the outcome.
    """

    def raw(name: str) -> Array:
        return frame[name].to_numpy(float) if name in frame else np.full(len(frame), np.nan)

    def known(name: str) -> Array:
        return np.nan_to_num(raw(name))

    def relative(name: str) -> Array:
        return np.log1p(np.maximum(known(name), 0.0) / each)

    value, orders, active = (base[name].to_numpy(float) for name in PREDICTED[:3])
    value, orders = np.maximum(value, _SMALL), np.maximum(orders, _SMALL)
    days, age = np.maximum(known("purchase_days"), 1.0), np.maximum(known("age_days"), 1.0)
    recency = known("recency_days")
    each = np.maximum(known("total_net_amount") / days, 0.01 * known("mean_purchase_value"))
    each = np.maximum(each, _SMALL)
    share = {name: days / horizon_days for name, days in _WINDOWS.items()}
    transformed: Mapping[features.Ratio, Callable[[str], Array]] = {
        "raw": raw,
        "known": known,
        "log": lambda name: np.log1p(np.maximum(known(name), 0.0)),
        "log_raw": lambda name: np.log1p(raw(name)),
        "over_unit": lambda name: raw(name) / each,
        "log_over_unit": lambda name: np.log(np.maximum(known(name) / each, _SMALL)),
        "relative": relative,
        "over_expected_orders": lambda name: np.log1p(known(name)) - np.log1p(orders * share[name]),
        "over_expected_value": lambda name: relative(name) - np.log1p(value / each * share[name]),
        "per_month": lambda name: known(name) / np.maximum(age / 30.4, 1.0),
        "per_purchase": lambda name: known(name) / days,
        "per_line": lambda name: known(name) / np.maximum(known("lines"), 1.0),
    }
    columns = [
        *(np.log(value), np.log(orders), active, np.log(value / orders)),
        *(np.log(days), np.log1p(age), np.log1p(recency), recency / age),
        *(transformed[transformation](name) for name, transformation in features.RATIOS),
    ]
    design = np.array(columns).T.round(_DESIGN_DECIMALS)
    return np.where(np.isfinite(design), design, np.nan)


_WINDOWS: Final = {
    name: int(name.rpartition("_")[2].removesuffix("d"))
    for name, transformation in features.RATIOS
    if transformation.startswith("over_expected")
}
"""Length in days of the feature windows that are compared with Pareto/NBD's expectation."""
