"""Temporary databases for evaluations and benchmarks."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg

from retail_pipeline.postgres.database import Database
from retail_pipeline.postgres.open import create_database, open_database, sibling_url
from retail_pipeline.settings import Settings

_LOCK = 7_203_418

# pg_locks shows the locks of all databases. A process locks the name before it creates its
# database, so a scratch database without a lock is abandoned.
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
    """Yield an empty, migrated database on the pipeline's server, and drop it afterwards.

    Databases left behind by killed processes are dropped first.

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
            # In a thread, because a second Ctrl-C does not interrupt it.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(_drop, owner, name).result()


def drop_abandoned(owner: Database) -> list[str]:
    """Drop the scratch databases of processes that have ended; return their names.

    A database with a connected session, such as a dbt build that outlives its process, stays until
    the next call.

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
        try:  # An ordinary owner may end an autovacuum in this way only.
            connection.execute(f"drop database if exists {name}")
        except psycopg.errors.ObjectInUse:
            connection.execute(f"drop database if exists {name} with (force)")
