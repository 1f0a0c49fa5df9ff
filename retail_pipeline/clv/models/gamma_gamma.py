"""Gamma-Gamma: the value per purchase, a customer's own mean shrunk toward that of all customers.

Maximum likelihood and closed forms on plain arrays. The likelihood is that of single purchases,
for which the sum of their logarithms is enough. The likelihood of counts and means alone is nearly
flat unless spend is heavy-tailed, and can then give every customer the average value.

Source:
    Fader, Hardie (2013), The Gamma-Gamma Model of Monetary Value: equation 1a is the likelihood of
        counts and means; that of single purchases is the product of its two Gamma densities.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from retail_pipeline.clv.models.base import Array
from retail_pipeline.clv.models.purchases import FitError


@dataclass(frozen=True)
class GammaGamma:
    """Values of a customer's purchases are Gamma(p, nu); nu is Gamma(q, gamma) over customers."""

    p: float
    q: float
    gamma: float

    @classmethod
    def fit(cls, counts: Array, means: Array, logs: Array | None = None) -> "GammaGamma":
        """Return the maximum-likelihood parameters.

        Args:
            counts: Purchases per customer, at least 1.
            means: Mean value per purchase, more than 0.
            logs: Sum of the natural logarithms of each customer's purchase values. Without it the
                likelihood is that of counts and means, as in published examples.

        Raises:
            FitError: There is no customer, or no finite maximum was found.
        """
        if not len(means):
            raise FitError("no customer has a purchase value")
        scale = float(np.exp(np.mean(np.log(means))))
        if logs is not None:
            logs = logs - counts * np.log(scale)
        found = minimize(
            _loss,
            np.log([2.0, 3.0, 2.0]),
            args=(counts, means / scale, logs),
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
        """Return each customer's expected value per purchase, shrunk toward the average."""
        return self.p * (self.gamma + counts * means) / (self.p * counts + self.q - 1)

    def shape_of_totals(self, counts: Array, mean: Array, square: Array) -> Array:
        """Return 1 / CV² of the total value of each customer's future purchases.

        Args:
            counts: Past purchases per customer.
            mean: Mean number of future purchases.
            square: Its mean square.
        """
        q = self.q + self.p * counts
        spread_of_rate = (q - 1) / np.maximum(q - 2, _LEAST_ABOVE_TWO)
        squared_cv = (square / mean**2 + 1 / (self.p * mean)) * spread_of_rate - 1
        return 1 / np.maximum(squared_cv, _LEAST_SQUARED_CV)


_LEAST_ABOVE_TWO = 0.2
"""Below 2 the variance of a customer's mean value is infinite."""

_LEAST_SQUARED_CV = 0.01

_LOWEST_Q = 1.05
"""Below 1 the mean value of a new customer is infinite."""


def _loss(
    parameters: Array, counts: Array, means: Array, logs: Array | None
) -> tuple[float, Array]:
    """Return the mean negative log-likelihood and its gradient in the logs of the parameters."""
    p, q, gamma = np.exp(parameters)
    shape, total = p * counts, gamma + counts * means
    log_total = np.log(total)
    both = digamma(shape + q)
    common = gammaln(shape + q) - gammaln(q) + q * np.log(gamma) - (shape + q) * log_total
    if logs is None:
        log_sum = np.log(counts * means)
        within = shape * log_sum - gammaln(shape) - np.log(means)
        in_p = counts * (both - digamma(shape) + log_sum - log_total)
    else:
        within = (p - 1) * logs - counts * gammaln(p)
        in_p = logs + counts * (both - digamma(p) - log_total)
    gradient = np.array(
        [
            np.mean(in_p),
            np.mean(both - digamma(q) + np.log(gamma) - log_total),
            np.mean(q / gamma - (shape + q) / total),
        ]
    )
    return -float(np.mean(common + within)), -gradient * np.array([p, q, gamma])
