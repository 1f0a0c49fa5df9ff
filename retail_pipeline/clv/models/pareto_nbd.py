"""Pareto/NBD: purchases at a Gamma rate until a dropout at a Gamma rate.

Maximum likelihood and closed forms on plain arrays; times are in days.

Sources:
    Schmittlein, Morrison, Colombo (1987), Counting Your Customers: Who Are They and What Will They
    Do Next? Management Science 33(1).
    Fader, Hardie (2005), A Note on Deriving the Pareto/NBD Model and Related Expressions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.special import digamma, exprel, gammaln

from retail_pipeline.clv.models.base import Array
from retail_pipeline.clv.models.purchases import PurchaseProcess, Purchases

_NODES, _WEIGHTS = leggauss(24)
_CHUNK_ROWS = 20_000
"""Rows per block of the quadrature: with 24 nodes a block takes a few megabytes."""


@dataclass(frozen=True)
class ParetoNBD(PurchaseProcess):
    """Purchases at a Gamma(r, alpha) rate until dropout at a Gamma(s, beta) rate; time in days."""

    title = "Pareto/NBD"
    r: float
    alpha: float
    s: float
    beta: float

    @staticmethod
    def _search(scale: float, repeats: float) -> tuple[list[Array], list[tuple[float, float]]]:
        starts = [
            np.array([0.6, 0.6 * scale / repeats, 0.5, scale]),
            np.array([1.5, 1.5 * scale / repeats, 0.2, 0.3 * scale]),
        ]
        times = (1e-3 * scale, 1e4 * scale)
        return starts, [(1e-3, 1e3), times, (1e-4, 1e2), times]

    def log_likelihood(self, history: Purchases) -> Array:
        """Return each customer's log-likelihood."""
        return np.concatenate([terms.log_likelihood for terms in self._terms(history)])

    def probability_alive(self, history: Purchases) -> Array:
        """Return each customer's probability of not having dropped out yet."""
        return np.concatenate([terms.alive for terms in self._terms(history)])

    def purchases_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the expected purchases in the next `days` of customers who have not dropped out.

        `exprel` keeps the result exact near s = 1, where the textbook form is 0 / 0.
        """
        rate = (self.r + history.repeats) / (self.alpha + history.age)
        reach = self.beta + history.age
        log_growth = np.log1p(days / reach)
        return rate * (reach * log_growth * exprel(-(self.s - 1) * log_growth))

    def purchase_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the probability of a purchase of customers who have not dropped out.

        For a customer active at T the rates are again Gamma, with parameters r + x, alpha + T, s,
        beta + T. So the probability of no purchase is the likelihood of an empty history.
        """
        none = []
        for rows in _chunks(history):
            h = history.rows(rows)
            zeros = np.zeros(len(h))
            later = (self.r + h.repeats, self.alpha + h.age, self.s, self.beta + h.age)
            empty = _likelihood_terms(later, Purchases(zeros, zeros, zeros + days))
            none.append(np.exp(empty.log_likelihood))
        return np.clip(1 - np.concatenate(none), 0.0, 1.0)

    def log_no_dropout(self, history: Purchases, times: Array) -> Array:
        """Return the log probability of no dropout within times."""
        return -self.s * np.log1p(times / (self.beta + history.age)[:, None])

    def square_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the mean square of purchases in the next `days` of those who have not dropped out.

        Given the rates, E[N(N - 1)] is the squared purchase rate times the mean squared time until
        dropout or the end, which is an integral over the probability of being active.
        """
        time = days * (_NODES + 1) / 2
        reach = (self.beta + history.age)[:, None]
        squared_time = days * ((reach / (reach + time)) ** self.s * time) @ _WEIGHTS
        shape = self.r + history.repeats
        squared_rate = shape * (shape + 1) / (self.alpha + history.age) ** 2
        return squared_rate * squared_time + self.purchases_if_alive(history, days)

    def _terms(self, history: Purchases) -> "Iterator[_LikelihoodTerms]":
        parameters = (self.r, self.alpha, self.s, self.beta)
        return (_likelihood_terms(parameters, history.rows(rows)) for rows in _chunks(history))

    @staticmethod
    def _loss(logs: Array, history: Purchases, counts: Array) -> tuple[float, Array]:
        r, alpha, s, beta = np.exp(logs)
        parameters = (r, alpha, s, beta)
        loss, gradient = 0.0, np.zeros(4)
        for rows in _chunks(history):
            part, weights = history.rows(rows), counts[rows]
            terms = _likelihood_terms(parameters, part)
            loss -= float(weights @ terms.log_likelihood)
            gradient -= np.array([weights @ slope for slope in _slopes(parameters, part, terms)])
        total = counts.sum()
        return loss / total, gradient * np.exp(logs) / total


def _chunks(history: Purchases) -> Iterator[slice]:
    return (slice(at, at + _CHUNK_ROWS) for at in range(0, max(len(history), 1), _CHUNK_ROWS))


_Parameters = tuple[float | Array, float | Array, float, float | Array]
"""r, alpha, s, beta: numbers for all customers, or arrays with one value per customer."""


@dataclass(frozen=True)
class _LikelihoodTerms:
    """The likelihood's parts for "still active" and "dropped out at t", with t at the nodes."""

    log_likelihood: Array
    alive: Array
    dropped: Array
    """Weight of each node's dropout time, rows summing to 1 - alive."""
    times: Array
    log_alpha: Array
    log_beta: Array
    """Logarithms of alpha + t and beta + t at the nodes."""


