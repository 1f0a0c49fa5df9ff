"""Purchase histories as arrays, and the base class of their models: fit and expectations.

Frames, features and the interface of estimators are in `btyd`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_simpson
from scipy.optimize import OptimizeResult, minimize

from retail_pipeline import cores
from retail_pipeline.clv.models.base import Array


class FitError(ValueError):
    """The likelihood has no usable maximum on these data."""


@dataclass(frozen=True)
class Purchases:
    """The purchase history of customers at one date; three arrays of one length.

    Attributes:
        repeats: Purchases after the first (x).
        last: Time of the last purchase since the first (t_x), in days.
        age: Time since the first purchase (T), in days; at least `last`.
    """

    repeats: Array
    last: Array
    age: Array

    def __len__(self) -> int:
        return len(self.age)

    def rows(self, chosen: slice | NDArray[np.int_]) -> "Purchases":
        """Return some of the customers."""
        return Purchases(self.repeats[chosen], self.last[chosen], self.age[chosen])

    @cached_property
    def alike(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A row index for each distinct history, and each customer's position among these."""
        order = np.lexsort((self.age, self.last, self.repeats))
        columns = [column[order] for column in (self.repeats, self.last, self.age)]
        changes = np.any([column[1:] != column[:-1] for column in columns], axis=0)
        first = np.concatenate([np.ones(min(len(self), 1), bool), changes])
        place = np.empty(len(self), np.int64)
        place[order] = np.cumsum(first) - 1
        return order[first], place

    @cached_property
    def levels(self) -> tuple[Array, NDArray[np.int64]]:
        """All numbers of repeats up to the highest, and each customer's position among them."""
        places = self.repeats.astype(np.int64)
        return np.arange(places.max(initial=0) + 1.0), places

    @cached_property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A row index for each distinct pair of repeats and age, and each customer's position.

        Ages are whole days, so a population has far fewer pairs than customers.
        """
        pair = self.repeats + 1j * self.age
        _, rows, place = np.unique(pair, return_index=True, return_inverse=True)
        return rows, place


class PurchaseProcess(ABC):
    """Base class of models with purchases at a Gamma rate until dropout.

    A subclass is a dataclass of four parameters above 0; the first two are r and alpha of the rate.
    """

    title: ClassVar[str]
    r: float
    alpha: float

    @classmethod
    def fit(cls, history: Purchases) -> Self:
        """Return the maximum-likelihood parameters, within wide bounds.

        The search has two starting points, as the likelihood has flat ridges. On thin data it ends
        at a bound.

        Raises:
            FitError: No customer bought twice, or no finite maximum was found.
        """
        if not np.any(history.repeats > 0):
            raise FitError("no customer has bought on two days")
        rows, place = history.alike
        distinct, counts = history.rows(rows), np.bincount(place).astype(float)
        scale = max(float(np.average(distinct.age, weights=counts)), 1.0)
        repeats = max(float(np.average(distinct.repeats, weights=counts)), 0.05)
        starts, bounds = cls._search(scale, repeats)
        found = _most_likely(cls._loss, starts, bounds, distinct, counts)
        if found is None:
            raise FitError(f"the {cls.title} likelihood has no finite maximum on these data")
        return cls(*found.tolist())

    @staticmethod
    @abstractmethod
    def _search(scale: float, repeats: float) -> tuple[list[Array], list[tuple[float, float]]]:
        """Return starting points and bounds, given the customers' mean age and mean repeats."""

    @staticmethod
    @abstractmethod
    def _loss(logs: Array, history: Purchases, counts: Array) -> tuple[float, Array]:
        """Return the mean negative log-likelihood and its gradient in the parameters' logs."""

    @abstractmethod
    def probability_alive(self, history: Purchases) -> Array:
        """Return each customer's probability of not having dropped out yet."""

    @abstractmethod
    def purchases_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the expected purchases in the next `days` of those who have not dropped out."""

    @abstractmethod
    def purchase_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the probability of a purchase of customers who have not dropped out."""

    def first_purchase_if_alive(self, history: Purchases, days: float) -> tuple[Array, Array]:
        """Return times up to `days` and the probability of a purchase within each of them.

        Both have one row per customer, who has not dropped out. The density of the time u until a
        purchase is E[rate · exp(-rate · u)] · P(no dropout until u). It is integrated by
        Simpson's rule over w, with u = d · (e^w - 1) and d its scale of decay.
        """
        shape, time = (self.r + history.repeats)[:, None], (self.alpha + history.age)[:, None]
        scale = time / (shape + 1)
        w = np.log1p(days / scale) * np.linspace(0, 1, _STEPS)
        times = scale * np.expm1(w)
        log = self.log_no_dropout(history, times) - (shape + 1) * np.log1p(times / time)
        density = np.exp(log) * (shape / time * (times + scale))
        return times, cumulative_simpson(density, dx=w[:, 1:2], initial=0.0)

    @abstractmethod
    def log_no_dropout(self, history: Purchases, times: Array) -> Array:
        """Return the log probability of no dropout within times without a purchase.

        Args:
            history: Customers who have not dropped out.
            times: One row per customer.
        """

    def usual_gap(self, history: Purchases) -> Array:
        """Return the median days between each customer's purchases.

        The rate's distribution is that given the purchases up to the last one; the silence since
        then is left out, as it is compared with the gap.
        """
        shape, time = self.r + history.repeats, self.alpha + history.last
        return time * np.expm1(np.log(2) / shape)

    def expected_purchases(self, history: Purchases, days: float) -> Array:
        """Return each customer's expected purchases in the next `days`."""
        return self.probability_alive(history) * self.purchases_if_alive(history, days)

    def probability_of_purchase(self, history: Purchases, days: float) -> Array:
        """Return each customer's probability of at least one purchase in the next `days`."""
        return self.probability_alive(history) * self.purchase_if_alive(history, days)

    def square_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the mean square of purchases in the next `days` of those who have not dropped out.

        By default purchases are a Poisson count at the customer's Gamma rate, without dropout.
        """
        mean = self.purchases_if_alive(history, days)
        return mean + mean**2 * (1 + 1 / (self.r + history.repeats))


_STEPS = 33
_ROUGH_ROWS = 1_500
"""Distinct histories used to choose between starting points."""


def _most_likely(
    loss: Callable[[Array, Purchases, Array], tuple[float, Array]],
    starts: list[Array],
    bounds: list[tuple[float, float]],
    distinct: Purchases,
    counts: Array,
) -> Array | None:
    """Return the maximum-likelihood parameters; None without a finite maximum.

    The search runs over the logarithms of parameters: from every starting point on evenly spaced
    histories, then from the best of these on all histories. It uses one thread, as the number of
    threads would change the last bits of sums.
    """

    def follow(
        start: Array, history: Purchases, weights: Array, ftol: float, gtol: float
    ) -> OptimizeResult:
        return minimize(
            loss,
            start,
            args=(history, weights),
            jac=True,
            method="L-BFGS-B",
            bounds=np.log(bounds),
            options={"maxiter": 500, "ftol": ftol, "gtol": gtol},
        )

    some = np.unique(np.linspace(0, len(distinct) - 1, _ROUGH_ROWS).astype(int))
    with cores.one_thread():
        rough = [
            follow(np.log(start), distinct.rows(some), counts[some], 1e-7, 1e-4) for start in starts
        ]
        ends = [found for found in rough if np.isfinite(found.fun)]
        if not ends:
            return None
        nearest = min(ends, key=lambda found: found.fun).x
        best = follow(nearest, distinct, counts, 1e-12, 1e-7)
    return np.exp(best.x) if np.isfinite(best.fun) else None
