"""How numbers are written, that colours stay apart in grey, and that inline images stay small."""

import base64
import io
from datetime import date

import matplotlib.colors as mcolors
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from retail_pipeline.figures import (
    page,
    style,
)
from retail_pipeline.figures.images import (
    DPI,
    INLINE_LIMIT_BYTES,
    INLINE_WIDTH,
    inline_markdown,
    png,
)


@pytest.mark.parametrize(
    ("value", "currency", "written"),
    [
        (0, "GBP", "£0"),
        (-0.0, "GBP", "£0"),
        (0.001, "GBP", "£0.001"),
        (0.43, "EUR", "€0.43"),
        (12.5, "GBP", "£12.50"),
        (999.6, "", "1k"),
        (999_950, "USD", "$1M"),
        (1_234_567, "GBP", "£1.23M"),
        (-3_400, "CHF", "-3.4k\u00a0CHF"),
        (2.5e9, "", "2.5B"),
        (float("nan"), "GBP", style.MISSING),
    ],
)
def test_money_is_written_with_three_digits_that_matter(value: float, currency: str, written: str):
    assert style.money(value, currency) == written


@settings(max_examples=200, deadline=None)
@given(st.floats(min_value=0.001, max_value=9e11))
def test_written_money_is_within_a_hundredth_or_a_cent_of_the_amount(value: float):
    text = style.money(value)
    factor = {"k": 1e3, "M": 1e6, "B": 1e9}.get(text[-1], 1.0)
    read = float(text.rstrip("kMB")) * factor
    assert abs(read - value) <= 0.0051 * value + (
        0.0051 if 0.0995 <= value < 1 else 0
    ) + 0.00051 * (value < 0.0995)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0%"),
        (1e-9, "<0.1%"),
        (0.0004, "<0.1%"),
        (0.0414, "4.1%"),
        (0.0997, "10%"),
        (0.994, "99%"),
        (0.9951, "99.5%"),
        (0.9996, ">99.9%"),
        (-0.9996, "<-99.9%"),
        (1 - 1e-15, "100%"),
        (1, "100%"),
        (1.5, "150%"),
    ],
)
def test_shares_are_written_as_percentages(value: float, written: str):
    assert style.share(value) == written


def test_days_are_written_without_a_place_to_break():
    assert style.day(date(2011, 6, 1)) == "1\u00a0Jun\u00a02011"


def test_colours_stay_apart_in_grey():
    grey = sorted(
        float(np.dot(mcolors.to_rgb(colour), (0.2126, 0.7152, 0.0722)))
        for colour in (style.MAIN, style.ACCENT, style.NEUTRAL)
    )
    assert min(np.diff(grey)) > 0.15
    scale = [np.dot(style.SEQUENCE(x)[:3], (0.2126, 0.7152, 0.0722)) for x in np.linspace(0, 1, 50)]
    assert (np.diff(scale) < 0).all()


def noise(width: int, height: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(800, 450), (300, 600), (10, 10)])
def test_the_inline_image_is_a_png_within_the_limit(size: tuple[int, int]):
    text = inline_markdown(noise(*size), "a [noisy] figure")
    head, encoded = text.removesuffix(")").split(";base64,")
    image = base64.b64decode(encoded)
    assert head == "![a (noisy) figure](data:image/png"
    assert len(image) <= INLINE_LIMIT_BYTES
    assert Image.open(io.BytesIO(image)).format == "PNG"


def test_an_impossible_limit_is_an_error():
    with pytest.raises(ValueError, match="100 bytes"):
        inline_markdown(noise(100, 100), "noise", limit=100)


def test_a_long_title_is_balanced_over_its_lines():
    lines = page.wrapped("word " * 29 + "end", 14, weight="bold", balanced=True)
    assert len(lines) == 2
    assert abs(len(lines[0]) - len(lines[1])) <= 10


def test_text_is_measured_as_it_is_drawn():
    figure = Figure(figsize=(page.WIDTH, 3))
    FigureCanvasAgg(figure)
    for text, size, weight in (("Mean net revenue, £1.2k", 9.5, "normal"), ("Title", 14, "bold")):
        with style.house_style():
            drawn = figure.text(0, 0, text, size=size, weight=weight).get_window_extent()
        assert page.text_width(text, size, weight) == pytest.approx(
            drawn.width / figure.dpi, rel=0.03
        )


@settings(max_examples=50, deadline=None)
@given(st.text("Aii Wm,·", max_size=60), st.floats(min_value=0.3, max_value=3))
def test_a_shortened_name_fits_its_room(name: str, room: float):
    short = page.shortened(name, room, 9.5)
    assert page.text_width(short, 9.5) <= room
    assert short == name or short.endswith("…")


def test_panels_fill_the_page_between_its_words():
    sheet = page.page("Title", "Subtitle", "Footer", height=5)
    panels = sheet.panels(2, 2, left=0.5, right=0.2, below=0.3, above=0.4, gap=0.6)
    boxes = [axes.get_position() for axes in panels]
    left, right = boxes[0].x0 * page.WIDTH, boxes[1].x1 * page.WIDTH
    assert (left, right) == pytest.approx((page.MARGIN + 0.5, page.WIDTH - page.MARGIN - 0.2))
    assert (boxes[1].x0 - boxes[0].x1) * page.WIDTH == pytest.approx(0.6)
    assert (boxes[0].y0 - boxes[2].y1) * 5 == pytest.approx(0.6)
    assert boxes[0].y1 * 5 == pytest.approx(sheet.top - 0.4)
    assert page.size_of(panels[0])[0] == pytest.approx(boxes[0].width * page.WIDTH)


def test_an_image_has_few_colours_white_paper_and_keeps_within_the_inline_limit():
    sheet = page.page("Title", "Subtitle", "Footer", height=5)
    with style.house_style():
        for axes, colour in zip(sheet.panels(1, 2), (style.MAIN, style.ACCENT), strict=True):
            axes.bar([1, 2], [3, 4], color=colour)
    image = png(sheet.figure)
    assert len(image) < INLINE_LIMIT_BYTES / 2
    opened = Image.open(io.BytesIO(image))
    assert opened.mode == "P"
    assert opened.width == round(page.WIDTH * DPI)
    assert opened.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    inline = inline_markdown(image, "as wide as a dialog").removesuffix(")").split(",")[1]
    assert Image.open(io.BytesIO(base64.b64decode(inline))).width == INLINE_WIDTH
    narrow = png(page.page("Title", "Subtitle", "Footer", height=5).figure, dpi=90)
    assert base64.b64encode(narrow).decode() in inline_markdown(narrow, "as it is")
