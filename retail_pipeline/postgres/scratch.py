"""A database for the length of a block, for evaluations and benchmarks."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg

from retail_pipeline.postgres.database import Database
from retail_pipeline.postgres.open import create_database, open_database, sibling_url
from retail_pipeline.settings import Settings

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
    """Yield an empty, migrated database on the pipeline's server; it is dropped afterwards.

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
