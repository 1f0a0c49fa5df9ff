"""The migrated database of the settings, on the given server or on the embedded one."""

from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import address
from retail_pipeline.postgres.database import Database
from retail_pipeline.postgres.server import EmbeddedServer
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from psycopg import Connection


def embedded_server(settings: Settings) -> EmbeddedServer:
    """Return the embedded server under the settings' home, without starting it."""
    return EmbeddedServer(settings.home / "postgres")


def open_database(settings: Settings) -> Database:
    """Return the warehouse; its first use starts the server if needed and applies migrations."""

    def ready_url() -> str:
        url = settings.database_url or embedded_server(settings).start()
        Database(url).migrate()
        return url

    return Database(ready_url)


def expected_url(settings: Settings) -> str:
    """Return the address of the warehouse, without contacting or starting a server.

    For the embedded server it has no password, because the password may not exist yet.
    """
    return settings.database_url or embedded_server(settings).expected_url()


def dagster_database_url(settings: Settings) -> str:
    """Return the address of Dagster's own database beside the warehouse, created if absent."""
    warehouse = open_database(settings)
    name = f"{warehouse.name}_dagster"
    with warehouse.connect(autocommit=True) as connection:
        found = connection.execute("select 1 from pg_database where datname = %s", [name])
        if found.fetchone() is None:
            with suppress(psycopg.errors.DuplicateDatabase):  # another service was faster
                create_database(connection, name, remedy="create database {database} owner {user}")
            connection.execute(
                sql.SQL("revoke all on database {} from public").format(sql.Identifier(name))
            )
    return sibling_url(warehouse.url, name)


def create_database(connection: "Connection", name: str, *, remedy: str) -> None:
    """Create an empty database on a connection's server.

    Args:
        connection: A connection in autocommit.
        name: The name of the database.
        remedy: The SQL for an administrator if the login may not create databases; `{user}` stands
            for the quoted login, `{database}` for the quoted name.

    Raises:
        PipelineError: The login may not create databases.
    """
    try:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege:
        user = connection.info.user
        quoted = {"user": sql.Identifier(user), "database": sql.Identifier(name)}
        command = sql.SQL(remedy).format(**quoted).as_string(connection)
        raise PipelineError(
            f"{user} may not create the database {name}: have an administrator of the server run "
            f"`{command}`"
        ) from None


def sibling_url(url: str, database: str) -> str:
    """Return the address of another database on the same server, with the same credentials."""
    return address.written({**address.read(url), "dbname": database})
