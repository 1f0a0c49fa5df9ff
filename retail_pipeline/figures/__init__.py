"""Figures: pure plotting functions in one style, and the Dagster assets that run them.

`registry` lists the figures and `queries` reads their data. One module per section draws them:
`revenue`, `customers`, `segments`, `totals`, `accuracy`, `calibration`, `purchases`, `models`,
`explanation` and `monitoring`. All of them use the page layout of `style`, and `colors`, `marks`
and `writing` (numbers and names as text). `drawing` runs them on all cores; `images` encodes the
files.
"""
