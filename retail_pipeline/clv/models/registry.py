"""The plain models that value customers, and the list of all models.

A model is fitted on a learning frame (`dataset.learning_frame`: past rows with outcomes, today's
rows without) and predicts for feature rows. It says by `AbstainError` why it cannot be fitted, and
turns into plain JSON parameters and back, so that a stored model holds no code. A new model is a
class and a line in `MODELS`. Nothing here chooses, measures or stores.
"""

from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from retail_pipeline.clv.models.base import (
    PREDICTED,
    AbstainError,
    ValueModel,
    labelled_rows,
    latest_rows,
    past_outcomes,
    predictions,
)
from retail_pipeline.clv.models.boosted import BoostedParetoNBD
from retail_pipeline.clv.models.btyd import Array
from retail_pipeline.clv.models.btyd_estimators import (
    BGNBDGammaGamma,
    ParetoNBDGammaGamma,
)
from retail_pipeline.clv.models.trees import (
    DecisionTree,
    GradientBoosting,
    RandomForest,
)


class Mean(ValueModel):
    """Everyone gets the average outcome: the floor that a model must beat, and the last resort.

    Without past outcomes the average comes from the customers' whole past: purchases after the
    first per day of age, carried over the horizon, each worth the net amount per purchase day. The
    first one is what makes a customer, not a rate: where nobody came back, nothing is expected.
    """

    name = "mean"
    description = "the average outcome for everyone"

    def fit(self, frame: pd.DataFrame) -> Self:
        """Learn the averages of past outcomes, or of the past itself; never abstains."""
        known = labelled_rows(frame)
        self.training_rows_ = len(known) or len(latest_rows(frame))
        if len(known):
            self.value_ = float(known["future_value"].mean())
            self.orders_ = float(known["future_orders"].mean())
            self.active_ = float((known["future_orders"] > 0).mean())
            return self
        today = latest_rows(frame)
        purchases, age = today["purchase_days"], today["age_days"].clip(lower=1)
        repeats = float((purchases - 1).clip(lower=0).sum())
        each = float(today["total_net_amount"].sum()) / max(float(purchases.sum()), 1.0)
        self.orders_ = repeats * self.horizon_days / float(age.sum())
        self.value_ = self.orders_ * max(each, 0.0)
        self.active_ = float(-np.expm1(-self.orders_))
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the averages, once per row."""
        return predictions(frame, self.value_, self.orders_, self.active_)

    def parameters(self) -> dict[str, Any]:
        """Return the three averages."""
        return {"value": self.value_, "orders": self.orders_, "active": self.active_}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Take over the three averages."""
        self.value_, self.orders_ = parameters["value"], parameters["orders"]
        self.active_ = parameters["active"]
        return self


