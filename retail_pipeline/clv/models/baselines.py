"""The two baselines: the average outcome, and the last window repeated."""

from typing import ClassVar, Self

import numpy as np
import pandas as pd

from retail_pipeline.clv.models.base import (
    Array,
    ValueModel,
    labeled_rows,
    latest_rows,
    predictions,
)


class Mean(ValueModel):
    """Predicts the average outcome for all customers. It serves if no other model can be fitted.

    Without past outcomes, expected orders are the repeat purchases per day of age times the
    horizon, and each has the mean net amount per purchase day. If no customer has bought again,
    the prediction is 0.
    """

    name = "mean"
    description = "the average outcome for everyone"
    stored = ("value", "orders", "active")
    value_: float
    orders_: float
    active_: float

    def fit(self, frame: pd.DataFrame) -> Self:
        """Set the averages from past outcomes or, without any, from the history; never abstains."""
        known = labeled_rows(frame)
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
        """Return the averages for every row."""
        return predictions(frame, self.value_, self.orders_, self.active_)


class LastWindow(ValueModel):
    """Predicts that the next horizon repeats the last one.

    A horizon between two feature windows is interpolated; one beyond 365 days is interpolated
    between the last year and the customer's whole history.
    """

    name = "last_window"
    description = "what the customer spent in a window of the same length before the date"

    _VALUE_WINDOWS: ClassVar = {d: f"net_amount_{d}d" for d in (7, 30, 60, 90, 180, 365)}
    _ORDER_WINDOWS: ClassVar = {d: f"purchase_days_{d}d" for d in (30, 90, 180, 365)}

    def fit(self, frame: pd.DataFrame) -> Self:  # noqa: ARG002
        """Return the model: it has no parameters."""
        self.training_rows_ = 0
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return net amount and purchase days of the last window; active if there was any."""
        value = self._in_window(frame, self._VALUE_WINDOWS, "total_net_amount")
        orders = self._in_window(frame, self._ORDER_WINDOWS, "purchase_days")
        return predictions(frame, value, orders, (orders > 0).astype(float))

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
