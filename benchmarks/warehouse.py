"""Building the warehouse: how time grows with lines, what an increment costs, and a limit.

Per size, in a database of its own, with simulated records: the first build, a build without news
and one after 1 % more lines, each with the seconds of its models; then `customer_features` alone
beside a hand-tuned pass over the same days (`features_pass.sql`). `dbt build` is the wall time with
dbt's start and all tests, `models` the sum over the models. `peak_mib` is the most temporary space
that PostgreSQL had in use.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.results import Result
from retail_pipeline.direct_landing import land_records
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.scratch import scratch_database
from retail_pipeline.retail_api import (
    RetailRecords,
    default_as_of,
    open_dataset,
)
from retail_pipeline.settings import (
    Settings,
    SimulatorSource,
)
from retail_pipeline.warehouse.project import PARTIAL_PARSE
from retail_pipeline.warehouse.run import (
    BuiltNode,
    dbt_build,
)

SIZES = (100_000, 1_000_000, 10_000_000)
"""Lines of transactions."""

_LINES_PER_CUSTOMER = 12.2
_NEW = 0.01
_AS_OF_DATES = 24
_SAMPLE_SECONDS = 0.1
_PASS = Path(__file__).with_name("features_pass.sql")

Note = Callable[[Result], None]


def run(sizes: Sequence[int], *, note: Note) -> list[Result]:
    """Measure; return a result per size, build and model, and two for `customer_features`."""
    settings = Settings.from_environment()
    return [result for size in sizes for result in _measure(settings, size, note)]


def _measure(settings: Settings, size: int, note: Note) -> Iterator[Result]:
    source = SimulatorSource(customers=round(size / _LINES_PER_CUSTOMER), seed=7)
    first, news = _split(open_dataset(source).records, _NEW)
    lines = len(first.items) + len(news.items)
    with scratch_database(settings) as database, TemporaryDirectory() as folder:
        parsed = Path(folder) / PARTIAL_PARSE
        bench = _Bench(database, lines, default_as_of(source), parsed, note)
        land_records(database, first)
        yield from bench.build("first build")
        yield from bench.build("no-op")
        land_records(database, news)
        yield from bench.build("+1 %")
        yield from bench.features()


class _Bench:
    """Timed statements and builds in one database."""

    def __init__(
        self, database: Database, lines: int, as_of: date, parsed: Path, note: Note
    ) -> None:
        self._database = database
        self._lines = lines
        self._as_of = as_of
        self._parsed = parsed
        self._note = note

    def build(self, case: str) -> Iterator[Result]:
        with _temporary_space(self._database) as space:
            began = time.perf_counter()
            built = dbt_build(self._database.url, as_of=self._as_of, parsed=self._parsed)
            seconds = time.perf_counter() - began
        models = [node for node in built if node.kind == "model"]
        yield self._result(case, "dbt build", seconds, space.peak_mib)
        yield self._result(case, "models", sum(node.seconds for node in models))
        for node in sorted(models, key=lambda node: -node.seconds):
            yield self._result(case, node.name, node.seconds)

    def features(self) -> Iterator[Result]:
        """`customer_features` from nothing, and the pass over the same dates."""
        case = f"customer_features, {_AS_OF_DATES} as-of dates"
        dates = _month_firsts(self._as_of, _AS_OF_DATES)
        with _temporary_space(self._database) as space:
            nodes = _build_features(self._database, dates)
        seconds = next(node.seconds for node in nodes if node.name == "customer_features")
        yield self._result(case, "customer_features", seconds, space.peak_mib)
        with _temporary_space(self._database) as space:
            began = time.perf_counter()
            self._database.execute(_PASS.read_text())
            seconds = time.perf_counter() - began
        yield self._result(case, "hand-tuned pass", seconds, space.peak_mib)

    def _result(
        self, case: str, engine: str, seconds: float, peak_mib: float | None = None
    ) -> Result:
        result = Result.of("warehouse", case, self._lines, engine, seconds, peak_mib)
        self._note(result)
        return result


def _build_features(database: Database, dates: Sequence[date]) -> list[BuiltNode]:
    return dbt_build(
        database.url,
        select=["int_as_of_dates", "customer_features"],
        variables={"as_of_dates": [str(day) for day in dates]},
    )


def _month_firsts(as_of: date, count: int) -> list[date]:
    months = [as_of.year * 12 + as_of.month - 1 - back for back in range(count)]
    return [date(month // 12, month % 12 + 1, 1) for month in months]


def _split(records: RetailRecords, share: float) -> tuple[RetailRecords, RetailRecords]:
    """The records that came first, and the last ones to arrive with a share of the lines."""
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
    """Samples how much PostgreSQL has in temporary files."""

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
