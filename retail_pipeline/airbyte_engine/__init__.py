"""The embedded Airbyte engine: it syncs the connections of a folder of files into PostgreSQL.

`files` reads the folder; `api` answers the calls that dagster-airbyte makes during a sync;
`engine` runs syncs and `jobs` records them. `source` runs Airbyte's own source code through
`fast_reader`, in a separate process. `values`, `columns` and `rendering` convert records to rows,
`layout` creates the landing tables and `destination` fills them. Nothing in this package is
specific to retail data: the files, the reference values and the database define each sync. This
file imports nothing, so that the reader starts fast.
"""
