"""Migrations: the servers that they accept, and the differences that they repair."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, Role, migrate
from retail_pipeline.postgres.migrate import refuse_old_server
from retail_pipeline.postgres.open import dagster_database_url, sibling_url
from retail_pipeline.postgres.scratch import scratch_database
from retail_pipeline.settings import Settings
from retail_pipeline_tests.conftest import login_of


@pytest.mark.parametrize(("version", "name"), [(130023, "13.23"), (90624, "9.6.24")])
def test_a_server_that_is_too_old_is_named_with_what_is_needed(version: int, name: str) -> None:
    with pytest.raises(PipelineError, match=f"PostgreSQL {name}, .* needs 14 or later"):
        refuse_old_server(version)


@pytest.mark.parametrize("version", [140000, 180006])
def test_a_later_server_is_not_refused(version: int) -> None:
    refuse_old_server(version)


def test_nothing_is_applied_to_a_server_that_is_too_old(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("drop schema quality cascade")
    monkeypatch.setattr(psycopg.ConnectionInfo, "server_version", 130023)
    with pytest.raises(PipelineError, match="needs 14 or later"):
        database.migrate()
    found = database.query("select to_regnamespace('quality') is null as is_absent")
    assert found["is_absent"].tolist() == [True]


def test_tables_from_before_the_roles_change_hands(database: Database) -> None:
    database.execute("create table warehouse.old (n int)")
    database.execute("create view staging.old_view as select * from warehouse.old")
    database.execute("alter table transactional.users owner to current_user")
    assert any("warehouse.old is owned by" in line for line in database.differences().missing)
    database.migrate(repair=True)
    database.as_role(Role.TRANSFORMER).execute("drop table warehouse.old cascade")
    assert database.differences().lines() == []


def test_the_schema_of_earlier_versions_goes_and_another_ones_of_its_name_stays(
    database: Database,
) -> None:
    def is_there() -> bool:
        found = database.query("select to_regnamespace('increments') is not null as found")
        return bool(found["found"].iloc[0])

    database.execute("create schema increments")
    database.migrate(repair=True)
    assert is_there()
    database.execute("insert into quality.migrations values ('007_increments.sql', '', now())")
    database.migrate(repair=True)
    assert not is_there()
    assert database.differences().lines() == []


def test_differences_are_named_and_repaired(database: Database) -> None:
    database.migrate(repair=True)
    assert database.differences().lines() == []
    database.execute("revoke select on transactional.products from retail_transformer")
    database.execute("grant select on transactional.users to retail_reader")
    database.execute("grant create on schema public to public")
    database.execute("drop index transactional.users_user_id")
    database.execute("update quality.migrations set digest = '' where name = '002_landing.sql'")
    found = database.differences()
    assert list(found.scripts) == ["002_landing.sql"]
    assert list(found.missing) == [
        "index transactional.users_user_id",
        "transactional.products: retail_transformer may select",
    ]
    assert list(found.unwanted) == [
        "schema public: everyone may create",
        "transactional.users: retail_reader may select",
    ]
    assert database.differences() == found  # the check changed nothing
    assert database.migrate(repair=True) == ["002_landing.sql"]
    assert database.differences().lines() == []


def test_databases_of_one_server_may_migrate_at_once(server_url: str) -> None:
    names = [f"at_once_{secrets.token_hex(4)}" for _ in range(4)]
    with psycopg.connect(server_url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"create database {name}")
        # No database uses the roles yet, as on a new server.
        databases = [Database(sibling_url(server_url, name)) for name in names]
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(Database.migrate, databases))
        assert [each.differences().lines() for each in databases] == [[]] * 4
        for name in names:
            connection.execute(f"drop database {name} with (force)")


def test_an_owner_without_createrole_gets_the_command_for_an_administrator(
    superuser_url: str, migrated_template: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"managed_{secrets.token_hex(4)}"
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(f"create role {name} login password 'secret'")
        connection.execute(f"create database {name} owner {name}")
        url = sibling_url(superuser_url, name)
        managed = Database(url.replace(url.split("//")[1].split("@")[0], f"{name}:secret"))
        # The roles exist, but the owner is not a member of them.
        with pytest.raises(PipelineError, match=r"administrator .*database/000_roles\.sql"):
            managed.migrate()
        roles = (migrate.SCRIPTS / migrate.ROLES).read_bytes()
        Database(url).execute(roles.decode())
        assert managed.migrate()
        assert managed.differences().lines() == []
        managed.as_role(Role.TRANSFORMER).execute("create table warehouse.mart (n int)")
        managed.execute("truncate warehouse.mart")
        # The roles use the owner's login until an administrator lets it create logins.
        who = "select session_user || ' as ' || current_user as who"
        assert set(managed.as_role(Role.READER).query(who)["who"]) == {f"{name} as retail_reader"}
        (line,) = managed.weaknesses()
        assert f"use the login of the owner {name}" in line
        assert line in caplog.text
        connection.execute(line.split("`")[1])
        managed.migrate(repair=True)
        login = f"retail_reader_{name}"
        assert set(managed.as_role(Role.READER).query(who)["who"]) == {f"{login} as retail_reader"}
        assert managed.weaknesses() == []
        # A login that somebody has changed or dropped is set again when it is refused.
        connection.execute(f"alter role {login} password 'other'")
        assert set(managed.as_role(Role.READER).query(who)["who"]) == {f"{login} as retail_reader"}
        connection.execute(f"drop role {login}")
        with managed.as_role(Role.READER).connect() as reader:
            assert reader.info.user == login
        connection.execute(f"alter role {name} nocreaterole")
        connection.execute(f"alter role {login} password 'other'")
        with pytest.raises(PipelineError, match=f"{login} refuses its password, .* `alter role"):
            managed.as_role(Role.READER).connect()
        settings = Settings(database_url=managed.url)
        with pytest.raises(PipelineError, match=f"{name} may not .* `create database") as error:
            dagster_database_url(settings)
        connection.execute(str(error.value).split("`")[1])
        assert dagster_database_url(settings)
        with pytest.raises(PipelineError, match="`alter role") as error, scratch_database(settings):
            pass
        connection.execute(str(error.value).split("`")[1])
        with scratch_database(settings) as scratch:
            assert scratch.query("select 1 as one")["one"].tolist() == [1]
        connection.execute(f"drop database {name}_dagster with (force)")
        connection.execute(f"drop database {name} with (force)")
        connection.execute(f"drop role {', '.join(f'{role.value}_{name}' for role in Role)}")
        connection.execute(f"drop role {name}")


def test_a_table_of_somebody_else_stops_no_migration_and_is_listed(database: Database) -> None:
    with login_of(database) as logins:
        with psycopg.connect(logins[Role.TRANSFORMER]) as connection:
            connection.execute("create table warehouse.mine (n int)")
            connection.execute("create function warehouse.mine() returns int return 1")
            owner = connection.info.user
        assert database.migrate(repair=True) == []
        assert database.foreign_code() == [
            f"not of the scripts: function warehouse.mine() (of {owner})",
            f"not of the scripts: table warehouse.mine (of {owner})",
        ]
        with psycopg.connect(logins[Role.TRANSFORMER]) as connection:
            connection.execute("drop table warehouse.mine; drop function warehouse.mine")
