"""The interface of all models, helpers for their training frames, and abstention."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from retail_pipeline.settings import DEFAULT_HORIZON_DAYS

Array = NDArray[np.float64]

PREDICTED: Final = ["predicted_value", "expected_orders", "probability_active", "value_shape"]

RHYTHM: Final = ["probability_alive", "next_order_days", "usual_gap_days"]

FEWEST_TRAINING_ROWS: Final = 100
"""Past outcomes that a supervised model needs."""


@dataclass(frozen=True)
class Waiting:
    """Each customer's distribution of the days until the next order, up to the horizon.

    Attributes:
        days: One row per customer: days from 0 to the horizon, rising.
        probability: The probability of an order within these days.
    """

    days: Array
    probability: Array

    def within(self, days: Array) -> Array:
        """Return each customer's probability of an order within a number of days."""
        return _interpolated(self.days, self.probability, np.minimum(days, self.days[:, -1]))

    def quantile(self, share: float) -> Array:
        """Return the days after which an order has this probability; null beyond the horizon."""
        return _interpolated(self.probability, self.days, np.full(len(self.days), share))


def _interpolated(x: Array, y: Array, at: Array) -> Array:
    """Return each row's y where its rising x reaches a value; null if it does not."""
    after = (x < at[:, None]).sum(axis=1)
    reached = after < x.shape[1]
    after = np.clip(after, 1, x.shape[1] - 1)[:, None]
    x0, x1, y0, y1 = (
        np.take_along_axis(values, place, axis=1)[:, 0]
        for values in (x, y)
        for place in (after - 1, after)
    )
    part = np.clip((at - x0) / np.maximum(x1 - x0, 1e-300), 0.0, 1.0)
    return np.where(reached, y0 + part * (y1 - y0), np.nan)


class AbstainError(Exception):
    """A model cannot be fitted on these data; the message is the reason, as reports show it."""


class ValueModel(BaseEstimator):
    """A model of customer value that is fitted, predicts, and stores its parameters as JSON.

    Predictions are frames with the index of the rows given:
        predicted_value: expected net amount in the horizon, at least 0.
        expected_orders: expected purchase days in the horizon, at least 0.
        probability_active: probability of at least one purchase day in the horizon.
        value_shape: shape of the Gamma distribution of the value, given a purchase: 1 / CV².

    Args:
        horizon_days: Length of the outcome that is predicted.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    stored: ClassVar[tuple[str, ...]] = ()
    """Fitted attributes that are JSON values, without their underscore."""
    training_rows_: int
    """Rows that the fit used."""

    def __init__(self, horizon_days: int = DEFAULT_HORIZON_DAYS) -> None:
        self.horizon_days = horizon_days

    @abstractmethod
    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit the model to a frame of `dataset.learning_frame` and return it.

        Raises:
            AbstainError: The model cannot be fitted on these data.
        """

    @abstractmethod
    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the predictions for feature rows."""

    def parameters(self) -> dict[str, Any]:
        """Return the fitted parameters as JSON values: numbers, texts, lists and dicts."""
        return {name: getattr(self, f"{name}_") for name in self.stored}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Set the parameters that `parameters` returned; predictions are equal to the bit."""
        for name in self.stored:
            setattr(self, f"{name}_", parameters[name])
        return self

    @property
    def dates(self) -> "ValueModel | None":
        """The part that predicts the dates of orders; None if the model has none."""
        return None

    def waiting(self, frame: pd.DataFrame) -> Waiting | None:
        """Return the days until the next order; None for models without dates of orders."""
        return None if self.dates is None else self.dates.waiting(frame)

    def rhythm(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return when each customer is expected to buy again; null for models without dates.

        Returns:
            `probability_alive` (of not having dropped out), `next_order_days` (median days until
            the next order; null if an order within the horizon is less likely than not),
            `usual_gap_days` (median days between the customer's orders; null with one order).
        """
        if self.dates is not None:
            return self.dates.rhythm(frame)
        return pd.DataFrame(np.nan, index=frame.index, columns=RHYTHM)

    def share_of_orders(self, frame: pd.DataFrame, days: float) -> Array:
        """Return the share of the horizon's orders expected in its first `days`, from 0 to 1.

        Models without dates of orders spread them evenly over the horizon.
        """
        if self.dates is not None:
            return self.dates.share_of_orders(frame, days)
        return np.full(len(frame), days / self.horizon_days)


def labeled_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a training frame whose outcome is known."""
    return _rows(frame, frame["future_value"].notna().to_numpy())


def latest_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a training frame at its latest date: the population at the fit."""
    return _rows(frame, (frame["as_of_date"] == frame["as_of_date"].max()).to_numpy())


def _rows(frame: pd.DataFrame, chosen: np.ndarray) -> pd.DataFrame:
    """Return the chosen rows: a view if they are adjacent, else a copy."""
    found = np.flatnonzero(chosen)
    if len(found) and found[-1] - found[0] + 1 == len(found):
        return frame.iloc[found[0] : found[-1] + 1]
    return frame[chosen]


def past_outcomes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with outcomes that a supervised model is fitted to.

    Raises:
        AbstainError: Too few rows have a complete outcome, or all outcomes are 0.
    """
    known = labeled_rows(frame)
    if len(known) < FEWEST_TRAINING_ROWS:
        raise AbstainError(
            f"{len(known)} past customer rows have a complete outcome; "
            f"it takes {FEWEST_TRAINING_ROWS}"
        )
    if not (known["future_value"] > 0).any():
        raise AbstainError("no past customer bought within the horizon")
    return known


def unit_of_money(frame: pd.DataFrame) -> float:
    """Return a hundredth of the median value of a purchase, in the data's currency.

    Amounts are divided by it before logarithms and splits, so that predictions do not depend on
    the unit of money: pounds and pence give the same.
    """
    means = frame["mean_purchase_value"].to_numpy(float)
    return float(np.median(means[means > 0])) / 100 if (means > 0).any() else 1.0


def predictions(
    frame: pd.DataFrame,
    value: float | Array,
    orders: float | Array,
    active: float | Array,
    shape: Array | None = None,
) -> pd.DataFrame:
    """Return predictions as a frame with the index of the rows; negative ones become 0.

    Args:
        frame: The feature rows.
        value: Expected values.
        orders: Expected orders.
        active: Probabilities of an order.
        shape: Shape of the value given a purchase; by default that of a Poisson number of orders
            with exponential values.
    """
    columns = {"predicted_value": value, "expected_orders": orders, "probability_active": active}
    found = pd.DataFrame(columns, index=frame.index, dtype=float).clip(lower=0.0)
    if shape is None:
        shape = _shape_of_poisson_orders(found["expected_orders"].to_numpy())
    return found.assign(value_shape=shape)


def _shape_of_poisson_orders(orders: Array) -> Array:
    """Return 1 / CV² of the sum of exponential order values, given at least one order."""
    orders = np.maximum(orders, 1e-9)
    any_order = -np.expm1(-orders)
    mean, square = orders / any_order, (orders + orders**2) / any_order
    return mean**2 / (mean + square - mean**2)
