"""The speed of fitting and scoring BG/NBD, compared with the package `lifetimes`.

Each engine runs on the same customers in a separate process with one thread, `python -m
benchmarks.clv ENGINE CUSTOMERS`. An engine that is not installed (the extra `peers`) is named and
left out. The quality of predictions is measured by `clv_quality`.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.processes import measured
from benchmarks.results import Result
from retail_pipeline.clv.models.bg_nbd import BGNBD
from retail_pipeline.clv.models.purchases import Purchases

SIZES: Final = (10_000, 100_000)
"""Customers."""

HORIZON_DAYS: Final = 180
_REPEATS = 5
_SEED = 20_231
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Note = Callable[[Result], None]


def run(sizes: Sequence[int], *, note: Note) -> list[Result]:
    """Return measurements of this project's BG/NBD and of `lifetimes` on simulated customers.

    Args:
        sizes: Numbers of customers.
        note: Callback for each finished result.

    Returns:
        Two results per size and engine: the fit, and the scoring of all customers (expected
        purchases and probability of being active). The case of a fit contains the mean
        log-likelihood at the fitted parameters, computed by the same function for both engines.
        Seconds are medians; memory is the peak of the process.
    """
    results = []
    for customers in sizes:
        for engine in ENGINES:
            found = _in_a_process(engine, customers)
            if found is None:
                sys.stderr.write(f"{engine} is not installed and is left out (extra `peers`)\n")
                continue
            fit = f"BG/NBD fit, mean log-likelihood {found['log_likelihood']:.6f}"
            for case, seconds in ((fit, found["fit"]), ("BG/NBD score", found["score"])):
                result = Result.of("clv", case, customers, engine, seconds, found["peak_mib"])
                note(result)
                results.append(result)
    return results


def _in_a_process(engine: str, customers: int) -> dict[str, float] | None:
    command = [sys.executable, "-m", __name__, engine, str(customers)]
    done = measured(command, environment=os.environ | _ONE_THREAD)
    found: dict[str, float] | None = json.loads(done.output)
    return found


def _measure(engine: str, customers: int) -> dict[str, float] | None:
    """Return the median seconds of fitting and scoring; None if the engine is not installed."""
    fit_and_score = ENGINES[engine]()
    if fit_and_score is None:
        return None
    data = simulated_purchases(customers)
    times = [fit_and_score(data) for _ in range(_REPEATS)]
    return {
        "log_likelihood": float(times[-1][0].log_likelihood(data).mean()),
        "fit": statistics.median(fitted for _, fitted, _ in times),
        "score": statistics.median(scored for _, _, scored in times),
        "peak_mib": _high_water_mib(),
    }


FitAndScore = Callable[[Purchases], tuple[BGNBD, float, float]]


def _ours() -> FitAndScore:
    def fit_and_score(data: Purchases) -> tuple[BGNBD, float, float]:
        data = Purchases(data.repeats, data.last, data.age)  # a new object, without cached values
        started = time.perf_counter()
        model = BGNBD.fit(data)
        fitted = time.perf_counter()
        model.expected_purchases(data, HORIZON_DAYS)
        model.probability_alive(data)
        return model, fitted - started, time.perf_counter() - fitted

    return fit_and_score


def _lifetimes() -> FitAndScore | None:
    try:
        from lifetimes import BetaGeoFitter  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None

    def fit_and_score(data: Purchases) -> tuple[BGNBD, float, float]:
        columns = (data.repeats, data.last, data.age)
        started = time.perf_counter()
        fitter = BetaGeoFitter().fit(*columns)
        fitted = time.perf_counter()
        fitter.conditional_expected_number_of_purchases_up_to_time(HORIZON_DAYS, *columns)
        fitter.conditional_probability_alive(*columns)
        scored = time.perf_counter()
        model = BGNBD(**{name: float(value) for name, value in fitter.params_.items()})
        return model, fitted - started, scored - fitted

    return fit_and_score


ENGINES: Final[dict[str, Callable[[], FitAndScore | None]]] = {
    "retail-data-pipeline": _ours,
    "lifetimes": _lifetimes,
}


def simulated_purchases(customers: int) -> Purchases:
    """Return simulated histories of a BG/NBD population over two years, in whole days."""
    random = np.random.default_rng(_SEED)
    age = random.integers(30, 730, customers).astype(float)
    rate = random.gamma(0.6, 1 / 40, customers)
    dropout = random.beta(0.8, 2.5, customers)
    until_dropout = random.geometric(dropout) - 1
    meant = random.poisson(rate * age)
    repeats = np.minimum(meant, until_dropout).astype(float)
    # The time of the last purchase among `meant` ordered uniform times is a Beta order statistic.
    last = age * random.beta(np.maximum(repeats, 1), np.maximum(meant - repeats + 1, 1))
    return Purchases(repeats, np.where(repeats > 0, np.floor(last), 0.0), age)


def _high_water_mib() -> float:
    """Return the peak resident memory of this process in MiB; 0 if unknown."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    kib = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return round(kib[0] / 1024, 1) if kib else 0.0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
