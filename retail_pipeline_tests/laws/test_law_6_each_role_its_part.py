"""Four roles and a stranger try what is not their part, each from a login with that role alone.

`pytest -v` prints the table: `test_each_role_its_part[who-what]`.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from retail_pipeline.postgres import Database, Role
from retail_pipeline.postgres.logins import login_name
from retail_pipeline.postgres.open import dagster_database_url
from retail_pipeline.settings import Settings
from retail_pipeline_tests.conftest import fresh_database, login_of

REFUSED = psycopg.errors.InsufficientPrivilege

L, T, S, R = Role.LOADER, Role.TRANSFORMER, Role.SCIENTIST, Role.READER
STRANGER = "stranger"
"""Somebody with a login and no role."""

EVERYBODY = [*Role, STRANGER]
PERSONAL = "select email from transactional.users"
FUNCTION = "create function {}.mine() returns int language sql as 'select 1'"
# A grant of what one may not grant is only a warning.
GRANT = (
    "do $$ begin grant select on {0} to public; if not has_table_privilege('public', '{0}', "
    "'select') then raise insufficient_privilege using message = 'not allowed'; end if; end $$"
)
SCHEMAS = {"transactional": {L}, "staging": {T}, "intermediate": {T}, "warehouse": {T}, "clv": {S}}
TRIES: dict[str, tuple[str, set[Role]]] = {
    "read personal data": (PERSONAL, {L, T}),
    "read contacts": ("select email from staging.stg_retail__user_contacts", {T}),
    "read rejected records": ("select record from quality.rejected_records", {L}),
    "read staging": ("select * from staging.any_view", {T}),
    "read a mart": ("select * from warehouse.mart", {T, S, R}),
    "read predictions": ("select * from clv.predictions", {S, R}),
    "read lost lines": ("select * from clv.rejected_lines", {S, R}),
    "read a later table": ("select * from clv.later", {S, R}),
    "read the state": ("select * from quality.source_state", {L, T, S}),
    "write landing": ("delete from transactional.transactions", {L}),
    "write a mart": ("insert into warehouse.mart values ('K1')", {T}),
    "write predictions": ("delete from clv.predictions", {S}),
    "write the state": ("update quality.source_state set as_of = '2000-01-01'", set()),
    "write the scripts' digests": ("delete from quality.migrations", set()),
    "empty the connector's states": ("truncate quality.sync_states", set()),
    "suppress a customer": ("insert into quality.suppressed_customers values ('a', 'b')", set()),
    "take a customer back": ("delete from quality.suppressed_customers", set()),
    **{
        f"create a function in {name}": (FUNCTION.format(name), may)
        for name, may in {**SCHEMAS, "quality": set(), "public": set(), "pg_catalog": set()}.items()
    },
    **{
        f"create a table in {name}": (f"create table {name}.mine (n int)", may)
        for name, may in {**SCHEMAS, "quality": set(), "public": set()}.items()
    },
    "create a temporary table": ("create temporary table mine (n int)", {L, T, S}),
    "create a schema": ("create schema mine", set()),
    "create a database": ("create database mine", set()),
    "create a role": ("create role mine", set()),
    "create an event trigger": (
        "create event trigger mine on ddl_command_end execute function clv.customers()",
        set(),
    ),
    "create a C function": ("create function clv.c() returns int language c as 'x', 'y'", set()),
    "create a foreign data wrapper": ("create foreign data wrapper mine", set()),
    "put a trigger on landing": (
        "create trigger mine after insert on transactional.users for each row "
        "execute function suppress_redundant_updates_trigger()",
        {L},
    ),
    "put a trigger on a mart": (
        "create trigger mine after insert on warehouse.mart for each row "
        "execute function suppress_redundant_updates_trigger()",
        {T},
    ),
    "put a trigger on predictions": (
        "create trigger mine after insert on clv.predictions for each row "
        "execute function suppress_redundant_updates_trigger()",
        set(),
    ),
    "put a rule on the state": (
        "create rule mine as on update to quality.source_state do instead nothing",
        set(),
    ),
    "put a policy on predictions": ("create policy mine on clv.predictions", set()),
    "drop a schema": ("drop schema clv cascade", set()),
    "drop landing": ("drop table transactional.users cascade", {L}),
    "drop a mart": ("drop table warehouse.mart", {T}),
    "drop predictions": ("drop table clv.predictions", set()),
    "drop rejected records": ("drop table quality.rejected_records", set()),
    "alter landing": ("alter table transactional.users add column fax varchar", {L}),
    "alter the training set": ("alter table clv.training_set add column recency int", {S}),
    "alter the state": ("alter table quality.source_state add column n int", set()),
    "alter the database": ("alter database {database} set role = 'none'", set()),
    "alter the server": ("alter system set fsync = off", set()),
    "grant personal data": (GRANT.format("transactional.users"), {L}),
    "grant predictions": (GRANT.format("clv.predictions"), set()),
    "grant a role": ("grant retail_loader to retail_reader", set()),
    "own a table of others": ("alter table clv.predictions owner to current_user", set()),
    "reset the role": (f"reset role; {PERSONAL}", {L, T}),
    "set no role": ("set role none; drop table clv.predictions", set()),
    "become the owner": ("set role {owner}", set()),
    "become the superuser": ("set role postgres", set()),
    "become the owner's session": ("set session authorization {owner}", set()),
    **{f"become {role.value}": (f"set role {role.value}", {role}) for role in Role},
    "set the owner's password": ("alter role {owner} password 'mine'", set()),
    "set the password of a role's login": ("alter role {other} password 'mine'", set()),
    "read passwords": ("select rolpassword from pg_authid", set()),
    "run a program": ("copy (select 1) to program 'true'", set()),
    "write a file": ("copy (select 1) to '/tmp/mine'", set()),
    "read a file": ("select pg_read_file('/etc/passwd')", set()),
    "list a folder": ("select pg_ls_dir('/')", set()),
    "import a file": ("select lo_import('/etc/passwd')", set()),
    "load a library": ("load '/tmp/mine'", set()),
    "switch triggers off": ("set session_replication_role = replica", set()),
    "end the owner's session": ("select pg_terminate_backend({pid})", set()),
    "cancel the owner's query": ("select pg_cancel_backend({pid})", set()),
    "write a checkpoint": ("checkpoint", set()),
    "read the server's folder": ("show data_directory", set()),
}
"""What somebody may try: the statement, and the roles whose part it is."""


@dataclass(frozen=True)
class Built:
    """A database as after a run, the owner's session in it, and two logins for each role."""

    database: Database
    logins: Mapping[str, Sequence[str]]
    words: Mapping[str, object]


