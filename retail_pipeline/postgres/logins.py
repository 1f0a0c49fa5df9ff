"""The pipeline's login for each role: `<role>_<owner>`, a member of the role without other rights.

Code that a role's login leaves in the database (a trigger, a view, a policy) runs with the rights
of the session that touches it. Therefore sessions of a role are not the owner's: they have a login
of their own, which cannot become the owner.

A login's password follows from the owner's, so nothing is stored, and all services with the same
RETAIL_DATABASE_URL agree. An owner without a password, or without the right to create logins,
keeps its own login with the role set, and a warning says so.
"""

import hashlib
import logging
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Final

import psycopg
from psycopg import sql

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import address
from retail_pipeline.postgres.session import Role, with_role

_LOG = logging.getLogger("retail_pipeline.postgres")
_LONGEST_NAME: Final = 63
_OWNERS_WITHOUT: Final[set[tuple[str, ...]]] = set()
"""Host, port and name of owners that may not create logins, as this process has found."""


def login_name(owner: str, role: Role) -> str:
    """Return the name of an owner's login for a role; a long name of an owner is shortened."""
    name = f"{role.value}_{owner}"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return f"{role.value}_{hashlib.sha256(owner.encode()).hexdigest()[:16]}"


def role_url(owner_url: str, role: Role) -> str:
    """Return the address of a role's sessions, with the role set.

    Args:
        owner_url: The owner's address.
        role: The role.
    """
    parts = address.read(owner_url)
    if "password" not in parts or _identity(parts) in _OWNERS_WITHOUT:
        return with_role(owner_url, role)
    login = login_name(parts["user"], role)
    password = derived_password(parts["password"], login)
    return with_role(address.written({**parts, "user": login, "password": password}), role)


def create_logins(connection: psycopg.Connection, *, renew: bool = False) -> None:
    """Create the missing logins of the connected owner, in its transaction.

    Args:
        connection: The owner's connection.
        renew: Whether to set the password and the settings of existing logins again.
    """
    owner = connection.info
    if not owner.password:
        _LOG.warning(_lack(connection))
        return
    names = {login_name(owner.user, role): role for role in Role}
    found = connection.execute(
        "select rolname from pg_catalog.pg_roles where rolname = any(%s)", [list(names)]
    )
    existing = {name for (name,) in found.fetchall()}
    try:
        for name, role in names.items():
            if renew or name not in existing:
                with connection.transaction():
                    _set(connection, role, exists=name in existing)
        _OWNERS_WITHOUT.discard(_identity(_parts(connection)))
    except psycopg.errors.InsufficientPrivilege:
        if not existing:
            _OWNERS_WITHOUT.add(_identity(_parts(connection)))
            _LOG.warning(_lack(connection))


def renew_login(connection: psycopg.Connection, role: Role) -> None:
    """Create a role's login, or set its password again after it was refused.

    Args:
        connection: The owner's connection.
        role: The role whose login was refused.

    Raises:
        PipelineError: The owner may not set the password of the login.
    """
    create_logins(connection)
    if _identity(_parts(connection)) in _OWNERS_WITHOUT:
        return
    try:
        with connection.transaction():
            _set(connection, role, exists=True)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject):
        name = login_name(connection.info.user, role)
        raise PipelineError(
            f"the login {name} refuses its password, and {connection.info.user} may not set it: "
            f"have an administrator of the server run `{remedy(connection)}`"
        ) from None


@cache
def derived_password(owner_password: str, login: str) -> str:
    """Return a login's password; from it, the owner's can only be guessed, at a price.

    Args:
        owner_password: The password of the database's owner.
        login: The name of the login.
    """
    key = hashlib.scrypt(owner_password.encode(), salt=login.encode(), n=2**14, r=8, p=1, dklen=32)
    return urlsafe_b64encode(key).decode().rstrip("=")


def verifier(connection: psycopg.Connection, login: str, password: str) -> sql.Literal:
    """Return the SCRAM verifier of a password, so that no log of the server holds the password."""
    digest = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    return sql.Literal(digest.decode())


def remedy(connection: psycopg.Connection) -> str:
    """Return the SQL by which an administrator lets the connected owner create the logins."""
    owner = sql.Identifier(connection.info.user)
    roles = sql.SQL(", ").join(sql.Identifier(role.value) for role in Role)
    return (
        sql.SQL("alter role {} createrole; grant {} to {} with admin option")
        .format(owner, roles, owner)
        .as_string(connection)
    )


def weaknesses(connection: psycopg.Connection) -> list[str]:
    """Return a line with its remedy for each reason why a role's login could act as the owner.

    Args:
        connection: The owner's connection.
    """
    user = connection.info.user
    rights = connection.execute(
        "select rolsuper, oid = 10, (select count(*) from pg_catalog.pg_roles as logins "
        "where logins.rolname = any(%s)) from pg_catalog.pg_roles where rolname = current_user",
        [[login_name(user, role) for role in Role]],
    ).fetchone()
    assert rights is not None
    is_super, is_first, logins = rights
    found = []
    if is_super:
        quoted = sql.Identifier(user).as_string(connection)
        cure = f"run `{remedy(connection)}; alter role {quoted} nosuperuser createdb`"
        if is_first:  # the superuser that the server was made with cannot be demoted
            cure = "give the database to another login (docs/operations.md, Roles of the database)"
        found.append(f"the owner {user} is a superuser, which it need not be: {cure}")
    if not connection.info.password or logins < len(Role):
        found.append(_lack(connection))
    return found


def _lack(connection: psycopg.Connection) -> str:
    """Return a line about an owner without logins for the roles, with the remedy."""
    sessions = f"sessions of the roles use the login of the owner {connection.info.user}, which"
    if not connection.info.password:
        return f"{sessions} has no password: with one in RETAIL_DATABASE_URL, each role has a login"
    return (
        f"{sessions} may not create logins for them: have an administrator of the server run "
        f"`{remedy(connection)}`"
    )


def _set(connection: psycopg.Connection, role: Role, *, exists: bool) -> None:
    """Create a login or restore its password, settings and memberships."""
    owner = connection.info.user
    login = login_name(owner, role)
    password = derived_password(connection.info.password, login)
    parts = {
        "login": sql.Identifier(login),
        "role": sql.Identifier(role.value),
        "owner": sql.Identifier(owner),
        "verifier": verifier(connection, login, password),
    }
    statements = (
        *(() if exists else ("create role {login}",)),
        "alter role {login} login password {verifier}",
        "alter role {login} reset all",
        "alter role {login} set role = {role}",
        "grant {role} to {login}",
        # The owner ends the sessions of its logins.
        "grant {login} to {owner}",
    )
    for statement in statements:
        connection.execute(sql.SQL(statement).format(**parts))


def _parts(connection: psycopg.Connection) -> dict[str, str]:
    info = connection.info
    return {"host": info.host, "port": str(info.port), "user": info.user}


def _identity(parts: Mapping[str, str]) -> tuple[str, ...]:
    return parts["host"], parts.get("port", "5432"), parts["user"]
