"""The dashboards' own login of the database: a member of the reader role, and nothing else."""

import json
import secrets
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from retail_pipeline.errors import PipelineError
from retail_pipeline.files import replaced_whole
from retail_pipeline.postgres import Database, Role, address
from retail_pipeline.postgres.logins import verifier

_LONGEST_NAME: Final = 63
_SETTINGS: Final = {
    "default_transaction_read_only": "on",
    "statement_timeout": "120s",
    "idle_in_transaction_session_timeout": "120s",
    "search_path": "warehouse, clv",
    "TimeZone": "UTC",
}
_CONNECTIONS: Final = 30


def reader_login(database: Database, file: Path) -> str:
    """Return the address of the login, which is created, or set right, in the database.

    Args:
        database: The database, as its owner.
        file: The file that keeps name and password (mode 0600); a lost one gives a new password.

    Raises:
        PipelineError: The owner may not create logins; the message has the SQL for an
            administrator.
    """
    name = f"retail_bi_{database.name}"[:_LONGEST_NAME]
    kept = json.loads(file.read_text()) if file.exists() else {}
    password = kept.get("password") or secrets.token_urlsafe(24)
    if kept.get("name") != name:
        with replaced_whole(file, mode=0o600) as draft:
            draft.write_text(json.dumps({"name": name, "password": password}))
    url = address.written({**address.read(database.url), "user": name, "password": password})
    if not _is_right(url):
        _create(database, name, password, file)
        if not _is_right(url):
            raise PipelineError(
                f"the login {name} has more rights than a reader: have an administrator of the "
                f'server drop it with `drop role "{name}"`, and repeat'
            )
    return url


def _is_right(url: str) -> bool:
    """Return whether the login works, and is a member of the reader role alone."""
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            found = connection.execute(_FACTS, [Role.READER.value]).fetchone()
    except psycopg.OperationalError:
        return False
    wanted = {f"{name}={value}" for name, value in _SETTINGS.items()}
    return found is not None and found[0] and set(found[1]) == wanted


_FACTS = """
select
    not (r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls)
        and array(
            select g.rolname::text from pg_auth_members as m join pg_roles as g on g.oid = m.roleid
            where m.member = r.oid
        ) = array[%s],
    coalesce(r.rolconfig, '{}')
from pg_roles as r where r.rolname = current_user
"""


def _create(database: Database, name: str, password: str, file: Path) -> None:
    login, reader = sql.Identifier(name), sql.Identifier(Role.READER.value)
    try:
        with database.connect() as connection:
            found = connection.execute("select 1 from pg_roles where rolname = %s", [name])
            if found.fetchone() is None:
                connection.execute(sql.SQL("create role {}").format(login))
            connection.execute(
                sql.SQL("alter role {} login connection limit {} password {}").format(
                    login, _CONNECTIONS, verifier(connection, name, password)
                )
            )
            for (other,) in connection.execute(_OTHER_ROLES, [name, Role.READER.value]).fetchall():
                connection.execute(
                    sql.SQL("revoke {} from {}").format(sql.Identifier(other), login)
                )
            connection.execute(sql.SQL("grant {} to {}").format(reader, login))
            connection.execute(sql.SQL("alter role {} reset all").format(login))
            for setting, value in _SETTINGS.items():
                parts = sql.SQL(", ").join(map(sql.Literal, value.split(", ")))
                connection.execute(
                    sql.SQL("alter role {} set {} = {}").format(
                        login, sql.Identifier(setting), parts
                    )
                )
    except psycopg.errors.InsufficientPrivilege as error:
        raise PipelineError(
            f"the owner of {database.location} may not create the login of the dashboards "
            f"({error.diag.message_primary}): have an administrator of the server create it with "
            f"`create role \"{name}\" login password '…' in role {Role.READER.value}`, and write "
            f"the password into {file}"
        ) from None


_OTHER_ROLES = """
select g.rolname from pg_auth_members as m
join pg_roles as g on g.oid = m.roleid join pg_roles as r on r.oid = m.member
where r.rolname = %s and g.rolname <> %s
"""