class LastWindow(ValueModel):
    """The next horizon repeats the last one: what a spreadsheet would say.

    The feature windows are cumulative; a horizon between two of them is interpolated, one beyond
    365 days leans on the customer's whole past.
    """

    name = "last_window"
    description = "what the customer spent in a window of the same length before the date"

    _VALUE_WINDOWS: ClassVar = {d: f"net_amount_{d}d" for d in (7, 30, 60, 90, 180, 365)}
    _ORDER_WINDOWS: ClassVar = {d: f"purchase_days_{d}d" for d in (30, 90, 180, 365)}

    def fit(self, frame: pd.DataFrame) -> Self:  # noqa: ARG002
        """Learn nothing: the features say it all."""
        self.training_rows_ = 0
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return net amount and purchase days of the last window; active if there was any."""
        value = self._in_window(frame, self._VALUE_WINDOWS, "total_net_amount")
        orders = self._in_window(frame, self._ORDER_WINDOWS, "purchase_days")
        return predictions(frame, value, orders, (orders > 0).astype(float))

    def parameters(self) -> dict[str, Any]:
        """Return nothing: there is nothing to keep."""
        return {}

    def restore(self, parameters: dict[str, Any]) -> Self:  # noqa: ARG002
        """Take over nothing."""
        return self

    def _in_window(self, frame: pd.DataFrame, windows: dict[int, str], total: str) -> Array:
        longest = max(windows)
        age = np.maximum(frame["age_days"].to_numpy(float), longest + 1)
        days = [np.zeros(len(frame)), *(np.full(len(frame), float(d)) for d in windows), age]
        sums = [np.zeros(len(frame))]
        sums += [frame[name].fillna(0).to_numpy(float) for name in (*windows.values(), total)]
        result = sums[-1].copy()
        for left, right, low, high in zip(days, days[1:], sums, sums[1:], strict=False):
            inside = (left <= self.horizon_days) & (self.horizon_days < right)
            share = (self.horizon_days - left) / (right - left)
            result = np.where(inside, low + share * (high - low), result)
        return result


class LinearRegression(ValueModel):
    """Ridge regression on the square root of the outcome: the plain reference.

    Spend is so skewed that a few wholesalers would decide a regression of the amount itself. The
    square root evens the errors out; among the features the logarithms tell the small customers
    apart and the square roots let a prediction grow in proportion to past spend. Three targets
    share one design: value, orders, and whether there is any order (clipped to between
    0 and 1). Squaring loses the spread around the line, so one factor each matches the totals of
    the training rows.
    """

    name = "linear_regression"
    description = "ridge regression of √value on logarithms and rates of past behaviour"

    PENALTY: ClassVar = 10.0

    def fit(self, frame: pd.DataFrame) -> Self:
        """Learn from the rows with outcomes.

        Raises:
            AbstainError: Too few rows have a complete outcome, or nobody in them bought.
        """
        known = past_outcomes(frame)
        self.training_rows_ = len(known)
        value, orders = (known[name].to_numpy(float) for name in ("future_value", "future_orders"))
        targets = np.column_stack([np.sqrt(value), np.sqrt(orders), orders > 0])
        self.regression_ = make_pipeline(StandardScaler(), Ridge(alpha=self.PENALTY))
        self.regression_.fit(self._design(known).to_numpy(), targets)
        fitted = self._raw(known)
        self.value_level_ = float(value.sum() / max(np.square(fitted[:, 0]).sum(), 1e-12))
        self.orders_level_ = float(orders.sum() / max(np.square(fitted[:, 1]).sum(), 1e-12))
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the squared and levelled regressions, at least 0."""
        raw = self._raw(frame)
        value = np.square(raw[:, 0]) * self.value_level_
        orders = np.square(raw[:, 1]) * self.orders_level_
        return predictions(frame, value, orders, np.clip(raw[:, 2], 0.0, 1.0))

    def parameters(self) -> dict[str, Any]:
        """Return scaler, coefficients (with the features' names) and levels."""
        scaler, ridge = (step for _, step in self.regression_.steps)
        return {
            "features": list(self._design_names),
            "mean": scaler.mean_.tolist(),
            "scale": scaler.scale_.tolist(),
            "coefficients": ridge.coef_.tolist(),
            "intercepts": ridge.intercept_.tolist(),
            "value_level": self.value_level_,
            "orders_level": self.orders_level_,
        }

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Take over scaler, coefficients and levels."""
        scaler, ridge = StandardScaler(), Ridge(alpha=self.PENALTY)
        scaler.mean_, scaler.scale_ = (
            np.array(parameters[name], float) for name in ("mean", "scale")
        )
        scaler.n_features_in_ = len(parameters["mean"])
        ridge.coef_ = np.array(parameters["coefficients"], float)
        ridge.intercept_ = np.array(parameters["intercepts"], float)
        self.regression_ = Pipeline([("standardscaler", scaler), ("ridge", ridge)])
        self.value_level_ = parameters["value_level"]
        self.orders_level_ = parameters["orders_level"]
        return self

    _LOGARITHMS: ClassVar = (
        "purchase_days",
        "total_net_amount",
        "mean_purchase_value",
        "max_purchase_value",
        "recency_days",
        "age_days",
        "net_amount_90d",
        "net_amount_180d",
        "net_amount_365d",
        "net_amount_ewm_90d",
        "purchase_days_90d",
        "purchase_days_180d",
        "purchase_days_365d",
        "active_months",
        "distinct_products",
    )
    _SQUARE_ROOTS: ClassVar = (
        "total_net_amount",
        "net_amount_180d",
        "net_amount_365d",
        "net_amount_ewm_90d",
    )

    @property
    def _design_names(self) -> list[str]:
        return [
            *(f"log_{name}" for name in self._LOGARITHMS),
            "log_yearly_rate",
            "log_orders_ahead",
            "log_value_ahead",
            "log_silence",
            *(f"sqrt_{name}" for name in self._SQUARE_ROOTS),
            "sqrt_value_ahead",
        ]

    def _design(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the design: logarithms and roots of features, and BTYD-like rates.

        The rate counts a purchase per day of age, shrunk by 30 days; a customer silent for long
        against the own rate is taken for gone, in proportion (1 / (1 + expected orders missed)).
        """
        base = frame[list(self._LOGARITHMS)].fillna(0.0).clip(lower=0.0)
        rate = base["purchase_days"] / (base["age_days"] + 30)
        orders_ahead = self.horizon_days * rate / (1 + base["recency_days"] * rate)
        value_ahead = orders_ahead * base["mean_purchase_value"]
        columns = {f"log_{name}": np.log1p(base[name]) for name in self._LOGARITHMS}
        columns |= {
            "log_yearly_rate": np.log1p(365 * rate),
            "log_orders_ahead": np.log1p(orders_ahead),
            "log_value_ahead": np.log1p(value_ahead),
            "log_silence": np.log1p(base["recency_days"] / base["age_days"].clip(lower=1)),
        }
        columns |= {f"sqrt_{name}": np.sqrt(base[name]) for name in self._SQUARE_ROOTS}
        columns["sqrt_value_ahead"] = np.sqrt(value_ahead)
        return pd.DataFrame(columns, columns=self._design_names, index=frame.index)

    def _raw(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        return np.maximum(self.regression_.predict(self._design(frame).to_numpy()), 0.0)


MODELS: Final[dict[str, type[ValueModel]]] = {
    model.name: model
    for model in (
        Mean,
        LastWindow,
        LinearRegression,
        DecisionTree,
        RandomForest,
        GradientBoosting,
        BGNBDGammaGamma,
        ParetoNBDGammaGamma,
        BoostedParetoNBD,
    )
}
"""Every model by name, the simplest first."""

__all__ = [
    "MODELS",
    "PREDICTED",
    "AbstainError",
    "BGNBDGammaGamma",
    "BoostedParetoNBD",
    "DecisionTree",
    "GradientBoosting",
    "LastWindow",
    "LinearRegression",
    "Mean",
    "ParetoNBDGammaGamma",
    "RandomForest",
    "ValueModel",
]
