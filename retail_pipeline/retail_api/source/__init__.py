"""The sources of the bundled API: the simulator and transactions files, opened as datasets.

A file goes through `file_table` (with `csv_rows`: its known columns, as it holds them), `values`
(texts as times, numbers and flags), `lines` (a frame of the good ones, and the rejected ones) and
`orders` (sales and returns) to `dataset`.
"""