@pytest.fixture(scope="module")
def built(server_url: str, migrated_template: str) -> Iterator[Built]:
    """A database with a mart and views of dbt's role, a table of the scientist, and the logins.

    The rights on the database itself, which a copied database lacks, are granted again.
    """
    with fresh_database(server_url, migrated_template) as database, login_of(database) as people:
        database.migrate(repair=True)
        transformer = database.as_role(T)
        transformer.execute("create table warehouse.mart (customer_id text)")
        transformer.execute("create view staging.any_view as select 1 as n")
        transformer.execute(
            "create view staging.stg_retail__user_contacts as select email from transactional.users"
        )
        database.as_role(S).execute("create table clv.later (n int)")
        logins = {role: (people[role], database.as_role(role).url) for role in Role}
        stranger = f"login_{secrets.token_hex(4)}"
        owner = make_conninfo(database.url)
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(f"create role {stranger} login password 'secret'")
            words = {
                "database": database.name,
                "owner": connection.info.user,
                "pid": connection.info.backend_pid,
            }
            address = make_conninfo(owner, user=stranger, password="secret")
            yield Built(database, {**logins, STRANGER: (address,)}, words)
            connection.execute(f"drop role {stranger}")


@pytest.mark.parametrize("what", TRIES)
@pytest.mark.parametrize("who", EVERYBODY)
def test_each_role_its_part(who: str, what: str, built: Built) -> None:
    statement, may = TRIES[what]
    for address in built.logins[who]:
        other = login_name(str(built.words["owner"]), R if who is L else L)
        text = statement.format(**built.words, other=other)
        if who in may:
            with psycopg.connect(address) as connection:
                connection.execute(text)
                connection.rollback()
        else:
            with pytest.raises((REFUSED, psycopg.OperationalError), match=_DENIED):
                _try(address, text)
                pytest.fail(f"{who} was allowed: {text}")


def _try(address: str, statement: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement)


_DENIED = "permission denied|must be|Only roles with|not allowed"


def test_a_role_holds_through_rollback_and_reset(built: Built) -> None:
    reader = built.database.as_role(Role.READER)
    with reader.connect() as connection:
        for statement in (PERSONAL, f"reset role; {PERSONAL}"):
            with pytest.raises(REFUSED):
                connection.execute(statement)
            connection.rollback()
    with pytest.raises(Exception, match="permission denied"):
        reader.query(PERSONAL)  # ADBC
    settings = "current_setting('timezone') || current_setting('lock_timeout')"
    assert reader.query(f"select {settings} as s")["s"].tolist() == ["UTC30s"]


def test_no_login_below_the_owner_gets_into_dagsters_database(built: Built) -> None:
    """Dagster's storage is closed to the roles, because the owner's processes load its content."""
    url = dagster_database_url(Settings(database_url=built.database.url))
    for who, logins in built.logins.items():
        for address in logins:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(make_conninfo(address, dbname=Database(url).name))
                pytest.fail(f"{who} was let in")
