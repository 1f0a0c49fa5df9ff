"""Encoding of figures: files, and small images embedded in metadata."""

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retail_pipeline.figures.style import house_style

if TYPE_CHECKING:
    from PIL.Image import Image

DPI = 140
INLINE_LIMIT_BYTES = 100_000
"""Largest size of an image in metadata, which Dagster stores in one row of its event log."""

INLINE_WIDTH = 1_000
"""In pixels. Dagster shows images in their full width, and its dialog cuts off wider ones."""

_COLORS = 256
"""Enough for a dozen colors, the shades of a color scale and the edges of letters."""

_FEWER_COLORS, _NARROWEST = 96, 200
"""Colors and least width in pixels of a reduced copy; a narrower one would be illegible."""


def png(figure: Figure, *, dpi: int = DPI) -> bytes:
    """Return the figure as a PNG with a palette, a third of the size of one in full color."""
    from PIL import Image

    with house_style():
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return _encoded(pixels, _COLORS)


def vector(figure: Figure, kind: str) -> bytes:
    """Return the figure as a vector document: `svg` or `pdf`."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def inline_markdown(image: bytes, title: str, *, limit: int = INLINE_LIMIT_BYTES) -> str:
    """Return Markdown with the image embedded, reduced if it is too large or too wide.

    Args:
        image: A PNG of any size.
        title: The alternative text.
        limit: Largest size of the PNG in bytes; base64 adds a third.

    Raises:
        ValueError: Even the smallest version exceeds the limit.
    """
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        if len(image) > limit or opened.width > INLINE_WIDTH:
            image = _reduced(opened.convert("RGB"), limit)
    encoded = base64.b64encode(image).decode("ascii")
    text = title.replace("[", "(").replace("]", ")")
    return f"![{text}](data:image/png;base64,{encoded})"


def _reduced(full: "Image", limit: int) -> bytes:
    from PIL.Image import Resampling

    width = min(full.width, INLINE_WIDTH)
    while width >= _NARROWEST:
        size = (width, max(1, full.height * width // full.width))
        smaller = _encoded(full.resize(size, Resampling.LANCZOS), _FEWER_COLORS)
        if len(smaller) <= limit:
            return smaller
        width = width * 3 // 4
    raise ValueError(f"the image cannot be reduced to {limit} bytes")


def _encoded(image: "Image", colors: int) -> bytes:
    from PIL.Image import Dither, Quantize

    buffer = io.BytesIO()
    few = image.quantize(colors, method=Quantize.FASTOCTREE, dither=Dither.NONE)
    few.putpalette(_with_pure_white(few.getpalette() or []))
    few.save(buffer, format="PNG")
    return buffer.getvalue()


def _with_pure_white(palette: list[int]) -> list[int]:
    """Return the palette with its lightest color set to white, as quantizing may darken white."""
    lightness = [sum(palette[i : i + 3]) for i in range(0, len(palette), 3)]
    white = 3 * lightness.index(max(lightness))
    return [*palette[:white], 255, 255, 255, *palette[white + 3 :]]
