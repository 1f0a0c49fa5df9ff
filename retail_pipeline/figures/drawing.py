"""Drawing figures on all cores: names and tables go to worker processes, images come back.

No Dagster here: a worker process imports this module, and Dagster takes longer than a figure.
"""

import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from retail_pipeline.cores import as_done
from retail_pipeline.errors import PipelineError
from retail_pipeline.figures.queries import Tables
from retail_pipeline.figures.registry import Figure, figure
from retail_pipeline.postgres.lost import is_lost_connection

FEWEST_FOR_WORKERS = 3
"""Figures from which worker processes pay: each of them imports matplotlib anew."""


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn, or the reason why it was not.

    Attributes:
        name: The figure's.
        image: A PNG; empty where drawing failed.
        markdown: A smaller copy of it, inside Markdown.
        numbers: The title (`finding`), rows, seconds, and the key numbers that the figure shows.
        error: The reason of a failure; empty where there is none.
        is_lost: The failure is that of a database that is away.
        trace: Where it failed.
    """

    name: str
    image: bytes = b""
    markdown: str = ""
    numbers: dict[str, float | int | str] = field(default_factory=dict)
    error: str = ""
    is_lost: bool = False
    trace: str = ""


def draw_all(names: Sequence[str], tables: Tables) -> Iterator[Drawn]:
    """Yield each figure as soon as it is drawn; one that fails does not keep the others.

    Args:
        names: Of figures; more than two are drawn on all cores, those of the same data in one go.
        tables: As the reader; its address is resolved, so that it can go to another process.
    """
    if len(names) < FEWEST_FOR_WORKERS:
        yield from (_drawn(figure(name), tables) for name in names)
        return
    by_data: dict[str, list[Figure]] = {}
    for each in map(figure, names):
        by_data.setdefault(each.data, []).append(each)
    groups = sorted(by_data.values(), key=len, reverse=True)
    for drawn in as_done(_draw_group, [(group, tables) for group in groups]):
        yield from drawn


def _draw_group(group: Sequence[Figure], tables: Tables) -> list[Drawn]:
    return [_drawn(each, tables) for each in group]


def _drawn(figure: Figure, tables: Tables) -> Drawn:
    """Return one figure as a PNG with its numbers."""
    from retail_pipeline.figures.images import inline_markdown, png

    started = time.monotonic()
    try:
        plot = figure.draw(tables)
        image, finding = png(plot.figure), str(plot.figure.get_label())
        markdown = inline_markdown(image, finding)
    except Exception as error:
        reason = str(error) if isinstance(error, PipelineError) else repr(error)
        trace = traceback.format_exc()
        return Drawn(figure.name, error=reason, is_lost=is_lost_connection(error), trace=trace)
    seconds = round(time.monotonic() - started, 3)
    numbers = {"finding": finding, "rows_drawn": plot.rows, **plot.numbers, "seconds": seconds}
    return Drawn(figure.name, image, markdown, numbers)
