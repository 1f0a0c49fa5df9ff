"""A database for the length of a block, and a source's records in its landing tables.

For evaluations and benchmarks, which need the tables without API, Airbyte and Dagster.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from retail_pipeline.postgres import Database, Role, open_database
from retail_pipeline.postgres.open import create_database, sibling_url
from retail_pipeline.retail_api.pages import Cursor, StreamPages
from retail_pipeline.retail_api.records import RetailRecords
from retail_pipeline.settings import Settings

_PAGE = 5_000


@contextmanager
def scratch_database(settings: Settings) -> Iterator[Database]:
    """Make an empty, migrated database on the pipeline's server; it is dropped afterwards.

    Raises:
        PipelineError: The login may not create databases.
    """
    owner = open_database(settings)
    name = f"scratch_{secrets.token_hex(6)}"
    with owner.connect(autocommit=True) as connection:
        create_database(connection, name, remedy='alter role "{user}" createdb')
    try:
        scratch = Database(sibling_url(owner.url, name))
        scratch.migrate()
        yield scratch
    finally:
        with owner.connect(autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")


def land_records(database: Database, records: RetailRecords) -> None:
    """Add records to the landing tables, from the JSON that the API would serve."""
    streams = {
        "products": StreamPages(records.products, "product_id"),
        "users": StreamPages(records.users, "user_id"),
        "transactions": StreamPages(records.transactions, "transaction_id", records.items),
    }
    with database.as_role(Role.LOADER).connect() as connection:
        for stream, pages in streams.items():
            for page in _pages(pages):
                connection.execute(
                    f"insert into transactional.{stream} select record.* from "
                    f"jsonb_populate_recordset(jsonb_populate_record(null::transactional.{stream}, "
                    "jsonb_build_object('_airbyte_raw_id', '', '_airbyte_extracted_at', now(), "
                    "'_airbyte_meta', '{}'::jsonb, '_airbyte_generation_id', 0)), %s) as record",
                    [page],
                )
            connection.execute(f"analyze transactional.{stream}")


def _pages(pages: StreamPages) -> Iterator[str]:
    after: Cursor | None = None
    while True:
        page = orjson.loads(pages.page(since=None, until=None, after=after, limit=_PAGE))
        if page["data"]:
            yield orjson.dumps(page["data"]).decode()
        if page["next_cursor"] is None:
            return
        after = Cursor.decode(page["next_cursor"])
