"""The row that every bench reports, its table on a screen and its JSON for machines."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Result:
    """One measurement.

    Attributes:
        bench: The bench's name.
        case: What was done.
        records: How many records it was done with.
        engine: Who did it.
        seconds: Wall time; the median where it was repeated.
        rate: Records per second.
        peak_mib: Largest memory of the engine's processes together, in MiB; None where unknown.
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
        """Build it; the rate follows from records and seconds."""
        rate = records / seconds if seconds > 0 else 0.0
        return cls(bench, case, records, engine, round(seconds, 4), round(rate, 1), peak_mib)


def as_json(results: Sequence[Result]) -> str:
    """Return the results as a JSON list of objects."""
    return json.dumps([dataclasses.asdict(result) for result in results], indent=1)


def as_table(results: Sequence[Result]) -> Table:
    """Return a table with a row per measurement."""
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
