"""The report of a run and the model card: tables and figures as pages for people.

Pure functions of frames, images and check results make the pages; only `assets` knows Dagster.
Nothing is computed here that a table could hold, but the uncertainty of the metrics shown.
"""
