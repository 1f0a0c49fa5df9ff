"""Models at many past cut-offs, on all cores: the costly part of a backtest.

The cut-offs do not depend on each other, so where they are worth it they go to workers
(`processes`). Fits of Pareto/NBD that several cut-offs learn from are made once, before the work is
handed over.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from typing import Final, NamedTuple

import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from retail_pipeline.clv import processes
from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation.candidates import (
    AtCutoff,
    fit_at_cutoff,
)
from retail_pipeline.clv.models import btyd_estimators as btyd_models

FEWEST_ROWS: Final = 30_000
"""Customers at all cut-offs together; fewer are fitted before a process has even started."""


class _Backtest(NamedTuple):
    """Inputs, per cut-off whether intervals are drawn, fits so far."""

    features: pd.DataFrame
    entries: pd.DataFrame
    horizon_days: int
    cutoffs: list[tuple[date, bool]]
    fits: btyd_models.Fits

    @property
    def pieces(self) -> int:
        """One per cut-off; the latest have most to learn from."""
        return len(self.cutoffs)

    def begin(self) -> None:
        """Take over the fits that were made before."""
        btyd_models.remember(self.fits)

    def at(self, number: int) -> AtCutoff:
        """Return the models of one cut-off."""
        cutoff, drawn = self.cutoffs[number]
        # By date, so that what was known is the beginning of the frame: a view, no copy.
        rows = self.features["as_of_date"].searchsorted(pd.Timestamp(cutoff), side="right")
        known = self.features.iloc[:rows]
        return fit_at_cutoff(known, self.entries, cutoff, self.horizon_days, drawn=drawn)


def fit_at_cutoffs(
    features: pd.DataFrame,
    entries: pd.DataFrame,
    cutoffs: Sequence[date],
    horizon_days: int,
    drawn: Sequence[bool],
) -> list[AtCutoff]:
    """Fit every model at each cut-off, in the order of the cut-offs.

    Args:
        features: Prepared features.
        entries: The prepared ledger.
        cutoffs: The dates.
        horizon_days: Length of the outcome.
        drawn: Per cut-off whether the models' own intervals are wanted.

    Raises:
        RuntimeError: A process broke; the message ends with what it said last.
    """
    work = _Backtest(features, entries, horizon_days, list(zip(cutoffs, drawn, strict=True)), {})
    rows = features["as_of_date"].isin([pd.Timestamp(cutoff) for cutoff in cutoffs]).sum()
    if len(cutoffs) < 2 or rows < FEWEST_ROWS or processes.cores() < 2:
        return [work.at(number) for number in range(len(cutoffs))]
    return processes.on_all_cores("the backtest", lambda: _with_shared_fits(work))


def _with_shared_fits(work: _Backtest) -> _Backtest:
    """Fit Pareto/NBD to the populations that several cut-offs learn from, once for all of them."""
    dates = dataset.feature_dates(work.features)
    learned = [dataset.training_cutoffs(dates, day, work.horizon_days) for day, _ in work.cutoffs]
    for day in sorted({day for days in learned for day in days}):
        with suppress(btyd_models.FitError), threadpool_limits(limits=1):
            btyd_models.fitted(btyd_models.ParetoNBD, dataset.at_date(work.features, day))
    return work._replace(fits=btyd_models.remembered())
