"""Sources as datasets: what a simulator or a file holds at a clock, by what name it is known.

The only place that knows both kinds of bundled sources. Serving is in `app` and `serve`.
"""

import gc
import hashlib
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import pandas as pd

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.records import (
    RetailRecords,
    Totals,
    totals_of,
)
from retail_pipeline.retail_api.simulator import (
    DEFAULT_AS_OF,
    HISTORY_START,
    simulate,
)
from retail_pipeline.retail_api.source.transactions_file import (
    TransactionsFile,
    read_transactions_file,
)
from retail_pipeline.retail_api.source.transactions_file import default_as_of as file_default_as_of
from retail_pipeline.settings import (
    ApiSource,
    FileSource,
    SimulatorSource,
    Source,
)


@dataclass(frozen=True)
class RetailDataset:
    """What a source holds at a clock.

    Attributes:
        source: Where the records come from.
        as_of: The clock: every record has `recorded_at < as_of` (00:00 UTC).
        records: Products, users and transactions, each ordered by `(updated_at, id)`.
        rejected: Bad lines of a file known at the clock (empty for the simulator): `record_hash,
            record, reason, line, transacted_at`. A line without a readable time is always known.
        lines: Lines of the source at the clock, good and bad.
        nulled: Unreadable optional values by column, over the whole file.
    """

    source: Source
    as_of: date
    records: RetailRecords
    rejected: pd.DataFrame
    nulled: dict[str, int]

    @property
    def products(self) -> pd.DataFrame:
        """Records of the stream `products`."""
        return self.records.products

    @property
    def users(self) -> pd.DataFrame:
        """Records of the stream `users`."""
        return self.records.users

    @property
    def transactions(self) -> pd.DataFrame:
        """Records of the stream `transactions` without their items; `line_count` says how many."""
        return self.records.transactions

    @property
    def items(self) -> pd.DataFrame:
        """The lines of all transactions, in the transactions' order."""
        return self.records.items

    @property
    def lines(self) -> int:
        """Lines at the clock, served and rejected."""
        return len(self.records.items) + len(self.rejected)

    def totals(self) -> Totals:
        """Counts and exact money of the transactions."""
        return self._totals

    @cached_property
    def _totals(self) -> Totals:
        return totals_of(self.records.transactions, self.records.items)


def open_dataset(source: Source, as_of: date | None = None) -> RetailDataset:
    """The records of a bundled source at a clock; the last one opened is kept for a minute.

    Args:
        source: The simulator or a file.
        as_of: The clock; by default the source's own.

    Raises:
        UsageError: The source is an address, the file cannot be used, or the clock is before the
            first record.
    """
    clock = as_of or default_as_of(source)
    return _CACHE.dataset(source, clock)


def keep_dataset(dataset: RetailDataset) -> None:
    """Keep the last dataset opened for another minute, as it was in use until now."""
    _CACHE.keep(dataset)


def default_as_of(source: Source) -> date:
    """A source's own clock: fixed (simulator), the day after the last line (file), today (address).

    Raises:
        UsageError: The file cannot be used.
    """
    match source:
        case SimulatorSource():
            return DEFAULT_AS_OF
        case FileSource(path=path):
            return file_default_as_of(path)
        case ApiSource():
            return datetime.now(UTC).date()


def source_id(source: Source) -> str:
    """The name under which state is kept: equal for equal data, without credentials.

    Raises:
        UsageError: The file is missing.
    """
    match source:
        case SimulatorSource(customers=customers, seed=seed):
            return f"simulator:customers={customers}&seed={seed}"
        case FileSource(path=path):
            return f"file:sha256:{_content_hash(path, _stamp(path))[:16]}"
        case ApiSource(url=url):
            return without_credentials(url)


def without_credentials(url: str) -> str:
    """An address without user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


KEPT_SECONDS: Final = 60.0
"""So long after it was last asked for, or served, a dataset stays in memory: three syncs follow
each other, and what comes after them needs the room."""


class _LastDataset:
    """The last dataset, kept so that three syncs in a row build it once; one, to bound memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: tuple[tuple[Path, int, int], TransactionsFile] | None = None
        self._wanted: object = None
        self._kept: RetailDataset | None = None
        self._in_use: Callable[[], RetailDataset | None] = _nothing
        self._timer: threading.Timer | None = None

    def dataset(self, source: Source, as_of: date) -> RetailDataset:
        with self._lock:
            stamp = _stamp(source.path) if isinstance(source, FileSource) else None
            wanted = (source, as_of, stamp)
            found = self._in_use() if self._wanted == wanted else None
            if found is None:
                self._kept, self._in_use = None, _nothing
                found = self._build(source, as_of)
            self._wanted, self._kept, self._in_use = wanted, found, weakref.ref(found)
            self._release_later()
            return found

    def _release_later(self) -> None:
        if sys.is_finalizing():  # as after a Ctrl-C: a thread would never start
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(KEPT_SECONDS, self._release)
        self._timer.daemon = True
        self._timer.start()

    def keep(self, dataset: RetailDataset) -> None:
        with self._lock:
            if self._in_use() is dataset:
                self._kept = dataset
                self._release_later()

    def _release(self) -> None:
        with self._lock:
            if threading.current_thread() is self._timer:
                self._kept = self._file = None
        gc.collect()  # a process that makes little garbage would keep gigabytes for long

    def _build(self, source: Source, as_of: date) -> RetailDataset:
        match source:
            case SimulatorSource(customers=customers, seed=seed):
                self._file = None
                _refuse_before(HISTORY_START, as_of, "the simulator")
                records = simulate(customers=customers, seed=seed, until=as_of).records
                return RetailDataset(source, as_of, records, _NO_LINES, {})
            case FileSource(path=path):
                file = self._whole_file(path)
                records = file.records.before(as_of)
                if records.transactions.empty:
                    first = file.records.transactions["recorded_at"].iloc[0].date()
                    _refuse_before(first, as_of, str(path))
                return RetailDataset(source, as_of, records, _known(file, as_of), file.nulled)
            case ApiSource(url=url):
                raise UsageError(
                    f"the records of {without_credentials(url)} are read through its API; "
                    "only the simulator and files are served from here"
                )

    def _whole_file(self, path: Path) -> TransactionsFile:
        wanted = (path, *_stamp(path))
        if self._file is None or self._file[0] != wanted:
            self._file = None
            self._file = (wanted, read_transactions_file(path))
        return self._file[1]


def _nothing() -> None:
    return None


_CACHE = _LastDataset()
_NO_LINES = pd.DataFrame(
    {
        "record_hash": pd.Series(dtype=object),
        "record": pd.Series(dtype=object),
        "reason": pd.Series(dtype=object),
        "line": pd.Series(dtype="int64"),
        "transacted_at": pd.Series(dtype="datetime64[us]"),
    }
)


def _known(file: TransactionsFile, as_of: date) -> pd.DataFrame:
    late = file.rejected["transacted_at"] >= pd.Timestamp(as_of)
    return file.rejected[~late].reset_index(drop=True)


def _refuse_before(first: date, as_of: date, name: str) -> None:
    if as_of <= first:
        raise UsageError(
            f"nothing is known before {as_of}: the records of {name} start on {first}; "
            "take a later as-of date"
        )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        raise UsageError(f"the transactions file {path} does not exist; check its path") from None
    return state.st_size, state.st_mtime_ns


@lru_cache(maxsize=8)
def _content_hash(path: Path, _stamp: tuple[int, int]) -> str:
    """SHA-256 of a file; the stamp is only there to tell its versions apart."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
