"""Stored figures as images inside a page, small enough together. What they show is not known here.

A PNG stays as it is while there is room; beyond that the largest lose colours, then size.
"""

import base64
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

IMAGES_LIMIT_BYTES: Final = 3_400_000
"""Of all PNGs together: base64 makes them a third longer, and the page stays below 5 MB."""

_REDUCTIONS: Final = ((1400, 64), (1100, 64), (1100, 24), (800, 24), (500, 16))


@dataclass(frozen=True)
class Image:
    """A figure with its words.

    Attributes:
        name: Of the figure, fit for a heading.
        png: Its bytes.
        finding: What is to be seen, in a sentence: the alternative text.
        caption: What it shows, and from where.
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


def fitted(images: Sequence[bytes], limit: int = IMAGES_LIMIT_BYTES) -> list[bytes]:
    """Return the PNGs, reduced until they are within a limit together.

    Args:
        images: PNGs of any size.
        limit: Bytes of all of them.
    """
    found = list(images)
    for width, colours in _REDUCTIONS:
        for position in sorted(range(len(found)), key=lambda p: len(found[p]), reverse=True):
            if sum(map(len, found)) <= limit:
                return found
            found[position] = min(
                _reduced(found[position], width, colours), found[position], key=len
            )
    return found


def _reduced(png: bytes, width: int, colours: int) -> bytes:
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(png)) as opened:
        image = opened.convert("RGB")
    if image.width > width:
        height = max(1, round(image.height * width / image.width))
        image = image.resize((width, height), Pillow.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.quantize(colours).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
