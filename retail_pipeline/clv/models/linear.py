"""Ridge regression on logarithms and rates of past behavior: the interpretable reference."""

from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from retail_pipeline.clv.data import features
from retail_pipeline.clv.models.base import (
    Array,
    ValueModel,
    past_outcomes,
    predictions,
    unit_of_money,
)


class LinearRegression(ValueModel):
    """Ridge regression on the square root of the outcome: an interpretable reference.

    A few large customers would dominate a regression of the amount itself, so the target is its
    square root. Logarithms of features distinguish small customers; square roots let a prediction
    grow in proportion to past spend. Three targets share one design matrix: value, orders, and
    whether there is an order (clipped to 0 to 1). Squaring a prediction underestimates the mean,
    so one factor each for value and orders matches the totals of the training rows.
    """

    name = "linear_regression"
    description = "ridge regression of √value on logarithms and rates of past behavior"

    stored = ("unit", "value_level", "orders_level")
    value_level_: float
    orders_level_: float

    PENALTY: ClassVar = 10.0
    _ARRAYS: ClassVar = ("mean", "scale", "coefficients", "intercepts")

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit to the rows with outcomes.

        Raises:
            AbstainError: Too few rows have a complete outcome, or all outcomes are 0.
        """
        known = past_outcomes(frame)
        self.training_rows_ = len(known)
        self.unit_ = unit_of_money(known)
        value, orders = (known[name].to_numpy(float) for name in ("future_value", "future_orders"))
        value = value / self.unit_
        targets = np.column_stack([np.sqrt(value), np.sqrt(orders), orders > 0])
        scaler, ridge = StandardScaler(), Ridge(alpha=self.PENALTY)
        ridge.fit(scaler.fit_transform(self._design(known).to_numpy()), targets)
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        self.coefficients_, self.intercepts_ = ridge.coef_, ridge.intercept_
        fitted = self._raw(known)
        self.value_level_ = float(value.sum() / max(np.square(fitted[:, 0]).sum(), 1e-12))
        self.orders_level_ = float(orders.sum() / max(np.square(fitted[:, 1]).sum(), 1e-12))
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the squared predictions times their factors, at least 0."""
        raw = self._raw(frame)
        value = np.square(raw[:, 0]) * self.value_level_ * self.unit_
        orders = np.square(raw[:, 1]) * self.orders_level_
        return predictions(frame, value, orders, np.clip(raw[:, 2], 0.0, 1.0))

    def parameters(self) -> dict[str, Any]:
        """Return scaler, coefficients (with the names of features) and factors."""
        arrays = {name: getattr(self, f"{name}_").tolist() for name in self._ARRAYS}
        return {"features": list(_DESIGN), **arrays, **super().parameters()}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Set scaler, coefficients and factors."""
        for name in self._ARRAYS:
            setattr(self, f"{name}_", np.array(parameters[name], float))
        return super().restore(parameters)

    def _design(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the design matrix: logarithms and roots of features, and rates.

        The rate is purchases per day of age plus 30 days. Orders ahead are the horizon times the
        rate, divided by 1 + the orders expected since the last purchase.
        """
        base = frame[list(features.LOGARITHMS)].fillna(0.0).clip(lower=0.0)
        money = [name for name in features.LOGARITHMS if name in features.MONEY]
        base[money] = base[money] / self.unit_
        rate = base["purchase_days"] / (base["age_days"] + 30)
        orders_ahead = self.horizon_days * rate / (1 + base["recency_days"] * rate)
        value_ahead = orders_ahead * base["mean_purchase_value"]
        columns = [
            *(np.log1p(base[name]) for name in features.LOGARITHMS),
            np.log1p(365 * rate),
            np.log1p(orders_ahead),
            np.log1p(value_ahead),
            np.log1p(base["recency_days"] / base["age_days"].clip(lower=1)),
            *(np.sqrt(base[name]) for name in features.SQUARE_ROOTS),
            np.sqrt(value_ahead),
        ]
        return pd.concat(columns, axis=1, keys=_DESIGN)

    def _raw(self, frame: pd.DataFrame) -> Array:
        scaled = (self._design(frame).to_numpy() - self.mean_) / self.scale_
        return np.maximum(scaled @ self.coefficients_.T + self.intercepts_, 0.0)


_DESIGN: Final = (
    *(f"log_{name}" for name in features.LOGARITHMS),
    *("log_yearly_rate", "log_orders_ahead", "log_value_ahead", "log_silence"),
    *(f"sqrt_{name}" for name in features.SQUARE_ROOTS),
    "sqrt_value_ahead",
)
