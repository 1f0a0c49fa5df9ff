"""The landing tables of `database/` equal those that the loader creates."""

import dataclasses

from retail_pipeline.airbyte_engine.destination import Loader
from retail_pipeline.airbyte_engine.layout import Landing
from retail_pipeline.ingestion.landing import layout_differences
from retail_pipeline.ingestion.specs import load_folder
from retail_pipeline.postgres import Database

_LAYOUT = """
select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
from pg_attribute a join pg_class c on c.oid = a.attrelid
where c.relnamespace = %(schema)s::regnamespace and c.relkind = 'r' and a.attnum > 0
order by c.relname, a.attnum
"""
_INDEXES = """
select tablename, regexp_replace(indexdef, '^.* USING', '') from pg_indexes
where schemaname = %(schema)s order by 1, 2
"""


def test_the_scripts_equal_the_tables_of_the_loader(database: Database) -> None:
    folder = load_folder()
    landings = {
        stream.name: dataclasses.replace(
            Landing.of(connection.namespace, stream, folder.schema(connection, stream.name)),
            schema="made",
        )
        for connection in folder.connections.values()
        for stream in connection.streams
    }
    with database.connect(autocommit=True) as session:
        Loader(session, landings, job_id=1, generation=1).merge("c", {})
        for query in (_LAYOUT, _INDEXES):
            made, applied = (
                session.execute(query, {"schema": schema}).fetchall()
                for schema in ("made", "transactional")
            )
            assert applied == made
            assert {row[0] for row in made} == {"products", "users", "transactions"}


def test_a_landing_table_that_is_laid_out_otherwise_is_named(database: Database) -> None:
    assert layout_differences(database, load_folder()) == []
    database.execute("alter table transactional.products drop column price, add price text")
    assert layout_differences(database, load_folder()) == [
        "layout of transactional.products: the loader makes price numeric, not price text"
    ]
