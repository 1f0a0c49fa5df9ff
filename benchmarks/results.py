"""The result of a benchmark, and its output as a table or as JSON."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Result:
    """One measurement.

    Attributes:
        bench: Name of the benchmark.
        case: The measured task.
        records: Number of records of the task.
        engine: The measured tool.
        seconds: Wall time; the median if the task was repeated.
        rate: Records per second.
        peak_mib: Peak memory of all processes of the engine, in MiB; None if unknown.
    """

    bench: str
    case: str
    records: int
    engine: str
    seconds: float
    rate: float
    peak_mib: float | None = None

    @classmethod
    def of(
        cls,
        bench: str,
        case: str,
        records: int,
        engine: str,
        seconds: float,
        peak_mib: float | None = None,
    ) -> "Result":
        """Return a result with the rate computed from records and seconds."""
        rate = records / seconds if seconds > 0 else 0.0
        return cls(bench, case, records, engine, round(seconds, 4), round(rate, 1), peak_mib)


def as_json(results: Sequence[Result]) -> str:
    """Return the results as a JSON list of objects."""
    return json.dumps([dataclasses.asdict(result) for result in results], indent=1)


def as_table(results: Sequence[Result]) -> Table:
    """Return a table with one row per measurement."""
    table = Table(box=None, pad_edge=False)
    for name in ("bench", "case", "records", "engine", "seconds", "records/s", "peak MiB"):
        table.add_column(name, justify="left" if name in ("bench", "case", "engine") else "right")
    for result in results:
        table.add_row(
            result.bench,
            result.case,
            f"{result.records:,}",
            result.engine,
            f"{result.seconds:,.2f}",
            f"{result.rate:,.0f}",
            "-" if result.peak_mib is None else f"{result.peak_mib:,.0f}",
        )
    return table
