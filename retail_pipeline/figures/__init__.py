"""Figures: pure plots in one house style (frames in, a figure out) and their Dagster assets.

`style` and `page` hold how figures look, `images` how they become files; `gallery` lists them,
`reading` holds what they read, and the other modules what they show. Dagster is imported in
`assets` alone; matplotlib never before something is drawn.
"""
