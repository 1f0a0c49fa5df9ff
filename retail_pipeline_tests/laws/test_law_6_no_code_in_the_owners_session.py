"""Code that a role's login leaves in the database never runs in a session of the owner.

The code counts each of its calls in a sequence, which a rollback does not undo. Before that it
tries to become the session's login.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

import psycopg
import pytest
from adbc_driver_manager import Error as DriverError

from retail_pipeline.cli.status import _found
from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import begin, landed_state
from retail_pipeline.ingestion.landing import count_landed, layout_differences
from retail_pipeline.ingestion.specs import load_folder
from retail_pipeline.postgres import Database, Role
from retail_pipeline.postgres.foreign_code import foreign_code
from retail_pipeline.privacy.forgetting import forget
from retail_pipeline.report.summary import read_row_counts, read_summary
from retail_pipeline.settings import Settings
from retail_pipeline.shared_queries import currency, excluded_lines
from retail_pipeline_tests.conftest import login_of
from retail_pipeline_tests.end_to_end.conftest import Run

STREAMS = ["products", "transactions", "users"]

PAYLOAD = """
create function {schema}.payload() returns boolean language plpgsql as $$
begin
    begin
        perform set_config('role', 'none', false);
    exception when others then null;
    end;
    perform nextval(case when session_user = '{owner}' or current_user = '{owner}'
        or (select bool_or(rolsuper) from pg_catalog.pg_roles
            where rolname in (session_user, current_user))
        then 'spy.as_owner' else 'spy.as_another' end::regclass);
    return true;
end $$;
create function {schema}.fire() returns trigger language plpgsql as $$
begin
    perform {schema}.payload();
    return coalesce(new, old);
end $$;
grant execute on function {schema}.payload, {schema}.fire to public;
"""
TRIGGER = (
    "create trigger t{n} before insert or update or delete on {table} for each row "
    "execute function {schema}.fire(); "
    "create trigger s{n} before truncate on {table} for each statement "
    "execute function {schema}.fire()"
)
POLICY = (
    "alter table {table} enable row level security, force row level security; "
    "create policy p on {table} using ({schema}.payload())"
)
CHECK = "alter table {table} add column odd{n} boolean, add check ({schema}.payload()) not valid"
RULE = "create rule r as on update to {table} do also select {schema}.payload()"
INDEX = (
    "create function {schema}.same(text) returns text immutable language plpgsql as "
    "$$ begin perform {schema}.payload(); return $1; end $$; "
    "grant execute on function {schema}.same to public; "
    "create index on {table} ({schema}.same({column}))"
)
VIEW = (
    "alter table {table} rename to hidden; "
    "create view {table} as select * from {schema}.hidden where {schema}.payload()"
)
CAST = (
    "create type {schema}.odd as (v text); "
    "create function {schema}.as_text({schema}.odd) returns text language plpgsql as "
    "$$ begin perform {schema}.payload(); return ($1).v; end $$; "
    "grant execute on function {schema}.as_text to public; "
    "create cast ({schema}.odd as text) with function {schema}.as_text as implicit; "
    "alter table {table} alter {column} type {schema}.odd using row({column})::{schema}.odd"
)
DOMAIN = (
    "create domain {schema}.checked as text check ({schema}.payload() or value is null); "
    "alter table {table} alter {column} type {schema}.checked"
)


@dataclass(frozen=True)
class Spy:
    """The number of calls of the attackers' code, by the session that ran it."""

    database: Database

    def calls(self, who: str) -> int:
        with psycopg.connect(self.database.url) as connection:
            row = connection.execute(
                f"select case when is_called then last_value else 0 end from spy.{who}"
            ).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def spy(database: Database) -> Spy:
    database.migrate(repair=True)
    database.execute(
        "create schema spy; create sequence spy.as_owner; create sequence spy.as_another; "
        "grant usage on schema spy to public; grant usage on all sequences in schema spy to public"
    )
    return Spy(database)


