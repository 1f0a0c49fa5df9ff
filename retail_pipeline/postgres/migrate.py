"""Migrations: applying the numbered SQL scripts of `database/`, and listing what they would change.

The scripts are idempotent. They are applied in one transaction, by one process at a time.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres.logins import create_logins
from retail_pipeline.settings import PROJECT_ROOT

SCRIPTS = PROJECT_ROOT / "database"
ROLES = "000_roles.sql"
LAST = ("890_views.sql", "900_grants.sql")
"""Scripts that are applied again after any other one, for the tables that it may have created."""
OLDEST_POSTGRES: Final = 14
"""The oldest major release that the scripts and the dbt models support."""
_LOCK = 7_203_417


@dataclass(frozen=True)
class Differences:
    """The differences between a database and the result of all scripts.

    Attributes:
        scripts: The names of scripts that were not applied, or were changed since.
        missing: Facts (tables, columns, roles, owners, rights) that the scripts would add.
        unwanted: Facts that the scripts would remove.
    """

    scripts: Sequence[str]
    missing: Sequence[str]
    unwanted: Sequence[str]

    def lines(self) -> list[str]:
        """Return one line per difference."""
        return [
            *(f"script not applied as it is now: {name}" for name in self.scripts),
            *(f"missing: {fact}" for fact in self.missing),
            *(f"unwanted: {fact}" for fact in self.unwanted),
        ]


def migrate(connection: psycopg.Connection, *, repair: bool = False) -> list[str]:
    """Apply the new or changed scripts in the caller's transaction; return their names.

    If any script is applied, views and grants are applied again. Missing logins are created.

    Args:
        connection: An open connection of the database's owner, not in autocommit.
        repair: Whether to apply all scripts; the result still names only new or changed ones.

    Raises:
        PipelineError: The server is too old, or the owner may not create the roles or act as them.
    """
    refuse_old_server(connection.info.server_version)
    connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
    connection.execute("create schema if not exists quality")
    connection.execute(
        "create table if not exists quality.migrations "
        "(name text primary key, digest text not null, applied_at timestamptz not null)"
    )
    due = _due(connection)
    for script in _scripts():
        if repair or script.name in due or (due and script.name in LAST):
            _apply(connection, script)
    create_logins(connection, renew=repair)
    return due


def differences(connection: psycopg.Connection) -> Differences:
    """Return the changes that all scripts would make, by applying them and rolling back.

    It takes the same locks as a migration, for the same time.

    Args:
        connection: An open connection of the database's owner, not in autocommit.

    Raises:
        PipelineError: The owner may not create roles that are missing.
    """
    before = _facts(connection)
    try:
        due = migrate(connection, repair=True)
        after = _facts(connection)
    finally:
        connection.rollback()
    return Differences(due, sorted(after - before), sorted(before - after))


def refuse_old_server(version: int) -> None:
    """Raise if a server is too old; libpq writes version 14.5 as 140005, and 9.6.24 as 90624.

    Raises:
        PipelineError: The pipeline needs a later version.
    """
    major, minor = divmod(version, 10_000)
    if major < OLDEST_POSTGRES:
        found = f"{major}.{minor}" if major >= 10 else f"{major}.{minor // 100}.{minor % 100}"
        raise PipelineError(
            f"the server is PostgreSQL {found}, and the pipeline needs {OLDEST_POSTGRES} or later: "
            "upgrade it, or set RETAIL_DATABASE_URL to a later one "
            "(without the setting, the embedded server is used)"
        )


def _scripts() -> list[Path]:
    return sorted(SCRIPTS.glob("[0-9]*.sql"))


def _due(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute("select name, digest from quality.migrations").fetchall()
    done: dict[str, str] = dict(rows)
    return [script.name for script in _scripts() if done.get(script.name) != _digest(script)]


def _apply(connection: psycopg.Connection, script: Path) -> None:
    try:
        connection.execute(script.read_bytes())
    except psycopg.errors.InsufficientPrivilege as error:
        user, name = connection.info.user, connection.info.dbname
        raise PipelineError(
            f"{user} may not apply {script.name} in the database {name} "
            f"({error.diag.message_primary}): have an administrator of the server run "
            f"`psql -d {name} -f database/{ROLES}`, which creates the roles and grants them to the "
            "database's owner; RETAIL_DATABASE_URL must be the owner's"
        ) from None
    connection.execute(
        "insert into quality.migrations values (%s, %s, now()) "
        "on conflict (name) do update set digest = excluded.digest, applied_at = now()",
        [script.name, _digest(script)],
    )


def _digest(script: Path) -> str:
    return hashlib.sha256(script.read_bytes()).hexdigest()


def _facts(connection: psycopg.Connection) -> set[str]:
    return {fact for (fact,) in connection.execute(_FACTS).fetchall()}


# One sentence per fact. An owner's rights on its own objects are left out.
_FACTS = """
with
layers as (
    select oid, nspname from pg_namespace
    where nspname !~ '^pg_' and nspname <> 'information_schema'
),
relations as (
    select c.oid, format('%I.%I', l.nspname, c.relname) as name, c.relowner, c.relkind, c.relacl
    from pg_class as c join layers as l on l.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'i')
),
acls as (
    select 'database' as what, datdba as owner,
        coalesce(datacl, acldefault('d', datdba)) as acl
    from pg_database where datname = current_database()
    union all
    select 'schema ' || n.nspname, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
    from pg_namespace as n join layers using (oid)
    union all
    select name, relowner, coalesce(relacl, acldefault('r', relowner))
    from relations where relkind <> 'i'
    union all
    select format('%s, column %I', r.name, a.attname), r.relowner, a.attacl
    from pg_attribute as a join relations as r on r.oid = a.attrelid where a.attacl is not null
    union all
    select
        format(
            'objects created by %s%s (%s)', pg_get_userbyid(d.defaclrole),
            coalesce(' in ' || n.nspname, ''), d.defaclobjtype
        ),
        d.defaclrole, d.defaclacl
    from pg_default_acl as d left join pg_namespace as n on n.oid = d.defaclnamespace
)
select 'role ' || rolname || case when rolcanlogin then ', may log in' else '' end
    || case when rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls
        then ', with powers over the server' else '' end
from pg_roles where rolname ~ '^retail_(loader|transformer|scientist|reader)$'
union all
select format('role %s, %s acts as it', rolname, current_user)
from pg_roles where rolname ~ '^retail_(loader|transformer|scientist|reader)$'
    and pg_has_role(current_user, oid, 'usage')
union all
select 'schema ' || nspname from layers
union all
select format(
    '%s %s', case when relkind = 'i' then 'index' when relkind in ('v', 'm') then 'view'
        else 'table' end, name
) from relations
union all
select format('%s is owned by %s', name, pg_get_userbyid(relowner))
from relations where relkind <> 'i'
union all
select format('column %s.%I %s', r.name, a.attname, format_type(a.atttypid, a.atttypmod))
from pg_attribute as a join relations as r on r.oid = a.attrelid
where a.attnum > 0 and not a.attisdropped and r.relkind <> 'i'
union all
select format(
    '%s: %s may %s', acls.what,
    case right_.grantee when 0 then 'everyone' else pg_get_userbyid(right_.grantee) end,
    lower(right_.privilege_type)
)
from acls cross join lateral aclexplode(acls.acl) as right_
where right_.grantee <> acls.owner
"""
