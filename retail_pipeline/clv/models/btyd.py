"""The buy-till-you-die models: purchases by Pareto/NBD or BG/NBD, times Gamma-Gamma value.

Fits are cached by their input, as several models and cut-offs need the fit of one population. The
likelihoods are in `pareto_nbd`, `bg_nbd` and `gamma_gamma`.
"""

import hashlib
from collections import OrderedDict
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from retail_pipeline.clv.models.base import (
    AbstainError,
    Array,
    DrawingModel,
    latest_rows,
    predictions,
)
from retail_pipeline.clv.models.bg_nbd import BGNBD
from retail_pipeline.clv.models.gamma_gamma import GammaGamma
from retail_pipeline.clv.models.pareto_nbd import ParetoNBD
from retail_pipeline.clv.models.purchases import FitError, PurchaseProcess, Purchases


class _GammaGammaModel(DrawingModel):
    """A purchase process times Gamma-Gamma: everything but which process it is.

    It needs no past outcomes: fitted by maximum likelihood on everyone's history at the latest
    date. The Gamma-Gamma part sees all purchase occasions, the first included, and their value net
    of returns (a returned order was worth nothing). Value and number of purchases are taken as
    independent.
    """

    process: ClassVar[type[PurchaseProcess]]

    def fit(self, frame: pd.DataFrame) -> Self:
        """Learn the parameters of both parts from the rows of the latest date.

        Raises:
            AbstainError: A likelihood has no usable maximum, as when nobody ever came back.
        """
        today = latest_rows(frame)
        self.training_rows_ = len(today)
        try:
            self.purchases_, self.values_ = _fitted(self.process, today)
        except FitError as error:
            raise AbstainError(str(error)) from None
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the closed forms: expected purchases times expected value per purchase."""
        history = _purchases(frame)
        alive = self.purchases_.probability_alive(history)
        orders = alive * self.purchases_.purchases_if_alive(history, self.horizon_days)
        active = alive * self.purchases_.purchase_if_alive(history, self.horizon_days)
        value = orders * self.values_.expected_value(*_values(frame))
        return predictions(frame, value, orders, active)

    def share_of_orders(self, frame: pd.DataFrame, days: float) -> Array:
        """Return the closed form: the probability of being alive cancels out."""
        history, even = _purchases(frame), super().share_of_orders(frame, days)
        part, whole = (
            self.purchases_.purchases_if_alive(history, length)
            for length in (days, self.horizon_days)
        )
        return np.divide(part, whole, out=even, where=whole > 0)

    def sampler(self, frame: pd.DataFrame) -> tuple[DrawingModel, Array]:
        """Return itself: it knows each customer's posterior."""
        return self, np.ones(len(frame))

    def alike(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, Array]:
        """Return the distinct histories: between customers of one history value is a scale."""
        counts, means = _values(frame)
        return *_purchases(frame).alike, self.values_.gamma + counts * means

    def sample(self, frame: pd.DataFrame, draws: int, random: np.random.Generator) -> Array:
        """Draw outcomes from each customer's posterior."""
        purchases = self.purchases_.simulate_purchases(
            _purchases(frame), self.horizon_days, draws, random
        )
        return self.values_.simulate_totals(*_values(frame), purchases, random)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of both parts; time in days, money in the data's currency."""
        return {"purchases": vars(self.purchases_), "gamma_gamma": vars(self.values_)}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Take over the parameters of both parts."""
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
    """Return the maximum-likelihood fit of one population, from the cache where it is there.

    Raises:
        FitError: A likelihood has no usable maximum.
    """
    history, (counts, means) = _purchases(rows), _values(rows)
    digest = hashlib.sha256(process.__name__.encode())
    for array in (history.repeats, history.last, history.age, counts, means):
        digest.update(np.ascontiguousarray(array).tobytes())
    key = digest.hexdigest()
    if key not in _FITS:
        _FITS[key] = (process.fit(history), GammaGamma.fit(counts, means))
        while len(_FITS) > _MOST_FITS:
            _FITS.popitem(last=False)
    return _FITS[key]


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
