"""The database login of the dashboards: what it must not do, and that it is set right again."""

import re

import psycopg
import pytest

from retail_pipeline.bi.reader_login import reader_login
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, address
from retail_pipeline.postgres.logins import derived_password
from retail_pipeline_tests.bi.small_bundle import make_table

REFUSED = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.ActiveSqlTransaction,
)
TRIES = [
    "select * from transactional.users",
    "select * from quality.rejected_records",
    "select * from quality.suppressed_customers",
    "reset role; select * from transactional.users",
    "set role none; select * from transactional.users",
    "select set_config('role', 'none', false); select * from transactional.users",
    "set role retail_loader",
    "set role retail_transformer",
    "set role retail",
    "set session authorization retail",
    "reset session authorization; select * from transactional.users",
    "delete from warehouse.days",
    "set transaction_read_only = off; delete from warehouse.days",
    "set transaction_read_only = off; insert into clv.predictions default values",
    "set transaction_read_only = off; create temporary table mine (n int)",
    "set transaction_read_only = off; create schema mine",
    "set transaction_read_only = off; create table clv.mine (n int)",
    "set transaction_read_only = off; create function warehouse.f() returns int return 1",
    "set transaction_read_only = off; create role mine",
    "set transaction_read_only = off; create database mine",
    "set transaction_read_only = off; grant retail_loader to current_user",
    "set transaction_read_only = off; alter role current_user createrole",
    "set transaction_read_only = off; alter role current_user superuser",
    "set transaction_read_only = off; select lo_import('/etc/passwd')",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('.')",
    "copy (select 1) to '/tmp/x'",
    "copy warehouse.days to program 'id'",
    "select * from pg_authid",
    "select * from pg_shadow",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'retail'",
    "select pg_reload_conf()",
]


@pytest.mark.parametrize("statement", TRIES)
def test_the_login_may_not(database: Database, statement: str) -> None:
    make_table(database)
    owner = database.connect(autocommit=True)  # a session of the owner, to be ended if one could
    url = reader_login(database)
    with owner, psycopg.connect(url) as connection, pytest.raises(REFUSED):
        connection.execute("select * from warehouse.days")
        connection.rollback()
        connection.execute(statement)


def test_a_changed_login_is_set_right(database: Database) -> None:
    make_table(database)
    url = reader_login(database)
    name = address.read(url)["user"]
    for change in (
        f"grant retail_loader to {name}",
        f"alter role {name} reset default_transaction_read_only",
        f"alter role {name} password 'another'",
        f"revoke retail_reader from {name}",
        f"drop role {name}",
    ):
        database.execute(change)
        assert reader_login(database) == url
        with psycopg.connect(url) as connection, pytest.raises(REFUSED):
            connection.execute("select * from warehouse.days")
            connection.rollback()
            connection.execute("set role retail_loader")


def test_a_login_with_powers_is_refused(database: Database) -> None:
    make_table(database)
    name = address.read(reader_login(database))["user"]
    database.execute(f"alter role {name} createrole")
    with pytest.raises(PipelineError, match=f'drop role "{name}"'):
        reader_login(database)
    database.execute(f"alter role {name} nocreaterole")


def test_two_homes_of_one_database_agree_and_neither_is_the_owner(database: Database) -> None:
    make_table(database)
    first, second = reader_login(database), reader_login(Database(database.url))
    assert first == second
    owner, login = address.read(database.url), address.read(first)
    assert login["password"] not in (owner["password"], owner["user"], login["user"])
    for url in (first, second):
        with psycopg.connect(url) as connection:
            connection.execute("select * from warehouse.days")
    assert derived_password("another", login["user"]) != login["password"]
    without = {key: value for key, value in owner.items() if key != "password"}
    with pytest.raises(PipelineError, match="give one in RETAIL_DATABASE_URL"):
        reader_login(Database(address.written(without)))


def test_an_owner_that_may_create_no_login_gets_the_sql(
    database: Database, superuser_url: str
) -> None:
    make_table(database)
    database.execute("drop role if exists retail_bi_test")
    database.execute("create role small_owner login password 'x' in role retail_reader")
    parts = {**address.read(database.url), "user": "small_owner", "password": "x"}
    with pytest.raises(PipelineError, match=r"administrator of the server run `create role") as no:
        reader_login(Database(address.written(parts)))
    [statements] = re.findall("`(.*)`", str(no.value))
    with psycopg.connect(superuser_url) as administrator:
        administrator.execute(statements)
    with psycopg.connect(reader_login(Database(address.written(parts)))) as connection:
        assert connection.execute("select country from warehouse.days").fetchall() == [("DE",)]
    with psycopg.connect(superuser_url) as administrator:
        administrator.execute("drop role retail_bi_test; drop role small_owner")
