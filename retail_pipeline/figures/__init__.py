"""Figures: pure plots in one house style (data in, a figure out) and their Dagster assets.

`registry` lists them and `queries` reads their data. `style` is the page, `colors`, `marks` and
`writing` are what is on it; the sections `revenue`, `customers`, `segments`, `accuracy`,
`calibration`, `models`, `explanation` and `monitoring` draw. `images` and `drawing` make files of
them on all cores.
"""
