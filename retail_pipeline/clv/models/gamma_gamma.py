"""Gamma-Gamma: the value of purchases, shrunk from a customer's own mean to that of all.

Maximum likelihood and closed forms on plain arrays.

Source:
    Fader, Hardie (2013), The Gamma-Gamma Model of Monetary Value.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from retail_pipeline.clv.models.base import Array
from retail_pipeline.clv.models.purchases import FitError


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
