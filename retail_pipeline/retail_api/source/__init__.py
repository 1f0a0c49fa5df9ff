"""The sources of the bundled API: the simulator and transactions files, opened as datasets.

A file goes through `csv_rows` and `columns` (how it holds them), `values` (texts as times, numbers
and flags), `lines` (good and rejected ones) and `orders` (sales and returns) to `dataset`.
"""