def _likelihood_terms(parameters: _Parameters, h: Purchases) -> _LikelihoodTerms:
    """Return the Pareto/NBD likelihood, evaluated as an integral over the dropout time.

    The textbook form subtracts two Gauss hypergeometric functions, which overflow for frequent
    buyers and cancel if the last purchase was today. The integral behind them,
    ∫ (alpha+t)^-(r+x) (beta+t)^-(s+1) dt over [t_x, T], has a positive, decreasing integrand. With
    t = t_x + d·(e^w - 1), where d is its scale of decay at t_x, it is smooth in w, so
    Gauss-Legendre quadrature in log space is exact to about 1e-9 for any count and parameters.
    """
    r, alpha, s, beta = parameters
    purchases = r + h.repeats
    scale = 1 / (purchases / (alpha + h.last) + (s + 1) / (beta + h.last))
    width = np.log1p((h.age - h.last) / scale)
    w = width[:, None] * (_NODES + 1) / 2
    times = h.last[:, None] + scale[:, None] * np.expm1(w)
    log_alpha = np.log(np.reshape(alpha, (-1, 1)) + times)
    log_beta = np.log(np.reshape(beta, (-1, 1)) + times)
    with np.errstate(divide="ignore"):
        log_nodes = (
            np.log(s)
            - purchases[:, None] * log_alpha
            - (s + 1) * log_beta
            + w
            + np.log(scale * width / 2)[:, None]
            + np.log(_WEIGHTS)
        )
    log_alive = -purchases * np.log(alpha + h.age) - s * np.log(beta + h.age)
    top = np.maximum(log_alive, log_nodes.max(axis=1))
    alive, dropped = np.exp(log_alive - top), np.exp(log_nodes - top[:, None])
    total = alive + dropped.sum(axis=1)
    constant = gammaln(purchases) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    return _LikelihoodTerms(
        constant + top + np.log(total),
        alive / total,
        dropped / total[:, None],
        times,
        log_alpha,
        log_beta,
    )


def _slopes(parameters: _Parameters, h: Purchases, terms: _LikelihoodTerms) -> tuple[Array, ...]:
    """Return the derivatives of each log-likelihood in r, alpha, s, beta, at fixed nodes."""
    r, alpha, s, beta = parameters
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
