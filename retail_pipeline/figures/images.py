"""Figures as files and as small images inside metadata. Nothing about what they show."""

import base64
import io
import secrets
from pathlib import Path

from matplotlib.figure import Figure

from retail_pipeline.figures.style import house_style

FILE_DPI = 160
INLINE_LIMIT_BYTES = 100_000
"""An event's metadata is one row of the event log: an image in it must stay small."""

_INLINE_WIDTHS = (1100, 900, 700, 500, 350, 200)
_INLINE_COLOURS = (128, 32)


def png(figure: Figure, *, dpi: int = FILE_DPI) -> bytes:
    """Return the figure as a PNG."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def vector(figure: Figure, kind: str) -> bytes:
    """Return the figure as a document of lines and text: `svg` or `pdf`."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def write_atomically(image: bytes, path: Path) -> None:
    """Write the file so that a reader sees the old image or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        draft.write_bytes(image)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def inline_markdown(image: bytes, title: str, *, limit: int = INLINE_LIMIT_BYTES) -> str:
    """Return Markdown that holds the image itself, reduced until its PNG is within the limit.

    Args:
        image: A PNG of any size.
        title: The alternative text.
        limit: Bytes of the PNG, before base64 makes it a third longer.

    Raises:
        ValueError: Not even the smallest version is within the limit.
    """
    encoded = base64.b64encode(_reduced(image, limit)).decode("ascii")
    text = title.replace("[", "(").replace("]", ")")
    return f"![{text}](data:image/png;base64,{encoded})"


def _reduced(image: bytes, limit: int) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        full = opened.convert("RGB")
    for width in _INLINE_WIDTHS:
        size = (min(width, full.width), max(1, full.height * min(width, full.width) // full.width))
        scaled = full.resize(size, Image.Resampling.LANCZOS)
        for colours in _INLINE_COLOURS:
            buffer = io.BytesIO()
            scaled.quantize(colours).save(buffer, format="PNG", optimize=True)
            if buffer.tell() <= limit:
                return buffer.getvalue()
    raise ValueError(f"the image cannot be reduced to {limit} bytes")
