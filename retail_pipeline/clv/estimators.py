"""The models that value customers, each with one interface.

A model is fitted on a learning frame (`dataset.learning_frame`: past rows with outcomes, today's
rows without) and predicts for feature rows. It says by `AbstainError` why it cannot be fitted, and
turns into plain JSON parameters and back, so that a stored model holds no code. A new model is a
class here and a line in `MODELS`. Nothing here chooses, measures or stores.
"""

from abc import abstractmethod
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from retail_pipeline.clv.btyd import Array, FitError, GammaGamma, ParetoNBD, Purchases

PREDICTED: Final = ["predicted_value", "expected_orders", "probability_active"]

FEWEST_TRAINING_ROWS: Final = 100
"""A regression on fewer outcomes says more about them than about the customers to come."""


class AbstainError(Exception):
    """A model cannot be fitted on these data; the text is the reason, fit for the report."""


class ValueModel(BaseEstimator):
    """What every model is: fit, predict, sample, and parameters as JSON.

    Predictions are frames with the index of the rows given:
        predicted_value: expected net amount in the horizon, at least 0.
        expected_orders: expected purchase days in the horizon, at least 0.
        probability_active: probability of at least one purchase day in the horizon.

    Args:
        horizon_days: Length of the outcome that is predicted.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    training_rows_: int
    """Rows that the fit learned from."""

    def __init__(self, horizon_days: int = 180) -> None:
        self.horizon_days = horizon_days

    @abstractmethod
    def fit(self, frame: pd.DataFrame) -> Self:
        """Learn from a learning frame.

        Raises:
            AbstainError: These data do not allow it.
        """

    @abstractmethod
    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the three predictions for feature rows."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return what was learned as JSON values: numbers, texts, lists and dicts."""

    @abstractmethod
    def restore(self, parameters: dict[str, Any]) -> Self:
        """Take over what `parameters` returned; predictions are then the same to the bit."""

    def sample(self, frame: pd.DataFrame, draws: int, random: np.random.Generator) -> Array:
        """Draw outcomes per customer, for intervals where no backtest can calibrate them.

        Unless a model knows better: orders are Poisson, their values exponential.

        Returns:
            Values, one row per customer, one column per draw.
        """
        predicted = self.predict(frame)
        orders = predicted["expected_orders"].to_numpy(float)
        each = predicted["predicted_value"].to_numpy(float) / np.maximum(orders, 1e-12)
        counts = random.poisson(orders[:, None], size=(len(frame), draws))
        sums = random.gamma(np.maximum(counts, 1))
        return np.where(counts > 0, sums * each[:, None], 0.0)


def labelled_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a learning frame whose outcome is known."""
    return frame[frame["future_value"].notna()]


def latest_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a learning frame at its latest date: everyone, as seen today."""
    return frame[frame["as_of_date"] == frame["as_of_date"].max()]


class Mean(ValueModel):
    """Everyone gets the average outcome: the floor that a model must beat, and the last resort.

    Without past outcomes the average comes from the customers' whole past: net amount per day of
    age, carried over the horizon.
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
        reach = self.horizon_days / float(today["age_days"].clip(lower=1).sum())
        self.value_ = max(float(today["total_net_amount"].sum()) * reach, 0.0)
        self.orders_ = float(today["purchase_days"].sum()) * reach
        self.active_ = float(-np.expm1(-self.orders_))
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the averages, once per row."""
        return _predictions(frame, self.value_, self.orders_, self.active_)

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
        return _predictions(frame, value, orders, (orders > 0).astype(float))

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
        known = labelled_rows(frame)
        self.training_rows_ = len(known)
        if len(known) < FEWEST_TRAINING_ROWS:
            raise AbstainError(
                f"{len(known)} past customer rows have a complete outcome; "
                f"it takes {FEWEST_TRAINING_ROWS}"
            )
        if not (known["future_value"] > 0).any():
            raise AbstainError("no past customer bought within the horizon")
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
        return _predictions(frame, value, orders, np.clip(raw[:, 2], 0.0, 1.0))

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


class ParetoNBDGammaGamma(ValueModel):
    """Purchases by Pareto/NBD, their value by Gamma-Gamma: the incumbent.

    It needs no past outcomes: fitted by maximum likelihood on everyone's history at the latest
    date. The Gamma-Gamma part sees all purchase occasions, the first included, and their value net
    of returns (a returned order was worth nothing). Value and number of purchases are taken as
    independent.
    """

    name = "pareto_nbd_gamma_gamma"
    description = "Pareto/NBD purchases times Gamma-Gamma value, maximum likelihood"

    def fit(self, frame: pd.DataFrame) -> Self:
        """Learn the seven parameters from the rows of the latest date.

        Raises:
            AbstainError: A likelihood has no usable maximum, as when nobody ever came back.
        """
        today = latest_rows(frame)
        self.training_rows_ = len(today)
        try:
            self.purchases_ = ParetoNBD.fit(_purchases(today))
            self.values_ = GammaGamma.fit(*_values(today))
        except FitError as error:
            raise AbstainError(str(error)) from None
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the closed forms: expected purchases times expected value per purchase."""
        history = _purchases(frame)
        orders = self.purchases_.expected_purchases(history, self.horizon_days)
        active = self.purchases_.probability_of_purchase(history, self.horizon_days)
        value = orders * self.values_.expected_value(*_values(frame))
        return _predictions(frame, value, orders, active)

    def sample(self, frame: pd.DataFrame, draws: int, random: np.random.Generator) -> Array:
        """Draw outcomes from each customer's posterior."""
        purchases = self.purchases_.simulate_purchases(
            _purchases(frame), self.horizon_days, draws, random
        )
        return self.values_.simulate_totals(*_values(frame), purchases, random)

    def parameters(self) -> dict[str, Any]:
        """Return the seven parameters; time in days, money in the data's currency."""
        return {"pareto_nbd": vars(self.purchases_), "gamma_gamma": vars(self.values_)}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Take over the seven parameters."""
        self.purchases_ = ParetoNBD(**_floats(parameters["pareto_nbd"]))
        self.values_ = GammaGamma(**_floats(parameters["gamma_gamma"]))
        return self


MODELS: Final[dict[str, type[ValueModel]]] = {
    model.name: model for model in (Mean, LastWindow, LinearRegression, ParetoNBDGammaGamma)
}
"""Every model by name, the simplest first."""

_LEAST_NET_SHARE = 0.01


def _purchases(frame: pd.DataFrame) -> Purchases:
    age, recency, days = (
        frame[name].to_numpy(float) for name in ("age_days", "recency_days", "purchase_days")
    )
    return Purchases(repeats=days - 1, last=age - recency, age=age)


def _values(frame: pd.DataFrame) -> tuple[Array, Array]:
    """Return purchases and net value per purchase, which Gamma-Gamma needs above 0."""
    counts = frame["purchase_days"].to_numpy(float)
    net = frame["total_net_amount"].to_numpy(float) / counts
    least = _LEAST_NET_SHARE * frame["mean_purchase_value"].to_numpy(float)
    return counts, np.maximum(net, least)


def _floats(parameters: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in parameters.items()}


def _predictions(
    frame: pd.DataFrame, value: float | Array, orders: float | Array, active: float | Array
) -> pd.DataFrame:
    columns = {"predicted_value": value, "expected_orders": orders, "probability_active": active}
    return pd.DataFrame(columns, index=frame.index, dtype=float).clip(lower=0.0)
