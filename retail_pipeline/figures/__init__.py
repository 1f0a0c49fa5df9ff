"""Figures: pure plots in one house style (frames in, a figure out) and their Dagster assets.

`style` holds how figures look, `images` how they become files, `revenue`, `customers` and `models`
what they show. Dagster is imported in `assets` alone; matplotlib never at import of `assets`.
"""
