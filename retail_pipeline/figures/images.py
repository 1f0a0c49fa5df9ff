"""Figures as files and as small images inside metadata. Nothing about what they show."""

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
"""An event's metadata is one row of the event log: an image in it must stay small."""

INLINE_WIDTH = 1_000
"""In pixels: Dagster shows an image as wide as it is, and its dialog cuts off what is wider."""

_COLORS = 256
"""A dozen colors, the shades of a scale, and those at the edges of letters."""

_FEWER_COLORS, _NARROWEST = 96, 200
"""Of the reduced copy: of one that must be narrower in pixels, nothing can be read."""


def png(figure: Figure, *, dpi: int = DPI) -> bytes:
    """Return the figure as a PNG of a palette: drawn once, a third of the size in full color."""
    from PIL import Image

    with house_style():
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return _encoded(pixels, _COLORS)


def vector(figure: Figure, kind: str) -> bytes:
    """Return the figure as a document of lines and text: `svg` or `pdf`."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def inline_markdown(image: bytes, title: str, *, limit: int = INLINE_LIMIT_BYTES) -> str:
    """Return Markdown that holds the image itself, reduced where it is too large or too wide.

    Args:
        image: A PNG of any size.
        title: The alternative text.
        limit: Bytes of the PNG, before base64 makes it a third longer.

    Raises:
        ValueError: Not even the smallest version is within the limit.
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
    """Return the palette with the paper white: the nearest color is a mean with shades around."""
    lightness = [sum(palette[i : i + 3]) for i in range(0, len(palette), 3)]
    white = 3 * lightness.index(max(lightness))
    return [*palette[:white], 255, 255, 255, *palette[white + 3 :]]
