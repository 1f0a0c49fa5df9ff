"""BG/NBD: purchases at a Gamma rate, with a chance of dropout after each of them.

Maximum likelihood and closed forms on plain arrays; times are in days.

Source:
    Fader, Hardie, Lee (2005), Counting Your Customers the Easy Way: An Alternative to the
        Pareto/NBD Model. Marketing Science 24(2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, expit, gammaln, hyp2f1

from retail_pipeline.clv.models.base import Array
from retail_pipeline.clv.models.purchases import Purchases, most_likely, weighted_histories


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
        distinct, counts, scale = weighted_histories(history)
        repeats = max(float(np.average(distinct.repeats, weights=counts)), 0.05)
        starts = [
            np.array([0.6, 0.6 * scale / repeats, 0.8, 2.5]),
            np.array([1.5, scale / repeats, 0.2, 1.0]),
        ]
        bounds = [(1e-3, 1e3), (1e-3 * scale, 1e4 * scale), (1e-4, 1e3), (1e-3, 1e4)]
        return cls(*most_likely(_bg_nbd_loss, starts, bounds, distinct, counts, "BG/NBD"))

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
        return self.probability_alive(history) * self.purchase_if_alive(history, days)

    def purchase_if_alive(self, history: Purchases, days: float) -> Array:
        """Return the probability of a purchase of customers who have not dropped out."""
        none = (self.r + history.repeats) * np.log1p(days / (self.alpha + history.age))
        return -np.expm1(-none)

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
