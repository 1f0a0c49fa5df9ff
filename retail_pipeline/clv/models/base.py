"""The interface of all models, the two parts of a learning frame, and abstention."""

from abc import abstractmethod
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
"""A regression on fewer outcomes says more about them than about the customers to come."""


class AbstainError(Exception):
    """A model cannot be fitted on these data; the text is the reason, fit for the report."""


class ValueModel(BaseEstimator):
    """A model of customer value: fit, predict, and parameters as JSON.

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
        """Fit to a learning frame; return self.

        Raises:
            AbstainError: These data do not allow it.
        """

    @abstractmethod
    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the predictions for feature rows."""

    def parameters(self) -> dict[str, Any]:
        """Return the fitted parameters as JSON values: numbers, texts, lists and dicts."""
        return {name: getattr(self, f"{name}_") for name in self.stored}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Take over what `parameters` returned; predictions are then the same to the bit."""
        for name in self.stored:
            setattr(self, f"{name}_", parameters[name])
        return self

    def rhythm(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return when customers are expected back; null where a model does not tell.

        Returns:
            `probability_alive` (of buying ever again), `next_order_days` (median, null where an
            order within the horizon is less likely than not), `usual_gap_days` (median days between
            the customer's orders, null with one).
        """
        return pd.DataFrame(np.nan, index=frame.index, columns=RHYTHM)

    def share_of_orders(self, frame: pd.DataFrame, days: float) -> Array:
        """Return the share of the horizon's orders expected in its first `days`, from 0 to 1.

        An even spread, where a model does not tell earlier days from later ones.
        """
        return np.full(len(frame), days / self.horizon_days)


def labelled_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a learning frame whose outcome is known."""
    return _rows(frame, frame["future_value"].notna().to_numpy())


def latest_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a learning frame at its latest date: everyone, as seen today."""
    return _rows(frame, (frame["as_of_date"] == frame["as_of_date"].max()).to_numpy())


def _rows(frame: pd.DataFrame, chosen: np.ndarray) -> pd.DataFrame:
    """Return the chosen rows: without a copy where they are neighbours, as in a learning frame."""
    found = np.flatnonzero(chosen)
    if len(found) and found[-1] - found[0] + 1 == len(found):
        return frame.iloc[found[0] : found[-1] + 1]
    return frame[chosen]


def past_outcomes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the labelled rows, enough of them to learn from.

    Raises:
        AbstainError: Too few rows have a complete outcome, or nobody in them bought.
    """
    known = labelled_rows(frame)
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

    Amounts are divided by it before logarithms and splits, so that the currency and its unit change
    no prediction: pounds and pence give the same.
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
    """Return predictions as a frame with the index of the rows, at least 0.

    Args:
        frame: The rows.
        value: Expected values.
        orders: Expected orders.
        active: Probabilities of an order.
        shape: Shape of the value given a purchase; without it orders are taken for Poisson and
            their values for exponential.
    """
    columns = {"predicted_value": value, "expected_orders": orders, "probability_active": active}
    found = pd.DataFrame(columns, index=frame.index, dtype=float).clip(lower=0.0)
    if shape is None:
        shape = _shape_of_poisson_orders(found["expected_orders"].to_numpy())
    return found.assign(value_shape=shape)


def _shape_of_poisson_orders(orders: Array) -> Array:
    """Return 1 / CV² of a sum of exponential values, one per order of at least one."""
    orders = np.maximum(orders, 1e-9)
    any_order = -np.expm1(-orders)
    mean, square = orders / any_order, (orders + orders**2) / any_order
    return mean**2 / (mean + square - mean**2)