@pytest.fixture
def attack(database: Database, spy: Spy) -> Iterator[Callable[..., None]]:
    """Return a function that executes SQL as a login of a role, after creating the payload."""
    with login_of(database) as logins:

        def execute(role: Role, schema: str, *statements: str) -> None:
            with psycopg.connect(logins[role]) as connection:
                connection.execute(f"set role {role.value}")
                owner = psycopg.conninfo.conninfo_to_dict(database.url)["user"]
                payload = PAYLOAD.format(schema=schema, owner=owner)
                for statement in (payload, *statements):
                    connection.execute(statement.encode())

        yield execute


@pytest.fixture
def filled(database: Database, spy: Spy) -> Database:
    """A database with a few rows in each layer, made by the roles."""
    begin(database, source_id="a", as_of=date(2024, 1, 2), run_id="r", streams=STREAMS)
    database.execute(
        "update quality.landed_streams set as_of = '2024-01-02', generation = 1, run_id = 'r'"
    )
    database.as_role(Role.LOADER).execute(
        "insert into quality.rejected_records (stream, record_hash, record, reason) "
        "values ('users', '', '{\"user_id\": \"K2\"}', '')"
    )
    database.as_role(Role.LOADER).execute(
        "insert into transactional.users (_airbyte_raw_id, _airbyte_extracted_at, _airbyte_meta, "
        "_airbyte_generation_id, user_id) values ('1', now(), '{}', 0, 'K1')"
    )
    transformer = database.as_role(Role.TRANSFORMER)
    for table in ("fct_transactions", "fct_transaction_items", "revenue_daily"):
        transformer.execute(
            f"create table warehouse.{table} as select 'K1'::text as customer_id, "
            "'EUR'::text as currency, 1::numeric as net_amount, null::text as exclusion_reason, "
            "1 as line_count, 0::numeric as excluded_net_amount, false as is_excluded"
        )
    database.as_role(Role.SCIENTIST).execute(
        "insert into clv.training_set values ('K1', '2023-01-01', 90, 1, 1)"
    )
    return database


AGAIN = {"as_of": date(2024, 1, 2), "streams": STREAMS}
SOLD = "insert into warehouse.revenue_daily (customer_id, currency) values ('K2', 'EUR')"
LANDED = "insert into transactional.users select * from transactional.users"
MOVED = "update {} set {} = 'K3'"
ACTS: dict[str, Callable[[Database], object]] = {
    "state": landed_state,
    "summary": read_summary,
    "row counts": read_row_counts,
    "status": lambda database: _found(Settings(), database.url),
    "db check": Database.differences,
    "layouts": lambda database: layout_differences(database, load_folder()),
    "landed": lambda database: count_landed(database.as_role(Role.LOADER), "users", ["user_id"]),
    "checks": lambda database: excluded_lines(database.as_role(Role.SCIENTIST)),
    "figures": lambda database: currency(database.as_role(Role.READER)),
    "training": lambda database: database.as_role(Role.SCIENTIST).read("clv.training_set"),
    "dbt": lambda database: database.as_role(Role.TRANSFORMER).execute(SOLD),
    "dbt's casts": lambda database: database.as_role(Role.TRANSFORMER).execute(
        "select currency::text from warehouse.revenue_daily"
    ),
    "sync": lambda database: database.as_role(Role.LOADER).execute(LANDED),
    "dbt again": lambda database: database.as_role(Role.TRANSFORMER).execute(
        MOVED.format("warehouse.revenue_daily", "currency")
    ),
    "sync again": lambda database: database.as_role(Role.LOADER).execute(
        MOVED.format("transactional.users", "user_id")
    ),
    "training again": lambda database: database.as_role(Role.SCIENTIST).execute(
        MOVED.format("clv.training_set", "customer_id")
    ),
    "migration": lambda database: database.migrate(repair=True),
    "full refresh": lambda database: begin(
        database, source_id="a", run_id="s", full_refresh=True, **AGAIN
    ),
    "another source": lambda database: begin(database, source_id="b", run_id="t", **AGAIN),
}
"""What the pipeline does with the owner's database, or with one of its roles."""


MART, LANDING, SAMPLE = "warehouse.revenue_daily", "transactional.users", "clv.training_set"
OWN = {
    Role.TRANSFORMER: (MART, "currency"),
    Role.LOADER: (LANDING, "user_id"),
    Role.SCIENTIST: (SAMPLE, "customer_id"),
}
KINDS = {
    "trigger": TRIGGER,
    "policy": POLICY,
    "check": CHECK,
    "rule": RULE,
    "index": INDEX,
    "view": VIEW,
    "cast": CAST,
    "domain": DOMAIN,
}


