"""The interface of all models, the two parts of a learning frame, and abstention."""

from abc import abstractmethod
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from retail_pipeline.settings import DEFAULT_HORIZON_DAYS

Array = NDArray[np.float64]

PREDICTED: Final = ["predicted_value", "expected_orders", "probability_active"]

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
        """Return the three predictions for feature rows."""

    def parameters(self) -> dict[str, Any]:
        """Return the fitted parameters as JSON values: numbers, texts, lists and dicts."""
        return {name: getattr(self, f"{name}_") for name in self.stored}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Take over what `parameters` returned; predictions are then the same to the bit."""
        for name in self.stored:
            setattr(self, f"{name}_", parameters[name])
        return self

    def sampler(self, frame: pd.DataFrame) -> "tuple[DrawingModel, Array] | None":  # noqa: ARG002
        """Return the model whose draws, times a factor per customer, are this one's outcomes.

        None where no model draws: then orders are taken for Poisson, their values for exponential.
        """
        return None

    def share_of_orders(self, frame: pd.DataFrame, days: float) -> Array:
        """Return the share of the horizon's orders expected in its first `days`, from 0 to 1.

        An even spread, where a model does not tell earlier days from later ones.
        """
        return np.full(len(frame), days / self.horizon_days)


class DrawingModel(ValueModel):
    """A model that knows the distribution of each customer's outcome."""

    @abstractmethod
    def alike(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, Array]:
        """Return which customers have the same outcomes but for a factor.

        Returns:
            A row of each kind of customer; each customer's place among these; each customer's
            scale: outcomes over scale are distributed alike within a kind.
        """

    @abstractmethod
    def sample(self, frame: pd.DataFrame, draws: int, random: np.random.Generator) -> Array:
        """Draw outcomes: values, one row per customer, one column per draw."""


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


def predictions(
    frame: pd.DataFrame, value: float | Array, orders: float | Array, active: float | Array
) -> pd.DataFrame:
    """Return the three predictions as a frame with the index of the rows, at least 0."""
    columns = {"predicted_value": value, "expected_orders": orders, "probability_active": active}
    return pd.DataFrame(columns, index=frame.index, dtype=float).clip(lower=0.0)
