"""BG/NBD: purchases at a Gamma rate, with a chance of dropout after each of them.

Maximum likelihood and closed forms on plain arrays; times are in days.

Source:
    Fader, Hardie, Lee (2005), Counting Your Customers the Easy Way: An Alternative to the
        Pareto/NBD Model. Marketing Science 24(2).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, expit, gammaln, hyp2f1

from retail_pipeline.clv.models.base import Array
from retail_pipeline.clv.models.purchases import PurchaseProcess, Purchases


@dataclass(frozen=True)
class BGNBD(PurchaseProcess):
    """Purchases at a Gamma(r, alpha) rate; dropout after a purchase, probability Beta(a, b)."""

    title = "BG/NBD"
    r: float
    alpha: float
    a: float
    b: float

    @staticmethod
    def _search(scale: float, repeats: float) -> tuple[list[Array], list[tuple[float, float]]]:
        starts = [
            np.array([0.6, 0.6 * scale / repeats, 0.8, 2.5]),
            np.array([1.5, scale / repeats, 0.2, 1.0]),
        ]
        return starts, [(1e-3, 1e3), (1e-3 * scale, 1e4 * scale), (1e-4, 1e3), (1e-3, 1e4)]

    def log_likelihood(self, history: Purchases) -> Array:
        """Return each customer's log-likelihood (Fader, Hardie, Lee 2005, equation 6)."""
        constant, stayed, left = _likelihood_terms(history, self.r, self.alpha, self.a, self.b)
        return constant[history.levels[1]] + np.logaddexp(stayed, left)

    def probability_alive(self, history: Purchases) -> Array:
        """Return each customer's probability of not having dropped out; 1 with one purchase."""
        x, place = history.levels
        silent = np.log((self.alpha + history.age) / (self.alpha + history.last))
        return expit(-(_log_gone(x, self.a, self.b)[place] + (self.r + history.repeats) * silent))

    def purchases_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the expected purchases in the next `days` of customers who have not dropped out.

        Euler's transformation of the hypergeometric function avoids large powers; a value of a
        next to 1, where the expression is 0 / 0, is moved away from 1.
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

    def purchase_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the probability of a purchase of customers who have not dropped out."""
        none = (self.r + history.repeats) * np.log1p(days / (self.alpha + history.age))
        return -np.expm1(-none)

    def log_no_dropout(self, history: Purchases, times: Array) -> Array:
        """Return 0, as dropout comes only right after a purchase."""
        return np.zeros((len(history), times.shape[1]))

    @staticmethod
    def _loss(logs: Array, history: Purchases, counts: Array) -> tuple[float, Array]:
        r, alpha, a, b = np.exp(logs)
        x, place = history.levels
        constant, stayed, left = _likelihood_terms(history, r, alpha, a, b)
        both = np.logaddexp(stayed, left)
        gone = counts * np.exp(left - both)
        alive = counts - gone
        at_end, at_last, power = alpha + history.age, alpha + history.last, (r + x)[place]

        customers = np.bincount(place, counts, minlength=len(x))
        leavers = np.bincount(place, gone, minlength=len(x))
        ever = digamma(a + b) - digamma(a + b + x)
        gradient = np.array(
            [
                customers @ (digamma(r + x) - digamma(r) + np.log(alpha))
                - alive @ np.log(at_end) - gone @ np.log(at_last),
                customers.sum() * r / alpha - power @ (alive / at_end + gone / at_last),
                customers @ ever + leavers.sum() / a,
                customers @ (ever + digamma(b + x) - digamma(b)) - leavers @ (1 / _before(x, b)),
            ]
        )  # fmt: skip
        total = counts.sum()
        likelihood = customers @ constant + counts @ both
        return -float(likelihood) / total, -gradient * np.exp(logs) / total


_OFF_ONE = 1e-5


def _likelihood_terms(
    history: Purchases, r: float, alpha: float, a: float, b: float
) -> tuple[Array, Array, Array]:
    """Return the logarithms of the likelihood's terms.

    These are a constant per number of repeats and, per customer, the terms for still being active
    and for having dropped out.
    """
    x, place = history.levels
    constant = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    constant += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    power = (r + x)[place]
    stayed = -power * np.log(alpha + history.age)
    left = _log_gone(x, a, b)[place] - power * np.log(alpha + history.last)
    return constant, stayed, left


def _log_gone(repeats: Array, a: float, b: float) -> Array:
    """Return log(a / (b + x - 1)), the log odds of dropout at the last of x repeats."""
    return np.where(repeats > 0, np.log(a) - np.log(_before(repeats, b)), -np.inf)


def _before(repeats: Array, b: float) -> Array:
    return np.maximum(b + repeats - 1, 1e-300)
