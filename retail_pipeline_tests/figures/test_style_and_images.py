"""Numbers are written in one way, colors differ in gray, and inline images are small."""

import base64
import io
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image

from retail_pipeline.figures import colors, style, writing
from retail_pipeline.figures.images import (
    DPI,
    INLINE_LIMIT_BYTES,
    INLINE_WIDTH,
    inline_markdown,
    png,
)


@pytest.mark.parametrize(
    ("value", "unit", "written"),
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
        (18.1, "", "18.1"),
        (0.989, "", "0.989"),
        (float("nan"), "GBP", writing.MISSING),
        (0, "%", "0%"),
        (1e-9, "%", "<0.1%"),
        (-1e-9, "%", ">-0.1%"),
        (0.0414, "%", "4.1%"),
        (0.04, "%", "4%"),
        (0.0997, "%", "10%"),
        (0.994, "%", "99%"),
        (0.9951, "%", "99.5%"),
        (0.9996, "%", ">99.9%"),
        (-0.9996, "%", "<-99.9%"),
        (1 - 1e-15, "%", "100%"),
        (1.5, "%", "150%"),
        (float("inf"), "%", writing.MISSING),
    ],
)
def test_numbers_are_written_with_three_digits_that_matter(value: float, unit: str, written: str):
    assert writing.number(value, unit) == written


@pytest.mark.parametrize(("value", "written"), [(0.05, "+5%"), (0, "0%"), (-0.05, "-5%")])
def test_signs_are_written_on_request(value: float, written: str):
    assert writing.number(value, "%", signed=True) == written


@settings(max_examples=200, deadline=None)
@given(st.floats(min_value=0.001, max_value=9e11), st.sampled_from(["", "GBP"]))
def test_a_written_number_is_within_a_hundredth_or_a_cent_of_the_amount(value: float, unit: str):
    text = writing.number(value, unit).removeprefix("£")
    factor = {"k": 1e3, "M": 1e6, "B": 1e9}.get(text[-1], 1.0)
    cent = 0.0051 if 0.0995 <= value < 1 else 0.00051
    assert abs(float(text.rstrip("kMB")) * factor - value) <= 0.0051 * value + cent


def test_days_are_written_without_a_place_to_break():
    assert writing.day(date(2011, 6, 1)) == "1\u00a0Jun\u00a02011"


def test_colors_stay_apart_in_gray():
    gray = sorted(
        float(np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)))
        for color in (colors.MAIN, colors.ACCENT, colors.NEUTRAL)
    )
    assert min(np.diff(gray)) > 0.15
    scale = [
        np.dot(colors.SEQUENCE(x)[:3], (0.2126, 0.7152, 0.0722)) for x in np.linspace(0, 1, 50)
    ]
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
    figure = style.page("word " * 19 + "end", "Subtitle", "Footer")
    lines = [text.get_text() for text in figure.texts[:-2]]
    assert len(lines) == 2
    assert abs(len(lines[0]) - len(lines[1])) <= 10


@pytest.mark.parametrize(("length", "written"), [(32, "a" * 32), (33, "a" * 31 + "…")])
def test_a_long_name_is_cut(length: int, written: str):
    assert writing.shortened("a" * length) == written


def test_an_image_has_few_colors_white_paper_and_keeps_within_the_inline_limit():
    figure = style.page("Title", "Subtitle", "Footer", height=5)
    with style.house_style():
        for axes, color in zip(figure.subplots(1, 2), (colors.MAIN, colors.ACCENT), strict=True):
            axes.bar([1, 2], [3, 4], color=color)
    image = png(figure)
    assert len(image) < INLINE_LIMIT_BYTES / 2
    opened = Image.open(io.BytesIO(image))
    assert opened.mode == "P"
    assert opened.width == round(style.WIDTH * DPI)
    assert opened.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    inline = inline_markdown(image, "as wide as a dialog").removesuffix(")").split(",")[1]
    assert Image.open(io.BytesIO(base64.b64decode(inline))).width == INLINE_WIDTH
    narrow = png(style.page("Title", "Subtitle", "Footer", height=5), dpi=90)
    assert base64.b64encode(narrow).decode() in inline_markdown(narrow, "as it is")
