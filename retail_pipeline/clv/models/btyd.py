"""The buy-till-you-die models: purchases by Pareto/NBD or BG/NBD, times Gamma-Gamma value.

Fits are cached by their input, as several models use the fit of one population. The likelihoods
are in `pareto_nbd`, `bg_nbd` and `gamma_gamma`.
"""

import hashlib
from collections import OrderedDict
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd

from retail_pipeline.clv.models.base import (
    RHYTHM,
    AbstainError,
    Array,
    ValueModel,
    Waiting,
    latest_rows,
    predictions,
)
from retail_pipeline.clv.models.bg_nbd import BGNBD
from retail_pipeline.clv.models.gamma_gamma import GammaGamma
from retail_pipeline.clv.models.pareto_nbd import ParetoNBD
from retail_pipeline.clv.models.purchases import FitError, PurchaseProcess, Purchases


class _GammaGammaModel(ValueModel):
    """Base class of a purchase process times Gamma-Gamma values.

    Both parts are fitted by maximum likelihood to all customers' histories at the latest date and
    need no past outcomes. Gamma-Gamma is fitted to the value of every purchase, the first
    included; a customer's expected value then follows from the mean net of returns. Value and
    number of purchases are taken as independent.
    """

    process: ClassVar[type[PurchaseProcess]]

    @property
    def days_ahead(self) -> float:
        """Days for which the purchase process predicts: here the horizon."""
        return float(self.horizon_days)

    @property
    def value_factor(self) -> float:
        """Factor on the value of a purchase in the horizon: here 1."""
        return 1.0

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit both parts to the rows of the latest date.

        Raises:
            AbstainError: A likelihood has no usable maximum, as when no customer bought again.
        """
        today = latest_rows(frame)
        self.training_rows_ = len(today)
        try:
            self.purchases_, self.values_ = _fitted(self.process, today)
        except FitError as error:
            raise AbstainError(str(error)) from None
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return predictions by closed forms: expected purchases times value per purchase."""
        history = history_of(frame)
        alive = self.purchases_.probability_alive(history)
        orders, square = (
            moment(history, self.days_ahead)
            for moment in (self.purchases_.purchases_if_alive, self.purchases_.square_if_alive)
        )
        any_order = np.maximum(self.purchases_.purchase_if_alive(history, self.days_ahead), _SMALL)
        counts, means = _values(frame)
        each = self.values_.expected_value(counts, means) * self.value_factor
        shape = self.values_.shape_of_totals(counts, orders / any_order, square / any_order)
        return predictions(frame, alive * orders * each, alive * orders, alive * any_order, shape)

    @property
    def dates(self) -> "_GammaGammaModel":
        """The model itself."""
        return self

    def waiting(self, frame: pd.DataFrame) -> Waiting:
        """Return the days until the next order, which a season stretches or shortens evenly."""
        history = history_of(frame)
        days, bought = self.purchases_.first_purchase_if_alive(history, self.days_ahead)
        alive = self.purchases_.probability_alive(history)
        return Waiting(days * (self.horizon_days / self.days_ahead), alive[:, None] * bought)

    def rhythm(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return P(alive), the median days to the next order, and the median gap between orders."""
        history = history_of(frame)
        gap = np.where(history.repeats > 0, self.purchases_.usual_gap(history), np.nan)
        alive = self.purchases_.probability_alive(history)
        columns = (alive, self.waiting(frame).quantile(0.5), gap)
        return pd.DataFrame(dict(zip(RHYTHM, columns, strict=True)), index=frame.index)

    def share_of_orders(self, frame: pd.DataFrame, days: float) -> Array:
        """Return the share by closed form, in which P(alive) cancels out."""
        history, even = history_of(frame), np.full(len(frame), days / self.horizon_days)
        part, whole = (
            self.purchases_.purchases_if_alive(history, share * self.days_ahead)
            for share in (days / self.horizon_days, 1.0)
        )
        return np.divide(part, whole, out=even, where=whole > 0)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of both parts, in days and in the data's currency."""
        return {"purchases": vars(self.purchases_), "gamma_gamma": vars(self.values_)}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Set the parameters of both parts."""
        self.purchases_ = self.process(**_floats(parameters["purchases"]))
        self.values_ = GammaGamma(**_floats(parameters["gamma_gamma"]))
        return self


class ParetoNBDGammaGamma(_GammaGammaModel):
    """Purchases by Pareto/NBD, their value by Gamma-Gamma: the incumbent."""

    name = "pareto_nbd_gamma_gamma"
    description = "Pareto/NBD purchases times Gamma-Gamma value, maximum likelihood"
    process = ParetoNBD


class BGNBDGammaGamma(_GammaGammaModel):
    """Purchases by BG/NBD (dropout right after a purchase), their value by Gamma-Gamma."""

    name = "bg_nbd_gamma_gamma"
    description = "BG/NBD purchases times Gamma-Gamma value, maximum likelihood"
    process = BGNBD


_FITS: OrderedDict[str, tuple[PurchaseProcess, GammaGamma]] = OrderedDict()
_MOST_FITS = 128


def _fitted(
    process: type[PurchaseProcess], rows: pd.DataFrame
) -> tuple[PurchaseProcess, GammaGamma]:
    """Return the maximum-likelihood fit of a population, from the cache if possible.

    Raises:
        FitError: A likelihood has no usable maximum.
    """
    digest = hashlib.sha256(process.__name__.encode())
    for name in _HISTORY:
        digest.update(rows[name].to_numpy(float).tobytes())
    key = digest.hexdigest()
    if key not in _FITS:
        _FITS[key] = (process.fit(history_of(rows)), _fitted_values(rows))
        while len(_FITS) > _MOST_FITS:
            _FITS.popitem(last=False)
    return _FITS[key]


_HISTORY: Final = (
    *("age_days", "recency_days", "purchase_days"),
    *("total_net_amount", "mean_purchase_value", "log_purchase_value_sum"),
)
"""Features that the models read."""

_LEAST_NET_SHARE = 0.01
_SMALL = 1e-12


def history_of(frame: pd.DataFrame) -> Purchases:
    """Return the purchase histories of feature rows."""
    age, recency, days = (
        frame[name].to_numpy(float) for name in ("age_days", "recency_days", "purchase_days")
    )
    return Purchases(repeats=days - 1, last=age - recency, age=age)


def _values(frame: pd.DataFrame) -> tuple[Array, Array]:
    """Return the number of purchases and the net value per purchase, at least 1 % of the gross."""
    counts = frame["purchase_days"].to_numpy(float)
    net = frame["total_net_amount"].to_numpy(float) / counts
    least = _LEAST_NET_SHARE * frame["mean_purchase_value"].to_numpy(float)
    return counts, np.maximum(net, least)


def _fitted_values(frame: pd.DataFrame) -> GammaGamma:
    """Return the Gamma-Gamma parameters fitted to a population's single purchases."""
    counts, means, logs = (
        frame[name].to_numpy(float)
        for name in ("purchase_days", "mean_purchase_value", "log_purchase_value_sum")
    )
    return GammaGamma.fit(counts, means, logs)


def _floats(parameters: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in parameters.items()}
