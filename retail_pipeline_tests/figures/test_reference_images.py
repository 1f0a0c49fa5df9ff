"""The style of figures, compared with a few reviewed images within a tolerance.

After a wanted change, RETAIL_TEST_UPDATE_GOLDEN=1 renews them; look at them before committing.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retail_pipeline.figures.accuracy import gain_curve
from retail_pipeline.figures.customers import cohort_retention
from retail_pipeline.figures.images import png
from retail_pipeline.figures.segments import segments
from retail_pipeline.figures.style import Plot, words
from retail_pipeline_tests.figures import frames
from retail_pipeline_tests.figures.frames import CONTEXT

FOLDER = Path(__file__).parent / "reference"
DPI = 50
TOLERANCE = 4.0
"""The largest root mean square of the differences, of 255: another font passes, another
layout fails."""

DRAWN: dict[str, Callable[[], Plot]] = {
    "words": lambda: words("There is nothing yet", "It comes with the first run.", "Source: none."),
    "bars": lambda: segments(frames.FEW["segments"](), CONTEXT),
    "cells": lambda: cohort_retention(frames.FEW["cohort_retention"](), CONTEXT),
    "lines": lambda: gain_curve(frames.outcomes(200, 3), CONTEXT),
}


def pixels(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), dtype=float)


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_looks_as_it_was_seen(name: str) -> None:
    drawn, path = png(DRAWN[name]().figure, dpi=DPI), FOLDER / f"{name}.png"
    if os.environ.get("RETAIL_TEST_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(drawn)
    now, then = pixels(drawn), pixels(path.read_bytes())
    assert now.shape == then.shape
    assert np.sqrt(np.mean((now - then) ** 2)) < TOLERANCE


def test_the_tolerance_notices_another_color_or_place() -> None:
    then = pixels((FOLDER / "bars.png").read_bytes())
    recolored = then[..., ::-1]
    moved = np.roll(then, 6, axis=1)
    for other in (recolored, moved):
        assert np.sqrt(np.mean((other - then) ** 2)) > TOLERANCE
