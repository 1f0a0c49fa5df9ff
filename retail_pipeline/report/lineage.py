"""The way of the data as a drawing: a box per layer, from the API down to the report.

An inline SVG that is read on a phone: boxes stand below each other. A table of the report has the
same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from retail_pipeline.report.document import counted

_WIDTH: Final = 340
_BOX: Final = 50
_GAP: Final = 22


@dataclass(frozen=True)
class Layer:
    """A layer of the graph.

    Attributes:
        name: Its group.
        assets: How many assets it has.
        rows: Rows of its tables in all; None where they are not known, or it has none.
        checks: How many checks its assets have.
    """

    name: str
    assets: int
    rows: int | None
    checks: int

    def words(self) -> str:
        """Return what is written under the name, such as `3 tables · 55,191 rows · 6 checks`."""
        parts = [counted(self.assets, "asset")]
        if self.rows:
            parts.append(counted(self.rows, "row"))
        if self.checks:
            parts.append(counted(self.checks, "check"))
        return " · ".join(parts)


def svg(layers: Sequence[Layer]) -> str:
    """Return the drawing, with a title and a description for those who do not see it.

    Args:
        layers: In the order of the data.
    """
    height = len(layers) * (_BOX + _GAP) - _GAP + 2
    described = "; ".join(f"{layer.name}: {layer.words()}" for layer in layers)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="way way-words" '
        'xmlns="http://www.w3.org/2000/svg">',
        '<title id="way">The layers of the data, from the API to this report</title>',
        f'<desc id="way-words">{escape(described)}</desc>',
    ]
    for position, layer in enumerate(layers):
        top = position * (_BOX + _GAP) + 1
        parts.append(
            f'<rect class="layer" x="1" y="{top}" width="{_WIDTH - 2}" height="{_BOX}" rx="6"/>'
            f'<text class="name" x="14" y="{top + 21}">{escape(layer.name)}</text>'
            f'<text class="words" x="14" y="{top + 39}">{escape(layer.words())}</text>'
        )
        if position + 1 < len(layers):
            middle, end = _WIDTH // 2, top + _BOX + _GAP
            parts.append(
                f'<path class="way" d="M{middle} {top + _BOX} V{end - 2} m-5 -6 l5 6 l5 -6"/>'
            )
    return "".join([*parts, "</svg>"])
