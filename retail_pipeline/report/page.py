"""The report as one self-contained HTML file that fits screens of any width and print.

The markup is in `page.html.j2`; the content is passed to it as sections, images and layers.
"""

import base64
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retail_pipeline.wording import counted

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Image:
    """A figure with its texts.

    Attributes:
        name: Name of the figure as a heading.
        png: Bytes of the image.
        finding: Title of the figure, used as the alternative text.
        how_to_read: What its marks mean.
        caption: Key numbers of the figure.
    """

    name: str
    png: bytes
    finding: str
    how_to_read: str
    caption: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height

    @property
    def address(self) -> str:
        """The image as a `data:` URL."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Layer:
    """A layer of the asset graph: one box in the lineage drawing.

    Attributes:
        name: Name of the asset group.
        assets: Number of assets.
        rows: Rows of all tables; 0 if unknown or none.
        checks: Number of checks of the assets.
    """

    name: str
    assets: int
    rows: int
    checks: int

    @property
    def words(self) -> str:
        """The text under the name, such as `3 assets · 55,191 rows · 6 checks`."""
        counts = ((self.assets, "asset"), (self.rows, "row"), (self.checks, "check"))
        return " · ".join(counted(count, noun) for count, noun in counts if count)


def html(**parts: Any) -> str:
    """Return the report as an HTML document.

    Args:
        parts: `title` and `subtitle`; `glance` (sections); `figures` (images, in the registry's
            order); `card_title` and `card` (sections); `checks` (a section); `layers` in the order
            of the data; `tables` (a section with their rows); `footer`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template(_TEMPLATE.name).render(parts)


def _breakable(text: str) -> "Markup":
    """Return a name with possible line breaks after each of its parts."""
    from markupsafe import Markup, escape

    return Markup(str(escape(text)).replace("_", "_<wbr>").replace("/", "/<wbr>"))
