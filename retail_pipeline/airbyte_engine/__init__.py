"""The embedded Airbyte: a folder of connection files, run for real against PostgreSQL.

`files` reads the folder; `api` answers the calls that dagster-airbyte makes during a sync;
`engine` runs syncs and `jobs` records them. `source` runs Airbyte's own source code through
`fast_reader`, in a process of its own. `values`, `columns` and `rendering` write records as rows,
`layout` makes the landing tables and `destination` fills them. Nothing here knows the retail data:
everything comes from files, values and a database. This file imports nothing, so that the reader
starts fast.
"""
