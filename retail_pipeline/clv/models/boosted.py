"""The combination: boosting that corrects Pareto/NBD customer by customer, not in total.

Pareto/NBD knows the level and extrapolates to big spenders; trees see what it leaves out (silence
against the own rhythm, recent windows, returns). So the trees learn the ratio of outcome and
Pareto/NBD prediction, and the total stays that of Pareto/NBD.
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
"""Many ratios are equal, as of all who bought once: the last bits of a division, which another unit
of money changes, must not take them apart."""


class BoostedParetoNBD(ValueModel):
    """Pareto/NBD with Gamma-Gamma as exposure, corrected by boosted trees, anchored to its total.

    Fitted is E[y / PN] by Poisson boosting, where PN is the prediction that Pareto/NBD made at the
    same past cut-off, fitted on what was known then. Weights of √PN make the loss that of a Tweedie
    deviance of power 1.5 in its dependence on the size of a customer. Per cut-off the ratios are
    divided by their level, so that no season is learned as if it were behavior; the features are
    ratios to the customer's own scale, so that trees carry over to other shops and sizes. The
    correction is shrunk: prediction = PN · correction^.8 · constant, the constant such that
    today's total is that of Pareto/NBD.

    Orders and the probability of being active are those of Pareto/NBD: recalibrating them on past
    cut-offs made them worse out of time, as it brings the wrong season's level.
    """

    name = "boosted_pareto_nbd"
    description = "Pareto/NBD and Gamma-Gamma, corrected by boosted trees, total unchanged"

    MOST_ROWS: ClassVar = 40_000
    SHRINKAGE: ClassVar = 0.8

    def fit(self, frame: pd.DataFrame) -> Self:
        """Learn the incumbent from the latest rows and its correction from past outcomes.

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
        """Return the corrected values; orders and activity as Pareto/NBD has them."""
        base = self.base_.predict(frame)
        value = self._corrected(frame, base) * self.level_
        return base.assign(predicted_value=np.maximum(value, 0.0))

    def rhythm(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return that of Pareto/NBD."""
        return self.base_.rhythm(frame)

    def share_of_orders(self, frame: pd.DataFrame, days: float) -> Array:
        """Return that of Pareto/NBD: the correction knows no days."""
        return self.base_.share_of_orders(frame, days)

    def correction(self, frame: pd.DataFrame) -> Array:
        """Return by how much each customer's value is more than Pareto/NBD's."""
        base = self.base_.predict(frame)
        value = base["predicted_value"].to_numpy(float)
        return self._corrected(frame, base) * self.level_ / np.maximum(value, _SMALL)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of Pareto/NBD, the trees, the floor and the level."""
        return {
            "base": self.base_.parameters(),
            "features": list(DESIGN),
            "bins": self.bins_.parameters(),
            "trees": self.trees_.parameters(),
            "floor": self.floor_,
            "level": self.level_,
        }

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Take over what `parameters` returned."""
        self.base_ = ParetoNBDGammaGamma(self.horizon_days).restore(parameters["base"])
        self.bins_ = Bins.restore(parameters["bins"])
        self.trees_ = Trees.restore(parameters["trees"])
        self.floor_, self.level_ = float(parameters["floor"]), float(parameters["level"])
        return self

    def _examples(self, known: pd.DataFrame) -> tuple[Array, Array, Array]:
        """Return designs, ratios and weights of the past rows, cut-off by cut-off."""
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
"""Columns of the design, in order: all free of currency and of the shop's size but three logs."""


def design_of(frame: pd.DataFrame, base: pd.DataFrame, horizon_days: int) -> Array:
    """Return the design: what Pareto/NBD says, and behavior relative to the customer's own scale.

    Args:
        frame: Feature rows; columns that are not there are NaN.
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
"""Days of the features that are compared with what Pareto/NBD expects of such a window."""
