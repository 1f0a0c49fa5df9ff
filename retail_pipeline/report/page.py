"""The report as one HTML file: everything inside, nothing fetched, fit for any width and print.

The markup is in `page.html.j2`; what it says comes in as sections and images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retail_pipeline.report.document import (
    Facts,
    Section,
)
from retail_pipeline.report.images import Image

if TYPE_CHECKING:
    from markupsafe import Markup

LARGEST_BYTES = 5_000_000

_TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Report:
    """What a page is made of.

    Attributes:
        title: Its one heading of the first level.
        subtitle: What it covers, in a sentence.
        glance: The few numbers that most readers want.
        figures: In the order of the gallery.
        card_title: The model card's heading.
        card: Its sections.
        checks: What the checks said.
        lineage: The drawing of the layers: trusted markup, made by `lineage`.
        tables: What the layers hold.
        footer: How it was made.
    """

    title: str
    subtitle: str
    glance: Facts
    figures: Sequence[Image]
    card_title: str
    card: Sequence[Section]
    checks: Section
    lineage: str
    tables: Section
    footer: str


def html(report: Report) -> str:
    """Return the report as an HTML document."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template(_TEMPLATE.name).render(report=report)


def _breakable(text: str) -> "Markup":
    """Return a name that may go on in the next line after each of its parts."""
    from markupsafe import Markup, escape

    return Markup(str(escape(text)).replace("_", "_<wbr>").replace("/", "/<wbr>"))
