"""Drawing figures on all cores: names and tables go to worker processes, images come back.

No Dagster here: a worker process imports this module, and Dagster takes longer than a figure.
"""

import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from retail_pipeline.cores import as_done
from retail_pipeline.errors import PipelineError
from retail_pipeline.figures.queries import Tables
from retail_pipeline.figures.registry import figure
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.lost import is_lost_connection

FEWEST_FOR_WORKERS = 3
"""Figures from which worker processes pay: each of them imports pandas and matplotlib anew."""


@dataclass(frozen=True)
class Window:
    """The tables that figures are drawn from.

    Attributes:
        database: As the reader; its address is resolved, so that it can go to another process.
        as_of: The run's date.
        horizon_days: Its horizon.
    """

    database: Database
    as_of: date
    horizon_days: int


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn, or the reason why it was not.

    Attributes:
        name: The figure's.
        image: A PNG; empty where drawing failed.
        markdown: A smaller copy of it, inside Markdown.
        finding: The title.
        numbers: The key numbers that the figure shows.
        rows: Rows that are drawn; 0 where the figure says in words why there are none.
        seconds: Time that it took.
        error: The reason of a failure; empty where there is none.
        is_lost: The failure is that of a database that is away.
        trace: Where it failed.
    """

    name: str
    image: bytes = b""
    markdown: str = ""
    finding: str = ""
    numbers: dict[str, float | int | str] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    error: str = ""
    is_lost: bool = False
    trace: str = ""


def draw_all(names: Sequence[str], window: Window) -> Iterator[Drawn]:
    """Yield each figure as soon as it is drawn; one that fails does not keep the others.

    Args:
        names: Of figures; more than two are drawn on all cores.
        window: The tables that they are drawn from.
    """
    if len(names) < FEWEST_FOR_WORKERS:
        yield from (draw(name, window) for name in names)
        return
    yield from as_done(draw, [(name, window) for name in names])


def draw(name: str, window: Window) -> Drawn:
    """Return one figure as a PNG with its numbers."""
    from retail_pipeline.figures.images import inline_markdown, png

    started = time.monotonic()
    try:
        plot = figure(name).draw(Tables(window.database, window.as_of, window.horizon_days))
        image, finding = png(plot.figure), str(plot.figure.get_label())
        markdown = inline_markdown(image, finding)
    except Exception as error:
        reason = str(error) if isinstance(error, PipelineError) else repr(error)
        trace = traceback.format_exc()
        return Drawn(name, error=reason, is_lost=is_lost_connection(error), trace=trace)
    seconds = round(time.monotonic() - started, 3)
    return Drawn(name, image, markdown, finding, plot.numbers, plot.rows, seconds)
