"""The dashboards' own login of the database: a member of the reader role, and nothing else."""

from typing import Final

import psycopg
from psycopg import sql

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, Role, address
from retail_pipeline.postgres.logins import derived_password, verifier

_LONGEST_NAME: Final = 63
_SETTINGS: Final = {
    "default_transaction_read_only": "on",
    "statement_timeout": "120s",
    "idle_in_transaction_session_timeout": "120s",
    "search_path": "warehouse, clv",
    "TimeZone": "UTC",
}
_CONNECTIONS: Final = 30


def reader_login(database: Database) -> str:
    """Return the address of the login, which is created, or set right, in the database.

    Its password follows from the owner's, as those of the roles' logins do: nothing is stored, and
    all homes of one database agree.

    Args:
        database: The database, as its owner.

    Raises:
        PipelineError: The owner has no password, or may not create logins; the message has the
            remedy.
    """
    name = f"retail_bi_{database.name}"[:_LONGEST_NAME]
    parts = address.read(database.url)
    if "password" not in parts:
        raise PipelineError(
            f"the login of the dashboards has a password that follows from the owner's, and "
            f"{parts.get('user', 'the owner')} has none: give one in RETAIL_DATABASE_URL"
        )
    password = derived_password(parts["password"], name)
    url = address.written({**parts, "user": name, "password": password})
    if not _is_right(url):
        _create(database, name, password)
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


def _create(database: Database, name: str, password: str) -> None:
    with database.connect() as connection:
        statements = _statements(connection, name, password)
        try:
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            sql_text = "; ".join(each.as_string(connection) for each in statements)
            raise PipelineError(
                f"the owner of {database.location} may not create the login of the dashboards "
                f"({error.diag.message_primary}): have an administrator of the server run "
                f"`{sql_text}`"
            ) from None


def _statements(connection: psycopg.Connection, name: str, password: str) -> list[sql.Composed]:
    """Return the SQL that makes the login, or makes an existing one what it should be."""
    login, reader = sql.Identifier(name), sql.Identifier(Role.READER.value)
    found = connection.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone()
    others = connection.execute(_OTHER_ROLES, [name, Role.READER.value]).fetchall()
    return [
        *([] if found else [sql.SQL("create role {}").format(login)]),
        sql.SQL("alter role {} login connection limit {} password {}").format(
            login, _CONNECTIONS, verifier(connection, name, password)
        ),
        *(sql.SQL("revoke {} from {}").format(sql.Identifier(each), login) for (each,) in others),
        sql.SQL("grant {} to {}").format(reader, login),
        sql.SQL("alter role {} reset all").format(login),
        *(
            sql.SQL("alter role {} set {} = {}").format(
                login,
                sql.Identifier(setting),
                sql.SQL(", ").join(map(sql.Literal, value.split(", "))),
            )
            for setting, value in _SETTINGS.items()
        ),
    ]


_OTHER_ROLES = """
select g.rolname from pg_auth_members as m
join pg_roles as g on g.oid = m.roleid join pg_roles as r on r.oid = m.member
where r.rolname = %s and g.rolname <> %s
"""
