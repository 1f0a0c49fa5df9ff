"""The database login of the dashboards: what it must not do, and that it is set right again."""

import json
from pathlib import Path

import psycopg
import pytest

from retail_pipeline.bi.reader_login import reader_login
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, address
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
def test_the_login_may_not(database: Database, tmp_path: Path, statement: str) -> None:
    make_table(database)
    owner = database.connect(autocommit=True)  # a session of the owner, to be ended if one could
    url = reader_login(database, tmp_path / "login.json")
    with owner, psycopg.connect(url) as connection, pytest.raises(REFUSED):
        connection.execute("select * from warehouse.days")
        connection.rollback()
        connection.execute(statement)


def test_a_changed_login_is_set_right(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    make_table(database)
    url = reader_login(database, file)
    name = json.loads(file.read_text())["name"]
    assert file.stat().st_mode & 0o777 == 0o600
    for change in (
        f"grant retail_loader to {name}",
        f"alter role {name} reset default_transaction_read_only",
        f"alter role {name} password 'another'",
        f"revoke retail_reader from {name}",
        f"drop role {name}",
    ):
        database.execute(change)
        assert reader_login(database, file) == url
        with psycopg.connect(url) as connection, pytest.raises(REFUSED):
            connection.execute("select * from warehouse.days")
            connection.rollback()
            connection.execute("set role retail_loader")
    file.unlink()
    assert reader_login(database, file) != url


def test_a_login_with_powers_is_refused(database: Database, tmp_path: Path) -> None:
    make_table(database)
    reader_login(database, tmp_path / "login.json")
    name = json.loads((tmp_path / "login.json").read_text())["name"]
    database.execute(f"alter role {name} createrole")
    with pytest.raises(PipelineError, match=f'drop role "{name}"'):
        reader_login(database, tmp_path / "login.json")
    database.execute(f"alter role {name} nocreaterole")


def test_an_owner_that_may_create_no_login_gets_the_sql(database: Database, tmp_path: Path) -> None:
    make_table(database)
    database.execute(
        "create role owner_without_createrole login password 'x' in role retail_reader"
    )
    parts = {**address.read(database.url), "user": "owner_without_createrole", "password": "x"}
    with pytest.raises(PipelineError, match='create role "retail_bi_test" login password'):
        reader_login(Database(address.written(parts)), tmp_path / "login.json")
