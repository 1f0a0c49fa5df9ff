"""Figures: pure plots in one house style (data in, a figure out) and their Dagster assets.

`registry` lists them, `queries` reads their data, `style` is how they look; the sections `revenue`,
`customers`, `segments`, `accuracy`, `calibration`, `models`, `explanation` and `monitoring` draw
them. `images` and `drawing` make files of them on all cores.
"""
