"""The sources of the bundled API: the simulator and transactions files, opened as datasets.

A file passes through these modules in order: `file_table` (its known columns, for CSV with
`csv_rows`), `values` (text to times, numbers and flags), `lines` (valid and rejected lines),
`orders` (sales and returns) and `dataset`.
"""
