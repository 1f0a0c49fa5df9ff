"""The population stability index of two distributions, and its size by chance.

Arrays in, numbers out. The choice of quantities and references is in `tables`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

BINS: Final = 10
CHANGED: Final = 0.25
"""An index from which a distribution counts as changed, by the convention of credit scoring
(Siddiqi, Credit Risk Scorecards, 2006). As it ignores the sample size, checks also require more
than chance."""

MISSING: Final = "missing"
OTHERS: Final = "others"

_SMOOTHING = 0.5
"""Customers added to each bin, so that an empty one has a finite logarithm."""

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Stability:
    """The comparison of two distributions.

    Attributes:
        index: Σ (p - q) ln(p / q) over the bins; 0 for equal distributions.
        chance: The 95th percentile of the index for samples of these sizes without a change.
        bins: Label of each bin, with its shares now and in the reference.
    """

    index: float
    chance: float
    bins: list[dict[str, float | str]]


def of_numbers(current: NDArray[np.float64], reference: NDArray[np.float64]) -> Stability:
    """Return the comparison of numbers, binned by tenths of the reference; NaN has its own bin.

    Args:
        current: The values now.
        reference: The values that they are compared with.

    Raises:
        ValueError: One of them is empty.
    """
    known = reference[np.isfinite(reference)]
    cuts = np.arange(1, BINS) / BINS
    edges = np.unique(np.quantile(known, cuts)) if len(known) else np.empty(0)
    labels = [f"≤ {edge:.4g}" for edge in edges] + [f"> {edges[-1]:.4g}" if len(edges) else "any"]
    return _compared(
        _binned(current, edges), _binned(reference, edges), [*labels, MISSING], len(edges) + 2
    )


def of_texts(current: pd.Series, reference: pd.Series) -> Stability:
    """Return the comparison of texts, binned by the reference's most frequent values and null.

    Args:
        current: The values now.
        reference: The values that they are compared with.

    Raises:
        ValueError: One of them is empty.
    """
    frequent = [str(value) for value in reference.dropna().value_counts().index[:BINS]]
    labels = [*frequent, OTHERS, MISSING]
    place = {label: position for position, label in enumerate(frequent)}

    def coded(values: pd.Series) -> NDArray[np.int64]:
        codes = values.map(place).fillna(len(frequent)).to_numpy(np.int64)
        return np.where(values.isna().to_numpy(), len(frequent) + 1, codes)

    return _compared(coded(current), coded(reference), labels, len(labels))


def _binned(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each value's bin: i if edges[i - 1] < value <= edges[i], the last one for NaN."""
    places = np.searchsorted(edges, values, side="left")
    return np.where(np.isfinite(values), places, len(edges) + 1)


def _compared(
    current: NDArray[np.int64], reference: NDArray[np.int64], labels: list[str], bins: int
) -> Stability:
    if not len(current) or not len(reference):
        raise ValueError("there are no customers to compare")
    now, then = (np.bincount(codes, minlength=bins) for codes in (current, reference))
    used = np.flatnonzero(now + then)
    p, q = (
        (counts[used] + _SMOOTHING) / (counts[used] + _SMOOTHING).sum() for counts in (now, then)
    )
    return Stability(
        index=float(np.sum((p - q) * np.log(p / q))),
        chance=_chance(len(used), len(current), len(reference)),
        bins=[
            {
                "bin": labels[position],
                "share": round(float(now[position] / len(current)), 6),
                "reference_share": round(float(then[position] / len(reference)), 6),
            }
            for position in used
        ],
    )


def _chance(bins: int, current: int, reference: int) -> float:
    """Return the 95th percentile of the index without a change.

    For samples of n and m in B bins, the index is approximately (1/n + 1/m) times χ² with B - 1
    degrees of freedom (Yurdakul and Naranjo, Statistical properties of the population stability
    index, 2020).
    """
    if bins < 2:
        return 0.0
    return float(chi2.ppf(_CONFIDENCE, bins - 1) * (1 / current + 1 / reference))
