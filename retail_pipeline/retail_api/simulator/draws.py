"""Random numbers that depend on their purpose and keys, not on the order of the draws.

A draw is a hash of the seed, its purpose and its keys (customer, purchase, line). It depends on
nothing else, so that a later as-of date adds records and changes none.
"""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


class Draws:
    """Counter-based random numbers (the SplitMix64 finalizer of Steele, Lea and Flood, 2014)."""

    def __init__(self, seed: int) -> None:
        self._seed = np.array([seed], dtype=np.uint64)

    def bits(self, purpose: str, *keys: Ints) -> NDArray[np.uint64]:
        """Return 64 random bits per row of the keys, which are integer arrays of one length."""
        state = _mixed(self._seed ^ (np.uint64(crc32(purpose.encode())) << np.uint64(32)))
        for key in keys:
            state = _mixed(state ^ (key.astype(np.uint64) * _GOLDEN))
        return state

    def uniform(self, purpose: str, *keys: Ints) -> Floats:
        """Return uniform numbers in the open interval (0, 1)."""
        return ((self.bits(purpose, *keys) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, purpose: str, *keys: Ints) -> Floats:
        """Return standard normal numbers."""
        return ndtri(self.uniform(purpose, *keys))

    def integers(self, purpose: str, below: int, *keys: Ints) -> Ints:
        """Return uniform integers in [0, below)."""
        return (self.uniform(purpose, *keys) * below).astype(np.int64)


class GammaQuantiles:
    """Gamma draws from normal draws by a table, because the exact quantiles are much slower."""

    def __init__(self, shape: float) -> None:
        self._normal = np.linspace(-8.0, 8.0, 4001)
        self._log_quantile = np.log(gammaincinv(shape, ndtr(self._normal)))

    def __call__(self, normal: Floats) -> Floats:
        """Return gamma quantiles, in units of the scale, at the normal draws' probabilities."""
        return np.exp(np.interp(normal, self._normal, self._log_quantile))


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))
