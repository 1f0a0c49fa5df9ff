"""The owner of the embedded server's database: created without a superuser's rights.

In a server of an earlier version, the owner is the superuser that the server was made with, which
PostgreSQL cannot demote. It is renamed, and another login gets its name and all that it owns.
"""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from retail_pipeline.postgres.session import Role

_HELPER: Final = "retail_helper"
"""A login of `demote_owner`, which a killed call leaves behind."""

_SEES_SETTINGS: Final = "grant pg_read_all_settings to {}"
"""The server's folder, by which it is recognized, is a setting."""
_HELP: Final[tuple[LiteralString, ...]] = (
    # `drop database … with (force)` ends an autovacuum of the database.
    "grant pg_signal_backend to {}",
    # `forget` empties the write-ahead log in the database `postgres`.
    "grant pg_checkpoint to {}",
    "grant execute on function pg_switch_wal() to {}",
    f"drop role if exists {_HELPER}",
)


def create_owner(superuser_url: str, name: str, password: str, database: str) -> None:
    """Create the owner and its database, or what a killed call has left out.

    Args:
        superuser_url: The superuser's address.
        name: The name of the owner.
        password: The owner's password.
        database: The name of the database.
    """
    owner = sql.Identifier(name)
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        with connection.transaction():
            if not _exists(connection, "pg_roles where rolname", name):
                create = sql.SQL("create role {} login createdb createrole password {}")
                connection.execute(create.format(owner, sql.Literal(password)))
            for statement in (_SEES_SETTINGS, *_HELP):
                connection.execute(sql.SQL(statement).format(owner))
        if not _exists(connection, "pg_database where datname", database):
            create = sql.SQL("create database {} owner {}")
            connection.execute(create.format(sql.Identifier(database), owner))


def demote_owner(url: str, superuser: str, superuser_password: str) -> None:
    """Rename the owner, a superuser, and give its name, password and objects to another login.

    A killed call can be repeated: the last transaction changes the names.

    Args:
        url: The owner's address.
        superuser: The new name of the superuser.
        superuser_password: Its new password.
    """
    parts = psycopg.conninfo.conninfo_to_dict(url)
    owner = str(parts["user"])
    logins = {"owner": owner, "heir": f"{owner}_new", "helper": _HELPER}
    passwords = {
        "password": str(parts["password"]),
        "superuser_password": superuser_password,
        "helper_password": secrets.token_urlsafe(24),
    }
    terms: dict[str, sql.Composable] = {
        **{key: sql.Identifier(name) for key, name in logins.items()},
        **{key: sql.Literal(value) for key, value in passwords.items()},
        "superuser": sql.Identifier(superuser),
        # A killed call leaves no login that works.
        "soon": sql.Literal(str(datetime.now(UTC) + timedelta(minutes=5))),
    }

    def run(connection: psycopg.Connection, *statements: LiteralString) -> None:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(**terms))

    with psycopg.connect(url, autocommit=True) as connection:
        run(connection, "drop role if exists {helper}")
        if not _exists(connection, "pg_roles where rolname", logins["heir"]):
            run(connection, "create role {heir} login createdb createrole password {password}")
        for (database,) in connection.execute(_DATABASES).fetchall():
            with psycopg.connect(url, dbname=database) as inside:
                for (statement,) in inside.execute(_OWNED, [logins["heir"]]).fetchall():
                    inside.execute(statement)
        run(
            connection,
            "create role {helper} superuser login password {helper_password} valid until {soon}",
        )
    # The renamed login may not be that of the session.
    helper = psycopg.connect(url, user=logins["helper"], password=passwords["helper_password"])
    with helper as connection:
        run(
            connection,
            "alter role {owner} rename to {superuser}",
            "alter role {superuser} password {superuser_password}",
            "alter role {heir} rename to {owner}",
        )
        connection.execute(sql.SQL(_SEES_SETTINGS).format(terms["owner"]))
        for (statement,) in connection.execute(_GRANTS, [owner, list(Role)]).fetchall():
            connection.execute(statement)


def _exists(connection: psycopg.Connection, where: str, name: str) -> bool:
    found = connection.execute(f"select from {where} = %s".encode(), [name])
    return found.fetchone() is not None


_DATABASES: Final = """
select datname from pg_database
where datdba = 10 and datallowconn and datname <> all('{postgres,template0,template1}')
"""

_GRANTS: Final = """
select format(
    'grant %%1$I to %%2$I with admin true, inherit %%3$s, set %%3$s', rolname, %s::text,
    (rolname = any(%s))::text
)
from pg_roles where oid >= 16384 and not rolsuper and not rolcreaterole
"""

_OWNED: Final = """
with mine(statement, name) as (
    select 'schema', format('%%I', nspname) from pg_namespace
    where nspowner = 10 and oid >= 16384
    union all
    select 'table', oid::regclass::text from pg_class as c
    where relowner = 10 and oid >= 16384 and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        and relnamespace::regnamespace::text !~ '^pg_toast'
        and not exists (
            select from pg_depend as d
            where d.objid = c.oid and c.relkind = 'S' and d.deptype in ('a', 'i')
        )
    union all
    select 'routine', oid::regprocedure::text from pg_proc where proowner = 10 and oid >= 16384
    union all
    select 'database', format('%%I', current_database())
)
select format('alter %%s %%s owner to %%I', statement, name, %s::text) from mine
"""