@pytest.mark.parametrize("role", OWN, ids=lambda role: role.value)
@pytest.mark.parametrize("kind", KINDS)
def test_code_of_a_role_never_runs_as_the_owner(
    kind: str, role: Role, filled: Database, spy: Spy, attack: Callable[..., None]
) -> None:
    table, column = OWN[role]
    if role is Role.SCIENTIST and kind in ("view", "cast", "domain"):
        pytest.skip("the primary key and the rights of the training set stay with the table")
    words = {"schema": table.split(".")[0], "table": table, "column": column, "n": 1}
    attack(role, words["schema"], KINDS[kind].format(**words))
    ran = []
    for name, act in ACTS.items():
        before = spy.calls("as_owner")
        with suppress(PipelineError, psycopg.Error, DriverError):  # of the role's own tables
            act(filled)
        if spy.calls("as_owner") > before:
            ran.append(name)
    assert ran == [], f"{kind} of {role.value} ran as the owner"
    assert spy.calls("as_another") > 0, "the attack is idle"


@pytest.mark.parametrize("role", OWN, ids=lambda role: role.value)
@pytest.mark.parametrize("kind", KINDS)
def test_db_check_lists_it(
    kind: str, role: Role, filled: Database, attack: Callable[..., None]
) -> None:
    assert filled.foreign_code() == []
    table, column = OWN[role]
    if role is Role.SCIENTIST and kind in ("view", "cast", "domain"):
        pytest.skip("the primary key and the rights of the training set stay with the table")
    words = {"schema": table.split(".")[0], "table": table, "column": column, "n": 1}
    attack(role, words["schema"], KINDS[kind].format(**words))
    found = filled.foreign_code()
    assert f"not of the scripts: function {words['schema']}.payload() (of {role.value})" in found
    if kind in ("trigger", "rule", "policy"):
        assert any(f"{kind} " in line and table in line for line in found)
    if kind in ("cast", "domain"):
        assert any(f": {kind} " in line for line in found)


def test_db_check_lists_logins_with_more_rights_than_their_role(database: Database) -> None:
    name = f"login_{secrets.token_hex(4)}"
    with psycopg.connect(database.url) as connection:
        connection.execute(f"create role {name} login in role retail_reader")
        assert not [line for line in foreign_code(connection) if name in line]
        connection.execute(f"alter role {name} createdb")
        connection.execute(f"grant retail_loader to {name}")
        connection.execute("create view clv.odd as select set_config('role', 'none', false)")
        (login,) = [line for line in foreign_code(connection) if name in line]
        assert login.endswith(
            "also may create databases, is a member of retail_loader, retail_reader"
        )
        assert "not of the scripts: view clv.odd, which calls set_config" in "\n".join(
            foreign_code(connection)
        )
        connection.rollback()


def test_code_on_every_table_of_a_run_never_runs_as_the_owner(
    run: Run, settings: Settings, spy: Spy, attack: Callable[..., None]
) -> None:
    """A run, another one at an earlier date, which empties all layers, and a forgotten customer."""
    run(as_of=date(2023, 9, 1))
    tables = spy.database.query(
        "select tableowner::text as role, schemaname || '.' || tablename as name from pg_tables "
        "where tableowner = any(%s)",
        [list(OWN)],
    )
    for role, names in tables.groupby("role")["name"]:
        schema = OWN[Role(role)][0].split(".")[0]
        attack(
            Role(role),
            schema,
            *(
                kind.format(schema=schema, table=table, n=number)
                for number, table in enumerate(names)
                for kind in (TRIGGER, POLICY)
            ),
        )
    assert len(tables) > 20
    users = spy.database.as_role(Role.LOADER).query("select user_id from transactional.users")
    assert forget(settings, str(users["user_id"].iloc[0]))
    assert read_summary(spy.database)["rows"]["warehouse"]
    run(as_of=date(2023, 8, 1))
    assert read_summary(spy.database)["champion"] is not None
    assert spy.calls("as_owner") == 0
    assert spy.calls("as_another") > 0
