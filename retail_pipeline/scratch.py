"""A database for the length of a block, and a source's records in its landing tables.

For evaluations and benchmarks, which need the tables without API, Airbyte and Dagster.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import orjson
import psycopg

from retail_pipeline.postgres import (
    Database,
    Role,
    open_database,
)
from retail_pipeline.postgres.open import (
    create_database,
    sibling_url,
)
from retail_pipeline.retail_api.records import RetailRecords
from retail_pipeline.retail_api.server.pages import (
    Cursor,
    StreamPages,
)
from retail_pipeline.settings import Settings

_PAGE = 5_000
_LOCK = 7_203_418

# Locks of all databases are seen, and a process holds its own from before its database is there.
_ABANDONED = """
select d.datname
from pg_database as d
where d.datname ~ '^scratch_[0-9a-f]{12}$' and pg_has_role(d.datdba, 'usage')
    and not exists (
        select from pg_locks as l
        where l.locktype = 'advisory' and l.objsubid = 2 and l.classid::int8 = %s
            and l.objid::int8 = (hashtext(d.datname::text)::int8 & 4294967295)
    )
order by 1
"""


@contextmanager
def scratch_database(settings: Settings) -> Iterator[Database]:
    """Make an empty, migrated database on the pipeline's server; it is dropped afterwards.

    Those of processes that were killed before they could drop theirs are dropped first.

    Raises:
        PipelineError: The login may not create databases.
    """
    owner = open_database(settings)
    drop_abandoned(owner)
    name = f"scratch_{secrets.token_hex(6)}"
    with owner.connect(autocommit=True) as alive:
        alive.execute("set idle_session_timeout = 0")
        alive.execute("select pg_advisory_lock(%s, hashtext(%s))", [_LOCK, name])
        try:
            create_database(alive, name, remedy="alter role {user} createdb")
            scratch = Database(sibling_url(owner.url, name))
            scratch.migrate()
            yield scratch
        finally:
            # In a thread, which a second Ctrl-C does not interrupt.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(_drop, owner, name).result()


def drop_abandoned(owner: Database) -> list[str]:
    """Drop the scratch databases whose process is no more; return their names.

    One that a session is still connected to, as a build's that outlives its process, is left for
    the next time.

    Args:
        owner: A database on the same server.
    """
    dropped = []
    with owner.connect(autocommit=True) as connection:
        for (name,) in connection.execute(_ABANDONED, [_LOCK]).fetchall():
            with suppress(psycopg.errors.ObjectInUse, psycopg.errors.LockNotAvailable):
                connection.execute(f"drop database if exists {name}")
                dropped.append(name)
    return dropped


def _drop(owner: Database, name: str) -> None:
    with owner.connect(autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")


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
        text = pages.page(since=None, until=None, after=after, limit=_PAGE)
        page = orjson.loads(text)
        if page["data"]:
            data = _nulled(page["data"]) if rb"\u0000" in text else page["data"]
            yield orjson.dumps(data).decode()
        if page["next_cursor"] is None:
            return
        after = Cursor.decode(page["next_cursor"])


def _nulled(value: Any) -> Any:
    """Return records with null for each text that PostgreSQL cannot store, as a sync lands them."""
    if isinstance(value, dict):
        return {name: _nulled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_nulled(item) for item in value]
    return None if isinstance(value, str) and "\0" in value else value
