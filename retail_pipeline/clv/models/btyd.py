"""The buy-till-you-die probability models: Pareto/NBD, BG/NBD and Gamma-Gamma.

Maximum likelihood and closed forms on plain arrays. No frames, no estimator interface (that is
`estimators`), no knowledge of features or horizons beyond the numbers passed in.

Sources:
    Schmittlein, Morrison, Colombo (1987), Counting Your Customers: Who Are They and What Will They
    Do Next? Management Science 33(1).
    Fader, Hardie (2005), A Note on Deriving the Pareto/NBD Model and Related Expressions.
    Fader, Hardie, Lee (2005), Counting Your Customers the Easy Way: An Alternative to the
        Pareto/NBD Model. Marketing Science 24(2).
    Fader, Hardie (2013), The Gamma-Gamma Model of Monetary Value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize
from scipy.special import digamma, expit, exprel, gammaln, hyp2f1
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = leggauss(24)
_CHUNK_ROWS = 20_000
"""Rows per block of the quadrature: 24 nodes each, so a block stays at a few megabytes."""


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


def _weighted_histories(history: Purchases) -> tuple[Purchases, Array, float]:
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


def _most_likely(
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


@dataclass(frozen=True)
class ParetoNBD:
    """Purchases at a Gamma(r, alpha) rate until dropout at a Gamma(s, beta) rate; time in days."""

    r: float
    alpha: float
    s: float
    beta: float

    @classmethod
    def fit(cls, history: Purchases) -> "ParetoNBD":
        """Return the maximum-likelihood parameters.

        Two starting points guard against the likelihood's flat ridges; the search works on the
        logarithms of the parameters within wide bounds, so that thin data ends at a bound instead
        of nowhere.

        Raises:
            FitError: There is no customer, nobody ever came back, or no finite maximum was found.
        """
        distinct, counts, scale = _weighted_histories(history)
        bounds = [
            (1e-3, 1e3),
            (1e-3 * scale, 1e4 * scale),
            (1e-4, 1e2),
            (1e-3 * scale, 1e4 * scale),
        ]
        starts = _pareto_nbd_starts(distinct, counts, scale)
        return cls(*_most_likely(_pareto_nbd_loss, starts, bounds, distinct, counts, "Pareto/NBD"))

    def log_likelihood(self, history: Purchases) -> Array:
        """Return each customer's log-likelihood."""
        return self._terms(history)[0]

    def probability_alive(self, history: Purchases) -> Array:
        """Return each customer's probability of not having dropped out yet."""
        return self._terms(history)[1]

    def expected_purchases(self, history: Purchases, days: float) -> Array:
        """Return each customer's expected purchases in the next `days` (Fader, Hardie 2005)."""
        return self.probability_alive(history) * self.purchases_if_alive(history, days)

    def purchases_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the expected purchases in the next `days` of customers who have not dropped out.

        `exprel` keeps the expression exact where s is near 1, its removable singularity.
        """
        rate = (self.r + history.repeats) / (self.alpha + history.age)
        reach = self.beta + history.age
        log_growth = np.log1p(days / reach)
        return rate * (reach * log_growth * exprel(-(self.s - 1) * log_growth))

    def probability_of_purchase(self, history: Purchases, days: float) -> Array:
        """Return each customer's probability of at least one purchase in the next `days`.

        For a customer who is active at T the rates are again Gamma, with parameters r + x,
        alpha + T, s, beta + T: no purchase is the likelihood of a new customer's empty history.
        """
        none = np.empty(len(history))
        for start in range(0, len(history), _CHUNK_ROWS):
            h = history.rows(slice(start, start + _CHUNK_ROWS))
            zeros = np.zeros(len(h))
            later = _Rates(self.r + h.repeats, self.alpha + h.age, self.s, self.beta + h.age)
            empty = _likelihood_terms(later, Purchases(zeros, zeros, zeros + days))
            none[start : start + _CHUNK_ROWS] = np.exp(empty.log_likelihood)
        return self.probability_alive(history) * np.clip(1 - none, 0.0, 1.0)

    def expected_purchases_of_new_customer(self, days: float) -> float:
        """Return the expected repeat purchases in the first `days` of a customer's life."""
        log_growth = np.log1p(days / self.beta)
        lifetime = self.beta * log_growth * exprel(-(self.s - 1) * log_growth)
        return float(self.r / self.alpha * lifetime)

    def simulate_purchases(
        self, history: Purchases, days: float, draws: int, random: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw each customer's purchases in the next `days` from the posterior.

        Returns:
            Counts, one row per customer, one column per draw.
        """
        shape = (len(history), draws)
        alive = random.random(shape) < self.probability_alive(history)[:, None]
        rate = random.gamma((self.r + history.repeats)[:, None], size=shape)
        rate /= (self.alpha + history.age)[:, None]
        dropout = random.gamma(self.s, size=shape) / (self.beta + history.age)[:, None]
        left = random.exponential(size=shape) / np.maximum(dropout, 1e-300)
        return random.poisson(np.where(alive, rate * np.minimum(left, days), 0.0))

    @property
    def _rates(self) -> "_Rates":
        return _Rates(self.r, self.alpha, self.s, self.beta)

    def _terms(self, history: Purchases) -> tuple[Array, Array]:
        log_likelihood, alive = np.empty(len(history)), np.empty(len(history))
        for start in range(0, len(history), _CHUNK_ROWS):
            chunk = slice(start, start + _CHUNK_ROWS)
            terms = _likelihood_terms(self._rates, history.rows(chunk))
            log_likelihood[chunk], alive[chunk] = terms.log_likelihood, terms.alive
        return log_likelihood, alive


class _Rates(NamedTuple):
    """The four parameters, for all customers or one by one."""

    r: float | Array
    alpha: float | Array
    s: float
    beta: float | Array


@dataclass(frozen=True)
class _LikelihoodTerms:
    """The likelihood split by "still active" and "dropped out at t", with the nodes over t."""

    log_likelihood: Array
    alive: Array
    dropped: Array
    """Weight of each node's dropout time, rows summing to 1 - alive."""
    times: Array
    log_alpha: Array
    log_beta: Array
    """Logarithms of alpha + t and beta + t at the nodes."""


def _likelihood_terms(model: _Rates, h: Purchases) -> _LikelihoodTerms:
    """Evaluate the Pareto/NBD likelihood as an integral over the dropout time.

    The textbook form subtracts two Gauss hypergeometric functions, which overflow for heavy buyers
    and cancel where the last purchase was today. The integral behind them,
    ∫ (alpha+t)^-(r+x) (beta+t)^-(s+1) dt over [t_x, T], is of a positive and decreasing function:
    with t = t_x + d·(e^w - 1), d its scale of decay at t_x, it is smooth in w, so Gauss-Legendre in
    log space is exact to about 1e-9 for any count and any parameters.
    """
    purchases = model.r + h.repeats
    scale = 1 / (purchases / (model.alpha + h.last) + (model.s + 1) / (model.beta + h.last))
    width = np.log1p((h.age - h.last) / scale)
    w = width[:, None] * (_NODES + 1) / 2
    times = h.last[:, None] + scale[:, None] * np.expm1(w)
    log_alpha = np.log(_column(model.alpha) + times)
    log_beta = np.log(_column(model.beta) + times)
    with np.errstate(divide="ignore"):
        log_nodes = (
            np.log(model.s)
            - purchases[:, None] * log_alpha
            - (model.s + 1) * log_beta
            + w
            + np.log(scale * width / 2)[:, None]
            + np.log(_WEIGHTS)
        )
    log_alive = -purchases * np.log(model.alpha + h.age) - model.s * np.log(model.beta + h.age)
    top = np.maximum(log_alive, log_nodes.max(axis=1))
    alive, dropped = np.exp(log_alive - top), np.exp(log_nodes - top[:, None])
    total = alive + dropped.sum(axis=1)
    constant = (
        gammaln(purchases)
        - gammaln(model.r)
        + model.r * np.log(model.alpha)
        + model.s * np.log(model.beta)
    )
    return _LikelihoodTerms(
        constant + top + np.log(total),
        alive / total,
        dropped / total[:, None],
        times,
        log_alpha,
        log_beta,
    )


def _column(parameter: float | Array) -> float | Array:
    return parameter[:, None] if isinstance(parameter, np.ndarray) else parameter


def _pareto_nbd_loss(logs: Array, history: Purchases, counts: Array) -> tuple[float, Array]:
    """Return the mean negative log-likelihood and its gradient in the logs of the parameters."""
    model = _Rates(*np.exp(logs))
    loss, gradient = 0.0, np.zeros(4)
    for start in range(0, len(history), _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        part, weights = history.rows(chunk), counts[chunk]
        terms = _likelihood_terms(model, part)
        loss -= float(weights @ terms.log_likelihood)
        gradient -= np.array([weights @ slope for slope in _slopes(model, part, terms)])
    total = counts.sum()
    return loss / total, gradient * np.exp(logs) / total


def _slopes(model: _Rates, h: Purchases, terms: _LikelihoodTerms) -> tuple[Array, ...]:
    """Return each log-likelihood's derivatives in r, alpha, s, beta; the nodes stand still."""
    r, alpha, s, beta = model.r, model.alpha, model.s, model.beta
    purchases, alive = r + h.repeats, terms.alive

    def mean(at_end: Array, at_dropout: Array) -> Array:
        return alive * at_end + np.einsum("ij,ij->i", terms.dropped, at_dropout)

    log_alpha = mean(np.log(alpha + h.age), terms.log_alpha)
    log_beta = mean(np.log(beta + h.age), terms.log_beta)
    over_alpha = mean(1 / (alpha + h.age), 1 / (alpha + terms.times))
    over_beta = mean(s / (beta + h.age), (s + 1) / (beta + terms.times))
    return (
        digamma(purchases) - digamma(r) + np.log(alpha) - log_alpha,
        r / alpha - purchases * over_alpha,
        np.log(beta) - log_beta + (1 - alive) / s,
        s / beta - over_beta,
    )


def _pareto_nbd_starts(history: Purchases, counts: Array, scale: float) -> list[Array]:
    repeats = max(float(np.average(history.repeats, weights=counts)), 0.05)
    return [
        np.array([0.6, 0.6 * scale / repeats, 0.5, scale]),
        np.array([1.5, 1.5 * scale / repeats, 0.2, 0.3 * scale]),
    ]


@dataclass(frozen=True)
class BGNBD:
    """Purchases at a Gamma(r, alpha) rate; dropout after a purchase, probability Beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    @classmethod
    def fit(cls, history: Purchases) -> "BGNBD":
        """Return the maximum-likelihood parameters, within wide bounds.

        Raises:
            FitError: There is no customer, nobody ever came back, or no finite maximum was found.
        """
        distinct, counts, scale = _weighted_histories(history)
        repeats = max(float(np.average(distinct.repeats, weights=counts)), 0.05)
        starts = [
            np.array([0.6, 0.6 * scale / repeats, 0.8, 2.5]),
            np.array([1.5, scale / repeats, 0.2, 1.0]),
        ]
        bounds = [(1e-3, 1e3), (1e-3 * scale, 1e4 * scale), (1e-4, 1e3), (1e-3, 1e4)]
        return cls(*_most_likely(_bg_nbd_loss, starts, bounds, distinct, counts, "BG/NBD"))

    def log_likelihood(self, history: Purchases) -> Array:
        """Return each customer's log-likelihood (Fader, Hardie, Lee 2005, equation 6)."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        x, place = history.levels
        constant = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        constant += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
        stayed = -(r + history.repeats) * np.log(alpha + history.age)
        left = self._log_gone(x)[place] - (r + history.repeats) * np.log(alpha + history.last)
        return constant[place] + np.logaddexp(stayed, left)

    def probability_alive(self, history: Purchases) -> Array:
        """Return each customer's probability of not having dropped out; 1 for one-timers."""
        x, place = history.levels
        silent = np.log((self.alpha + history.age) / (self.alpha + history.last))
        return expit(-(self._log_gone(x)[place] + (self.r + history.repeats) * silent))

    def _log_gone(self, repeats: Array) -> Array:
        """Return log(a / (b + x - 1)), the odds of dropout at the last of x repeats; none at 0."""
        odds = np.log(self.a) - np.log(np.maximum(self.b + repeats - 1, 1e-300))
        return np.where(repeats > 0, odds, -np.inf)

    def expected_purchases(self, history: Purchases, days: float) -> Array:
        """Return each customer's expected purchases in the next `days` (equation 10 there)."""
        return self.probability_alive(history) * self.purchases_if_alive(history, days)

    def purchases_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the expected purchases in the next `days` of customers who have not dropped out.

        Euler's transformation of the hypergeometric function takes its large powers away; a is
        kept off 1, where the expression is 0 / 0.
        """
        rows, place = history.pairs
        repeats, age = history.repeats[rows], history.age[rows]
        gone = self.a - 1 if abs(self.a - 1) > _OFF_ONE else _OFF_ONE
        b = self.b + repeats
        z = days / (self.alpha + age + days)
        series = hyp2f1(gone + b - self.r - repeats, gone, gone + b, z)
        with np.errstate(invalid="ignore", over="ignore"):
            purchases = (gone + b) / gone * (1 - (1 - z) ** gone * series)
        most = (self.r + repeats) / (self.alpha + age) * days
        # Where the series does not converge the customer buys so often that only the rate counts.
        return np.clip(np.where(np.isfinite(purchases), purchases, most), 0.0, most)[place]

    def probability_of_purchase(self, history: Purchases, days: float) -> Array:
        """Return each customer's probability of at least one purchase in the next `days`."""
        none = (self.r + history.repeats) * np.log1p(days / (self.alpha + history.age))
        return self.probability_alive(history) * -np.expm1(-none)

    def simulate_purchases(
        self, history: Purchases, days: float, draws: int, random: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw purchases in the next `days` from the posterior: until dropout or the end."""
        shape = (len(history), draws)
        alive = random.random(shape) < self.probability_alive(history)[:, None]
        rate = random.gamma((self.r + history.repeats)[:, None], size=shape)
        rate /= (self.alpha + history.age)[:, None]
        dropout = random.beta(self.a, (self.b + history.repeats)[:, None], size=shape)
        until_dropout = random.geometric(np.clip(dropout, 1e-12, 1.0))
        bought = np.minimum(random.poisson(rate * days), until_dropout)
        return np.where(alive, bought, 0)


_OFF_ONE = 1e-5


def _bg_nbd_loss(logs: Array, history: Purchases, counts: Array) -> tuple[float, Array]:
    """Return the mean negative log-likelihood and its gradient in the logs of the parameters."""
    r, alpha, a, b = np.exp(logs)
    x, place = history.levels
    before = np.maximum(b + x - 1, 1e-300)
    log_gone = np.where(x > 0, np.log(a) - np.log(before), -np.inf)
    constant = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    constant += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)

    at_end, at_last, power = alpha + history.age, alpha + history.last, (r + x)[place]
    log_end, log_last = np.log(at_end), np.log(at_last)
    stayed, left = -power * log_end, log_gone[place] - power * log_last
    both = np.logaddexp(stayed, left)
    gone = counts * np.exp(left - both)
    alive = counts - gone

    customers = np.bincount(place, counts, minlength=len(x))
    leavers = np.bincount(place, gone, minlength=len(x))
    ever = digamma(a + b) - digamma(a + b + x)
    gradient = np.array(
        [
            customers @ (digamma(r + x) - digamma(r) + np.log(alpha))
            - alive @ log_end - gone @ log_last,
            customers.sum() * r / alpha - power @ (alive / at_end + gone / at_last),
            customers @ ever + leavers.sum() / a,
            customers @ (ever + digamma(b + x) - digamma(b)) - leavers @ (1 / before),
        ]
    )  # fmt: skip
    total = counts.sum()
    likelihood = customers @ constant + counts @ both
    return -float(likelihood) / total, -gradient * np.exp(logs) / total


@dataclass(frozen=True)
class GammaGamma:
    """Order values Gamma(p, nu) within, nu ~ Gamma(q, gamma) between customers."""

    p: float
    q: float
    gamma: float

    @classmethod
    def fit(cls, counts: Array, means: Array) -> "GammaGamma":
        """Return the maximum-likelihood parameters.

        Args:
            counts: Purchases per customer, at least 1.
            means: Mean value per purchase, more than 0.

        Raises:
            FitError: There is no customer, or no finite maximum was found.
        """
        if not len(means):
            raise FitError("nobody has a purchase value")
        scale = float(np.exp(np.mean(np.log(means))))
        found = minimize(
            _gamma_gamma_loss,
            np.log([2.0, 3.0, 2.0]),
            args=(counts, means / scale),
            jac=True,
            method="L-BFGS-B",
            bounds=np.log([(1e-2, 1e3), (_LOWEST_Q, 1e3), (1e-3, 1e4)]),
            options={"maxiter": 500, "ftol": 1e-12, "gtol": 1e-7},
        )
        if not np.isfinite(found.fun):
            raise FitError("the Gamma-Gamma likelihood has no finite maximum on these data")
        p, q, gamma = (float(value) for value in np.exp(found.x))
        return cls(p, q, gamma * scale)

    def expected_value(self, counts: Array, means: Array) -> Array:
        """Return each customer's expected value per purchase: own mean shrunk to the average."""
        return self.p * (self.gamma + counts * means) / (self.p * counts + self.q - 1)

    def simulate_totals(
        self,
        counts: Array,
        means: Array,
        purchases: NDArray[np.int64],
        random: np.random.Generator,
    ) -> Array:
        """Draw the total value of `purchases` future purchases from each customer's posterior.

        Args:
            counts: Past purchases per customer.
            means: Their mean value.
            purchases: Future purchases, one row per customer, one column per draw.
            random: The source of randomness.

        Returns:
            Totals in the shape of `purchases`; 0 where there is no purchase.
        """
        shape = (self.q + self.p * counts)[:, None]
        nu = random.gamma(shape, size=purchases.shape)
        nu /= (self.gamma + counts * means)[:, None]
        sums = random.gamma(self.p * np.maximum(purchases, 1))
        return np.where(purchases > 0, sums / np.maximum(nu, 1e-300), 0.0)


_LOWEST_Q = 1.05
"""Below 1 the mean value of a new customer is infinite."""


def _gamma_gamma_loss(logs: Array, counts: Array, means: Array) -> tuple[float, Array]:
    """Return the mean negative log-likelihood and its gradient in the logs of the parameters."""
    p, q, gamma = np.exp(logs)
    shape, total = p * counts, gamma + counts * means
    log_total, log_sum = np.log(total), np.log(counts * means)
    likelihood = (
        gammaln(shape + q)
        - gammaln(shape)
        - gammaln(q)
        + q * np.log(gamma)
        + shape * log_sum
        - np.log(means)
        - (shape + q) * log_total
    )
    both = digamma(shape + q)
    gradient = np.array(
        [
            np.mean(counts * (both - digamma(shape) + log_sum - log_total)),
            np.mean(both - digamma(q) + np.log(gamma) - log_total),
            np.mean(q / gamma - (shape + q) / total),
        ]
    )
    return -float(np.mean(likelihood)), -gradient * np.array([p, q, gamma])


__all__ = ["BGNBD", "Array", "FitError", "GammaGamma", "ParetoNBD", "Purchases"]
