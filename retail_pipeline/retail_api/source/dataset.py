"""Datasets: the records of the simulator or of a file that were recorded before an as-of date.

This is the only module that handles both kinds of bundled sources.
"""

import gc
import sys
import threading
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Final
from weakref import WeakValueDictionary

import pandas as pd

from retail_pipeline.business_day import local_day, midnight, today
from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.records import REJECTED_COLUMNS, RetailRecords, Totals, totals_of
from retail_pipeline.retail_api.simulator import DEFAULT_AS_OF, HISTORY_START, simulate
from retail_pipeline.retail_api.source.identity import file_stamp, without_credentials
from retail_pipeline.retail_api.source.lines import last_time
from retail_pipeline.retail_api.source.losses import Loss
from retail_pipeline.retail_api.source.orders import read_transactions_file
from retail_pipeline.settings import ApiSource, FileSource, SimulatorSource, Source, TablesSource

KEPT_SECONDS: Final = 60.0
"""Time that a dataset stays in memory after its last use: long enough for the three syncs of a run;
later steps need the memory."""


@dataclass(frozen=True)
class RetailDataset:
    """The records of a source before an as-of date.

    Attributes:
        source: The simulator or a file.
        as_of: The as-of date; every record has `recorded_at < as_of` (00:00 in the time zone).
        records: Products, users and transactions, each ordered by `(updated_at, id)`.
        rejected: The invalid lines of a file before the as-of date: `record_hash, record, reason,
            line, transacted_at`. A line without a valid time is always included. Empty for the
            simulator.
        nulled: The number of invalid optional values by column, over the whole file.
        losses: The lines and values of the whole file that are not used, by reason.
        time_zone: The zone of as-of dates.
    """

    source: Source
    as_of: date
    records: RetailRecords
    rejected: pd.DataFrame
    nulled: dict[str, int]
    losses: tuple[Loss, ...] = ()
    time_zone: str = "UTC"

    @cached_property
    def totals(self) -> Totals:
        """Counts and exact amounts of the transactions."""
        return totals_of(self.records.transactions, self.records.items)

    def before(self, as_of: date) -> "RetailDataset":
        """Return the dataset of an earlier as-of date.

        Raises:
            UsageError: No transaction was recorded before that date.
        """
        records = self.records.before(as_of, self.time_zone)
        if records.transactions.empty:
            first = self.records.transactions["recorded_at"].iloc[0]
            first = local_day(first.to_pydatetime(), self.time_zone)
            _refuse_before(first, as_of, self.source)
        end = pd.Timestamp(midnight(as_of, self.time_zone))
        late = self.rejected["transacted_at"] >= end
        rejected = self.rejected[~late].reset_index(drop=True)
        return replace(self, as_of=as_of, records=records, rejected=rejected)


def open_dataset(
    source: Source, as_of: date | None = None, time_zone: str = "UTC"
) -> RetailDataset:
    """Return the dataset of a bundled source; the latest one stays in memory for a minute.

    Args:
        source: The simulator or a file.
        as_of: The as-of date; by default the source's default date.
        time_zone: The zone of as-of dates (`RETAIL_TIME_ZONE`).

    Raises:
        UsageError: The source is an address, the file cannot be used, or the as-of date is before
            the first record.
    """
    as_of = as_of or default_as_of(source, time_zone)
    stamp = file_stamp(source.path) if isinstance(source, FileSource) else None
    with _LOCK:
        found = _IN_USE.get((source, as_of, time_zone, stamp))
        if found is None:
            _LAST.keep(None)  # frees memory for the next dataset
            found = _opened(source, as_of, time_zone)
            _IN_USE[source, as_of, time_zone, stamp] = found
        _LAST.keep(found)
    return found


def keep_dataset(dataset: RetailDataset) -> None:
    """Keep a dataset in memory for another minute."""
    with _LOCK:
        _LAST.keep(dataset)


def default_as_of(source: Source, time_zone: str = "UTC") -> date:
    """Return a source's default as-of date in a time zone.

    For the simulator it is fixed, for a file the day after the last line, for an address today.

    Raises:
        UsageError: The file cannot be used.
    """
    match source:
        case SimulatorSource():
            return DEFAULT_AS_OF
        case FileSource(path=path, options=options):
            return local_day(last_time(path, options), time_zone) + timedelta(days=1)
        case ApiSource() | TablesSource():
            return today(time_zone)


def _opened(source: Source, as_of: date, time_zone: str) -> RetailDataset:
    match source:
        case SimulatorSource(customers=customers, seed=seed):
            if as_of <= HISTORY_START:
                _refuse_before(HISTORY_START, as_of, source)
            # West of Greenwich a day ends after the UTC day of the same date.
            until = as_of if time_zone == "UTC" else as_of + timedelta(days=1)
            records = simulate(customers=customers, seed=seed, until=until).records
            nothing = pd.DataFrame(columns=list(REJECTED_COLUMNS))
            whole = RetailDataset(source, as_of, records, nothing, {}, time_zone=time_zone)
            return whole if time_zone == "UTC" else whole.before(as_of)
        case FileSource(path=path, options=options):
            file = read_transactions_file(path, options)
            whole = RetailDataset(
                source, as_of, file.records, file.rejected, file.nulled, file.losses, time_zone
            )
            return whole.before(as_of)
        case TablesSource(schema=schema):
            raise UsageError(f"the tables of {schema} are read by dbt, not from here")
        case ApiSource(url=url):
            raise UsageError(
                f"the records of {without_credentials(url)} are read through its API; "
                "only the simulator and files are served from here"
            )


def _refuse_before(first: date, as_of: date, source: Source) -> None:
    name = source.path if isinstance(source, FileSource) else "the simulator"
    raise UsageError(
        f"nothing is known before {as_of}: the records of {name} start on {first}; "
        "take a later as-of date"
    )


class _LastDataset:
    """A reference to the latest dataset, so that the three syncs of a run build it once."""

    def __init__(self) -> None:
        self._dataset: RetailDataset | None = None
        self._timer: threading.Timer | None = None

    def keep(self, dataset: RetailDataset | None) -> None:
        self._dataset = dataset
        if self._timer is not None:
            self._timer.cancel()
        if not sys.is_finalizing():  # after a Ctrl-C, for example, no thread would start
            self._timer = threading.Timer(KEPT_SECONDS, self._release)
            self._timer.daemon = True
            self._timer.start()

    def _release(self) -> None:
        with _LOCK:
            if threading.current_thread() is self._timer:
                self._dataset = None
        gc.collect()  # otherwise a process that allocates little would hold gigabytes for long


_LOCK = threading.Lock()
_LAST = _LastDataset()
_IN_USE: WeakValueDictionary[object, RetailDataset] = WeakValueDictionary()
"""Datasets in use, by source, as-of date and version of the file."""
