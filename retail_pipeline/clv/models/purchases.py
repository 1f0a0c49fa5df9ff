"""Purchase histories, and the search for the likeliest parameters of a model of them.

Plain arrays: no frames, no estimator interface (that is `btyd`), no knowledge of features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

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

    def __post_init__(self) -> None:
        if not (len(self.repeats) == len(self.last) == len(self.age)):
            raise ValueError("repeats, last and age must have one length")

    def __len__(self) -> int:
        return len(self.age)

    def rows(self, chosen: slice | NDArray[np.int_]) -> "Purchases":
        """Return some of the customers."""
        return Purchases(self.repeats[chosen], self.last[chosen], self.age[chosen])

    def distinct(self) -> tuple["Purchases", Array]:
        """Return the distinct histories and how often each occurs: one-timers collapse."""
        rows, place = self.alike
        return self.rows(rows), np.bincount(place, minlength=len(rows)).astype(float)

    @cached_property
    def alike(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A row of each distinct history, and each customer's place among these."""
        order = np.lexsort((self.age, self.last, self.repeats))
        columns = [column[order] for column in (self.repeats, self.last, self.age)]
        changes = np.any([column[1:] != column[:-1] for column in columns], axis=0)
        first = np.concatenate([np.ones(min(len(self), 1), bool), changes])
        place = np.empty(len(self), np.int64)
        place[order] = np.cumsum(first) - 1
        return order[first], place

    @cached_property
    def levels(self) -> tuple[Array, NDArray[np.int64]]:
        """All numbers of repeats up to the highest, and each customer's place among them."""
        places = self.repeats.astype(np.int64)
        return np.arange(places.max(initial=0) + 1.0), places

    @cached_property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A row of each distinct pair of repeats and age, and each customer's place among these.

        Days are whole, so a population has far fewer pairs than customers.
        """
        days = self.age.astype(np.int64)
        cells = (self.repeats.max(initial=0) + 1) * (self.age.max(initial=0) + 1)
        if np.any(days != self.age) or cells > _MOST_CELLS_PER_ROW * len(self):
            return np.arange(len(self)), np.arange(len(self))
        cell = self.levels[1] * (days.max(initial=0) + 1) + days
        row = np.full(int(cells), -1)
        row[cell] = np.arange(len(self))
        taken = np.flatnonzero(row >= 0)
        chosen = row[taken]
        row[taken] = np.arange(len(taken))
        return chosen, row[cell]


_MOST_CELLS_PER_ROW = 50


def weighted_histories(history: Purchases) -> tuple[Purchases, Array, float]:
    """Return the distinct histories, how many customers have each, and their mean age in days.

    Raises:
        FitError: There is no customer, or nobody ever came back.
    """
    if not np.any(history.repeats > 0):
        raise FitError("nobody has purchased on two days")
    distinct, counts = history.distinct()
    return distinct, counts, max(float(np.average(distinct.age, weights=counts)), 1.0)


_ROUGH_ROWS = 1_500
"""Distinct histories that decide between starting points."""


def most_likely(
    loss: Callable[[Array, Purchases, Array], tuple[float, Array]],
    starts: list[Array],
    bounds: list[tuple[float, float]],
    distinct: Purchases,
    counts: Array,
    name: str,
) -> list[float]:
    """Return the parameters of the highest likelihood, searched on their logarithms.

    Every starting point is followed on evenly spaced histories; the best end of these is followed
    on all of them. One input has one answer: sums over customers are taken in one thread, as they
    are too short for more and the way threads share a sum changes its last bits.

    Raises:
        FitError: No finite maximum was found.
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
    with threadpool_limits(limits=1):
        rough = [
            follow(np.log(start), distinct.rows(some), counts[some], 1e-7, 1e-4) for start in starts
        ]
        ends = [found for found in rough if np.isfinite(found.fun)]
        if ends:
            nearest = min(ends, key=lambda found: found.fun).x
            best = follow(nearest, distinct, counts, 1e-12, 1e-7)
            if np.isfinite(best.fun):
                return [float(value) for value in np.exp(best.x)]
    raise FitError(f"the {name} likelihood has no finite maximum on these data")
