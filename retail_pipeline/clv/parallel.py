"""Models at many past cut-offs, on all cores: the costly part of a backtest.

The cut-offs do not depend on each other, so where they are worth it they go to a process of their
own (`python -m retail_pipeline.clv.parallel`), which forks a worker per core. That process is young
and has one thread; the caller, perhaps a server with many, is never forked. Fits of Pareto/NBD that
several cut-offs learn from are made once, before the work is handed over. Each fit runs in one
thread either way, so the results do not depend on where it ran, to the bit.
"""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from tempfile import TemporaryFile
from typing import IO, Final, NamedTuple, cast

import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from retail_pipeline.clv import btyd_models, dataset
from retail_pipeline.clv.candidates import AtCutoff, fit_at_cutoff

FEWEST_ROWS: Final = 30_000
"""Customers at all cut-offs together; fewer are fitted before a process has even started."""

_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
_TAIL: Final = 2_000


class _Work(NamedTuple):
    """What the process is handed: inputs, per cut-off whether intervals are drawn, fits so far."""

    features: pd.DataFrame
    entries: pd.DataFrame
    horizon_days: int
    cutoffs: list[tuple[date, bool]]
    fits: btyd_models.Fits

    def at(self, number: int) -> AtCutoff:
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
        RuntimeError: The process broke; the message ends with what it said last.
    """
    work = _Work(features, entries, horizon_days, list(zip(cutoffs, drawn, strict=True)), {})
    rows = features["as_of_date"].isin([pd.Timestamp(cutoff) for cutoff in cutoffs]).sum()
    if len(cutoffs) < 2 or rows < FEWEST_ROWS or _cores() < 2:
        return [work.at(number) for number in range(len(cutoffs))]
    return _in_a_process(work)


def _in_a_process(work: _Work) -> list[AtCutoff]:
    """Fit in a process of its own; while that one imports its libraries, fit what all will need."""
    with TemporaryFile() as said, _started(said) as process:
        try:
            with cast("IO[bytes]", process.stdin) as pipe:
                _fit_shared(work)
                shared = work._replace(fits=btyd_models.remembered())
                pickle.dump(shared, pipe, pickle.HIGHEST_PROTOCOL)
            found: list[AtCutoff] = pickle.load(cast("IO[bytes]", process.stdout))
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            process.wait()
            said.seek(0)
            last = said.read().decode(errors="replace")[-_TAIL:]
            raise RuntimeError(
                f"the backtest's process ended with {process.returncode}: {last}"
            ) from None
    return found


@contextmanager
def _started(said: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        env=os.environ | _ONE_THREAD,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _fit_shared(work: _Work) -> None:
    """Fit Pareto/NBD to the populations that several cut-offs learn from, once for all of them."""
    dates = dataset.feature_dates(work.features)
    learned = [dataset.training_cutoffs(dates, day, work.horizon_days) for day, _ in work.cutoffs]
    for day in sorted({day for days in learned for day in days}):
        with suppress(btyd_models.FitError), threadpool_limits(limits=1):
            btyd_models.fitted(btyd_models.ParetoNBD, dataset.at_date(work.features, day))


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_WORK: list[_Work] = []
"""What forked workers inherit."""


def _at(number: int) -> AtCutoff:
    return _WORK[0].at(number)


def _main() -> None:
    # A caller that ignores the signal hands that down, and the pool's workers would never end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _WORK.append(pickle.load(sys.stdin.buffer))
    btyd_models.remember(_WORK[0].fits)
    numbers = range(len(_WORK[0].cutoffs))
    # The latest cut-offs have most to learn from: they go first, so that no core waits at the end.
    with multiprocessing.get_context("fork").Pool(min(_cores(), len(numbers))) as pool:
        found = pool.map(_at, reversed(numbers), chunksize=1)
    pickle.dump(found[::-1], sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    _main()
