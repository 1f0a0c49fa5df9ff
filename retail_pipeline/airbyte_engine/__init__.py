"""The embedded Airbyte: a folder of connection files, run for real against PostgreSQL.

`files` reads the folder, `api` answers the calls that dagster-airbyte makes, `engine` starts syncs,
`connector` runs Airbyte's own source code in a process, `destination` lands the records, `jobs`
keeps the books. No retail word belongs here: everything comes from files, values and a database.
Consumers import from the modules; this file stays empty so that the source process starts fast.
"""
