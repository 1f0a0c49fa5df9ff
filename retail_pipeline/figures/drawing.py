"""Drawing on all cores: worker processes receive names of figures and return images.

This module does not import Dagster, because each worker process would import it too, and that takes
longer than drawing a figure.
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
"""Number of figures from which worker processes save time, as each process imports matplotlib."""


@dataclass(frozen=True)
class Drawn:
    """A drawn figure, or the reason why drawing failed.

    Attributes:
        name: Name of the figure.
        image: A PNG; empty if drawing failed.
        markdown: A smaller copy of the image, embedded in Markdown.
        numbers: Title (`finding`), rows, seconds and the key numbers of the figure.
        error: Reason of the failure; empty if there was none.
        is_lost: Whether drawing failed because the connection to the database was lost.
        trace: Traceback of the failure.
    """

    name: str
    image: bytes = b""
    markdown: str = ""
    numbers: dict[str, float | int | str] = field(default_factory=dict)
    error: str = ""
    is_lost: bool = False
    trace: str = ""


def draw_all(names: Sequence[str], tables: Tables) -> Iterator[Drawn]:
    """Yield each figure as soon as it is drawn; a figure that fails does not stop the others.

    Args:
        names: Figures to draw. More than two are drawn on all cores; figures of the same data are
            drawn by one process.
        tables: Tables of the run, read as the role reader. The address of the database must be
            resolved, so that worker processes can connect to it.
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
    """Return one figure as a PNG with its numbers, or the reason why drawing failed."""
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
