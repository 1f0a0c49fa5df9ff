"""Reading an API into PostgreSQL: the engine against its peers and a limit."""

from collections.abc import Callable, Sequence

from retail_pipeline.bench.results import Result

SIZES = (10_000, 100_000, 1_000_000)
UNIT = "transactions"


def run(sizes: Sequence[int], *, note: Callable[[Result], None]) -> list[Result]:
    """Measure; return a result per case, size and engine."""
    raise NotImplementedError
