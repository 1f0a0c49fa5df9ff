"""Each role tries forbidden statements, from a login that has that role alone."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from retail_pipeline.postgres import Database, Role
from retail_pipeline.postgres.open import dagster_database_url
from retail_pipeline.settings import Settings

REFUSED = psycopg.errors.InsufficientPrivilege

PERSONAL = "select email from transactional.users"
CONTACTS = "select email from staging.stg_retail__user_contacts"
KEPT_ASIDE = "select record from quality.rejected_records"
WRITE_MART = "insert into warehouse.mart values ('K1')"
WRITE_CLV = "delete from clv.predictions"
WRITE_LANDING = "delete from transactional.transactions"
EVERYWHERE = [
    "create table public.mine (n int)",
    "create schema mine",
    "drop schema clv cascade",
    "drop table clv.predictions",
    "drop table quality.rejected_records",
    "alter table quality.source_state add column n int",
    "update quality.source_state set as_of = '2000-01-01'",
    "truncate quality.sync_states",
    "create role mine",
    "create database mine",
    "set role none; set session authorization retail",
    "select pg_read_file('/etc/passwd')",
]
REFUSALS = {
    Role.LOADER: [
        WRITE_MART,
        WRITE_CLV,
        CONTACTS,
        "select * from warehouse.mart",
        "drop table warehouse.mart",
        "select * from clv.predictions",
    ],
    Role.TRANSFORMER: [
        WRITE_LANDING,
        WRITE_CLV,
        KEPT_ASIDE,
        "drop table transactional.users",
        "select * from clv.predictions",
        "create table transactional.mine (n int)",
    ],
    Role.SCIENTIST: [
        PERSONAL,
        CONTACTS,
        KEPT_ASIDE,
        WRITE_MART,
        WRITE_LANDING,
        "drop table warehouse.mart",
        "create table warehouse.mine (n int)",
        "select * from staging.any_view",
    ],
    Role.READER: [
        PERSONAL,
        CONTACTS,
        KEPT_ASIDE,
        WRITE_MART,
        WRITE_CLV,
        WRITE_LANDING,
        "create table clv.mine (n int)",
        "create temporary table mine (n int)",
        "select * from staging.any_view",
        "select * from quality.source_state",
    ],
}
ALLOWED = {
    Role.LOADER: [
        PERSONAL,
        KEPT_ASIDE,
        WRITE_LANDING,
        "alter table transactional.users add column fax varchar",
        "select * from quality.source_state for share",
    ],
    Role.TRANSFORMER: [
        PERSONAL,
        WRITE_MART,
        CONTACTS,
        "create table intermediate.mine (n int)",
        "drop table warehouse.mart",
        "create temporary table mine (n int)",
    ],
    Role.SCIENTIST: [
        WRITE_CLV,
        "select * from warehouse.mart",
        "alter table clv.training_set add column recency int",
    ],
    Role.READER: [
        "select * from warehouse.mart",
        "select * from clv.predictions",
        "select * from clv.later",
    ],
}


@pytest.fixture
def built(database: Database) -> Database:
    """A database as after a run, with a mart and views of dbt's role and a table of the scientist.

    The rights on the database itself, which a copied database lacks, are granted again.
    """
    database.migrate(repair=True)
    transformer = database.as_role(Role.TRANSFORMER)
    transformer.execute("create table warehouse.mart (customer_id text)")
    transformer.execute("create view staging.any_view as select 1 as n")
    transformer.execute(
        "create view staging.stg_retail__user_contacts as select email from transactional.users"
    )
    database.as_role(Role.SCIENTIST).execute("create table clv.later (n int)")
    return database


@pytest.fixture
def login(built: Database) -> Iterator[dict[Role, str]]:
    """The address of a login per role, as in production."""
    names = {role: f"login_{secrets.token_hex(4)}" for role in Role}
    with built.connect() as connection:
        for role, name in names.items():
            connection.execute(
                sql.SQL("create role {} login password 'secret' in role {}").format(
                    sql.Identifier(name), sql.Identifier(role.value)
                )
            )
    yield {
        role: make_conninfo(built.url, user=name, password="secret") for role, name in names.items()
    }
    with built.connect() as connection:
        for name in names.values():
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_every_role_is_refused_forbidden_statements(login: dict[Role, str]) -> None:
    for role, address in login.items():
        others = [f"set role {other.value}" for other in Role if other is not role]
        for statement in [*EVERYWHERE, *REFUSALS[role], *others, "set role retail"]:
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute(f"set role {role.value}")
                with pytest.raises(REFUSED):
                    connection.execute(statement)
                    pytest.fail(f"{role.value} was allowed: {statement}")


def test_every_role_may_do_its_work(login: dict[Role, str]) -> None:
    for role, address in login.items():
        for statement in ALLOWED[role]:
            with psycopg.connect(address) as connection:
                connection.execute(statement)
                connection.rollback()


def test_a_role_of_the_owners_session_holds_through_rollback_and_reset(built: Database) -> None:
    reader = built.as_role(Role.READER)
    with reader.connect() as connection:
        for statement in (PERSONAL, f"reset role; {PERSONAL}"):
            with pytest.raises(REFUSED):
                connection.execute(statement)
            connection.rollback()
    with pytest.raises(Exception, match="permission denied"):
        reader.query(PERSONAL)  # ADBC
    settings = "current_setting('timezone') || current_setting('lock_timeout')"
    assert reader.query(f"select {settings} as s")["s"].tolist() == ["UTC30s"]


def test_somebody_without_a_role_may_not_even_connect(built: Database) -> None:
    name = f"login_{secrets.token_hex(4)}"
    built.execute(f"create role {name} login password 'secret'")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(make_conninfo(built.url, user=name, password="secret"))
    built.execute(f"drop role {name}")


def test_no_login_below_the_owner_gets_into_dagsters_database(
    built: Database, login: dict[Role, str]
) -> None:
    """Dagster's storage is closed to the roles, because the owner's processes load its content."""
    url = dagster_database_url(Settings(database_url=built.url))
    name = Database(url).name
    try:
        for role, address in login.items():
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(make_conninfo(address, dbname=name))
                pytest.fail(f"{role.value} was let in")
    finally:
        with built.connect(autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")
