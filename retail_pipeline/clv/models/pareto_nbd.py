"""Pareto/NBD: purchases at a Gamma rate until a dropout at a Gamma rate.

Maximum likelihood and closed forms on plain arrays; times are in days.

Sources:
    Schmittlein, Morrison, Colombo (1987), Counting Your Customers: Who Are They and What Will They
    Do Next? Management Science 33(1).
    Fader, Hardie (2005), A Note on Deriving the Pareto/NBD Model and Related Expressions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy.special import digamma, exprel, gammaln

from retail_pipeline.clv.models.base import Array
from retail_pipeline.clv.models.purchases import Purchases, most_likely, weighted_histories

_NODES, _WEIGHTS = leggauss(24)
_CHUNK_ROWS = 20_000
"""Rows per block of the quadrature: 24 nodes each, so a block stays at a few megabytes."""


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
        distinct, counts, scale = weighted_histories(history)
        bounds = [
            (1e-3, 1e3),
            (1e-3 * scale, 1e4 * scale),
            (1e-4, 1e2),
            (1e-3 * scale, 1e4 * scale),
        ]
        starts = _pareto_nbd_starts(distinct, counts, scale)
        return cls(*most_likely(_pareto_nbd_loss, starts, bounds, distinct, counts, "Pareto/NBD"))

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
        """Return each customer's probability of at least one purchase in the next `days`."""
        return self.probability_alive(history) * self.purchase_if_alive(history, days)

    def purchase_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the probability of a purchase of customers who have not dropped out.

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
        return np.clip(1 - none, 0.0, 1.0)

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
