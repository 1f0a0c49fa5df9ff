"""The report of a run and the model card: what the tables and figures say, as pages for people.

Pure functions of frames, images and verdicts make the pages; only `assets` knows Dagster. Nothing
is computed here that a table could hold, but the uncertainty of the metrics shown.
"""
