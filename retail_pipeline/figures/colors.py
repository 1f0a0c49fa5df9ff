"""The colors of the figures, and the text color that is legible on each."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

INK = "#1C2B3A"
QUIET_INK = "#5A6673"
RULE = "#D9DEE3"
MAIN = "#0B4F8A"
ACCENT = "#E08E00"
NEUTRAL = "#C9D1D9"
"""MAIN, ACCENT and NEUTRAL differ in lightness as well as in hue, so they stay distinct in
grayscale and for color-blind readers."""

ACCENT_INK = "#8A5600"
"""ACCENT for text: dark enough to be legible on white."""

SEQUENCE = LinearSegmentedColormap.from_list("retail", ["#F4F7FA", "#B3CEE5", "#5C93C1", MAIN])


def ink_on(color: tuple[float, ...]) -> str:
    """Return black or white, whichever has the higher contrast with a color: at least 4.5."""
    rgb = np.array(color[:3])
    linear = np.where(rgb <= 0.04045, 0, ((rgb + 0.055) / 1.055)) ** 2.4
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"
