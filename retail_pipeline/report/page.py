"""The report as one HTML file: everything inside, nothing fetched, fit for any width and print.

The markup is in `page.html.j2`, the words come in as sections and images.
"""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retail_pipeline.report.document import Facts, Section

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Image:
    """A figure with its words.

    Attributes:
        name: Of the figure, fit for a heading.
        png: Its bytes.
        finding: The figure's title: the alternative text.
        caption: Its key numbers.
    """

    name: str
    png: bytes
    finding: str
    caption: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height

    @property
    def address(self) -> str:
        """The image itself as a `data:` address."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Report:
    """The parts of a page.

    Attributes:
        title: Its one heading of the first level.
        subtitle: What it covers, in a sentence.
        glance: The few numbers that most readers want.
        figures: In the registry's order.
        card_title: The model card's heading.
        card: Its sections.
        checks: The results of the checks.
        lineage: The drawing of the layers: trusted markup, made by `lineage`.
        tables: Tables of the layers.
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
