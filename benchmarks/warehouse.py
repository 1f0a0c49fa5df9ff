"""The duration of warehouse builds by number of lines, including a nightly build.

For each size, in a separate database with simulated records, it measures the first build, the same
build again, and a build one day later with 1 % more lines. `dbt build` is the wall time with dbt's
start and all tests, `models` the sum of all models; the seconds of each model are listed, too.
`peak_mib` is the peak temporary disk space of PostgreSQL.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.results import Result
from retail_pipeline.direct_landing import land_records
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.scratch import scratch_database
from retail_pipeline.retail_api import RetailRecords, default_as_of, open_dataset
from retail_pipeline.settings import Settings, SimulatorSource
from retail_pipeline.warehouse.run import dbt_build

SIZES = (100_000, 1_000_000, 10_000_000)
"""Lines of transactions."""

_LINES_PER_CUSTOMER = 12.2
_NEW = 0.01
_SAMPLE_SECONDS = 0.1

Note = Callable[[Result], None]


def run(sizes: Sequence[int], *, note: Note) -> list[Result]:
    """Return one measurement per size, build and model."""
    settings = Settings.from_environment()
    results = []
    for size in sizes:
        for result in _measure(settings, size):
            note(result)
            results.append(result)
    return results


def _measure(settings: Settings, size: int) -> Iterator[Result]:
    source = SimulatorSource(customers=round(size / _LINES_PER_CUSTOMER), seed=7)
    tonight = default_as_of(source)
    yesterday = tonight - timedelta(days=1)
    first, later = _split(open_dataset(source).records, _NEW)
    lines = len(first.items) + len(later.items)
    with scratch_database(settings) as database, TemporaryDirectory() as folder:
        target = Path(folder)
        land_records(database, first)
        yield from _build("first build", database, lines, yesterday, target)
        yield from _build("no-op", database, lines, yesterday, target)
        land_records(database, later)
        yield from _build("a night: a day later, +1 %", database, lines, tonight, target)


def _build(
    case: str, database: Database, lines: int, as_of: date, target: Path
) -> Iterator[Result]:
    with _temporary_space(database) as space:
        began = time.perf_counter()
        built = dbt_build(database.url, as_of=as_of, target=target)
        seconds = time.perf_counter() - began
    models = sorted((n for n in built if n.kind == "model"), key=lambda node: -node.seconds)
    yield Result.of("warehouse", case, lines, "dbt build", seconds, space.peak_mib)
    yield Result.of("warehouse", case, lines, "models", sum(node.seconds for node in models))
    for node in models:
        yield Result.of("warehouse", case, lines, node.name, node.seconds)


def _split(records: RetailRecords, share: float) -> tuple[RetailRecords, RetailRecords]:
    """Return the earlier records, and the latest records with a given share of the lines."""
    counts = records.transactions["line_count"].to_numpy()
    ends = np.cumsum(counts)
    kept = int(np.searchsorted(ends, ends[-1] * (1 - share)))
    lines = int(ends[kept - 1])
    return (
        RetailRecords(
            products=records.products,
            users=records.users,
            transactions=records.transactions.iloc[:kept],
            items=records.items.iloc[:lines],
        ),
        RetailRecords(
            products=records.products.iloc[:0],
            users=records.users.iloc[:0],
            transactions=records.transactions.iloc[kept:],
            items=records.items.iloc[lines:],
        ),
    )


class _TemporarySpace(threading.Thread):
    """Samples the size of PostgreSQL's temporary files."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.peak_mib = 0.0
        self._database = database

    def run(self) -> None:
        with self._database.connect(autocommit=True) as connection:
            while not self.over.wait(_SAMPLE_SECONDS):
                row = connection.execute("select sum(size) from pg_ls_tmpdir()").fetchone()
                mib = float(row[0] or 0) / 2**20 if row else 0.0
                self.peak_mib = round(max(self.peak_mib, mib), 1)


@contextmanager
def _temporary_space(database: Database) -> Iterator[_TemporarySpace]:
    space = _TemporarySpace(database)
    space.start()
    try:
        yield space
    finally:
        space.over.set()
        space.join()
