"""A forgotten person is in no table, file or event of Dagster, even after the next sync."""

import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from dagster import AssetKey, AssetObservation, DagsterInstance, ExecuteInProcessResult
from psycopg import sql

from retail_pipeline.build import build_definitions
from retail_pipeline.cli.instance import (
    dagster_environment,
    open_instance,
)
from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
from retail_pipeline.postgres import (
    Database,
    Role,
)
from retail_pipeline.postgres.open import sibling_url
from retail_pipeline.postgres.session import SESSION
from retail_pipeline.privacy.forgetting import forget
from retail_pipeline.privacy.mentions import Person
from retail_pipeline.privacy.tables import Removed
from retail_pipeline.settings import (
    Settings,
    SimulatorSource,
)
from retail_pipeline_tests.warehouse.landing import land, line, transaction


@pytest.fixture
def settings(database: Database, home: Path) -> Settings:
    source = SimulatorSource(customers=150, seed=3)
    return Settings(home=home, database_url=database.url, source=source)


@pytest.fixture
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    for name, value in dagster_environment(settings).items():
        monkeypatch.setenv(name, value)
    with open_instance(settings) as instance:
        yield instance


def run(
    settings: Settings,
    instance: DagsterInstance,
    job: str,
    streams: list[str] | None = None,
    **window: object,
) -> ExecuteInProcessResult:
    return (
        build_definitions(settings)
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            asset_selection=streams and [AssetKey(["transactional", name]) for name in streams],
            run_config={
                "resources": {"run_window": {"config": {"horizon_days": 60, **window}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
    )


def mentions(database: Database, words: list[str]) -> list[str]:
    """Return the tables of a database that hold one of the words, statistics included."""
    with database.connect() as connection:
        tables = connection.execute(
            "select schemaname, tablename from pg_tables where schemaname <> all "
            "('{pg_catalog, information_schema}') union all select 'pg_catalog', 'pg_stats'"
        ).fetchall()
        return [
            ".".join(table)
            for table in tables
            if connection.execute(
                sql.SQL("select 1 from {} as t where t::text like any(%s) limit 1").format(
                    sql.Identifier(*table)
                ),
                [[f"%{word}%" for word in words]],
            ).fetchone()
        ]


def everywhere(settings: Settings, database: Database, words: list[str]) -> list[str]:
    dagster = Database(sibling_url(database.url, f"{database.name}_dagster"))
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    return [
        *mentions(database, words),
        *mentions(dagster, words),
        *(str(f) for f in files if any(word.encode() in f.read_bytes() for word in words)),
    ]


def test_a_forgotten_person_is_nowhere_and_stays_away(
    settings: Settings, database: Database, instance: DagsterInstance
) -> None:
    run(settings, instance, "refresh", as_of="2023-10-01")
    [(customer_id, name, email, net_amount)] = query(
        database,
        "select user_id, name, email, sum(f.net_amount - f.excluded_net_amount) "
        "from transactional.users u "
        "join warehouse.fct_transactions f on f.customer_id = u.user_id "
        "group by 1, 2, 3 having count(*) filter (where transaction_type = 'return') = 0 "
        "order by count(*) desc limit 1",
    )
    words = [customer_id, name, email]
    leave_traces(settings, database, instance, *words)
    found = everywhere(settings, database, words)
    assert {"transactional.users", "clv.predictions", "event_logs"} <= {
        each.removeprefix("public.") for each in found
    }
    revenue = query(database, "select sum(net_amount) from warehouse.revenue_daily")[0][0]
    promised = forget(settings, customer_id, dry_run=True)
    assert everywhere(settings, database, words) == found

    removed = {each.place: each.count for each in forget(settings, customer_id).removed}

    assert everywhere(settings, database, words) == []
    assert removed["transactional.users"] == removed["warehouse.dim_customers"] == 1
    assert removed["quality.rejected_records"] == 2
    assert removed["clv.backtest_predictions"] > 0
    assert removed["clv.prediction_reasons"] == 1
    assert removed["dagster: event_logs.event"] >= 1
    assert {each.place: each.count for each in promised.removed} == removed
    assert forget(settings, customer_id).removed == []
    key = settings.home / "suppression.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert instance.get_runs()[0].is_success  # redacted events can still be loaded
    assert instance.all_logs(instance.get_runs()[0].run_id)

    # The earlier date is a new generation, so everything is read again.
    for job, as_of, streams in (
        ("ingestion", "2023-11-01", ["users", "transactions"]),
        ("refresh", "2023-10-01", None),
    ):
        done = run(settings, instance, job, streams, as_of=as_of)
        checks = done.get_asset_check_evaluations()
        assert [check.check_name for check in checks if not check.passed] == []
        counted = [check for check in checks if "suppressed" in check.metadata]
        assert sum(check.metadata["suppressed"].value > 0 for check in counted) == 3
        assert everywhere(settings, database, words) == []
    after = query(database, "select sum(net_amount) from warehouse.revenue_daily")[0][0]
    assert after == revenue - net_amount


def leave_traces(
    settings: Settings,
    database: Database,
    instance: DagsterInstance,
    customer_id: str,
    name: str,
    email: str,
) -> None:
    """Write the person's id, name and e-mail where a failing run would."""
    with database.connect() as connection:
        for stream, record in (
            ("users", {"user_id": customer_id, "email": email, "country": 7}),
            ("transactions_file", {"customer_id": customer_id, "ts": "never"}),
        ):
            connection.execute(
                "insert into quality.rejected_records values (%s, %s, %s, 'bad')",
                [stream, f"{stream}-{customer_id}", psycopg.types.json.Jsonb(record)],
            )
        connection.execute(
            "update quality.sync_jobs set reason = %s where job_id = 1",
            [f"the record of {customer_id} ({email}) is bad"],
        )
    for table, values in (
        ("predictions", f"('{customer_id}', now(), 60, 1, 0, 2, 1, 1, 1, 's', 'm', 'v', now())"),
        ("backtest_predictions", f"('m', '2024-03-01', 60, '{customer_id}', 1, 0, 2, 1, 1, 1)"),
        ("training_set", f"('{customer_id}', '2024-03-01', 60, 1, 1)"),
        ("prediction_reasons", f"('{customer_id}', now(), 60, 1, 'recency', 1, 'bought late')"),
    ):
        database.as_role(Role.SCIENTIST).execute(f"insert into clv.{table} values {values}")
    instance.report_runless_asset_event(
        AssetObservation(
            ["transactional", "users"], metadata={"customer": customer_id, "rows": {"n": name}}
        )
    )
    for path in ("logs/run.log", "dbt/a-run/run_results.json"):
        file = settings.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'{{"message": "{customer_id}: {name} <{email}>"}}')


def query(database: Database, statement: str) -> list[tuple]:
    with database.connect() as connection:
        return connection.execute(statement).fetchall()


def test_others_keep_every_row_and_numbers_stay_numbers(
    settings: Settings, database: Database, instance: DagsterInstance
) -> None:
    moment = "2024-01-01T00:00:00Z"
    for user in ("12", "123", "x-12"):
        land(database, "users", [{"user_id": user, "name": "Same Name", "updated_at": moment}])
        land(database, "transactions", [transaction(f"T{user}", user, moment, [line(12.0)])])
    instance.report_runless_asset_event(
        AssetObservation(["clv", "model"], metadata={"customers": 12, "who": "12, not 123 or x-12"})
    )
    forget(settings, "12")
    assert query(database, "select user_id from transactional.users order by 1") == [
        ("123",),
        ("x-12",),
    ]
    assert query(database, "select count(*) from transactional.transactions") == [(2,)]
    [event] = observed(instance)
    assert event["customers"].value == 12
    assert event["who"].value == "[forgotten], not 123 or x-12"


def test_files_of_state_stay_readable_and_keep_their_numbers(
    settings: Settings, database: Database
) -> None:
    land(database, "users", [{"user_id": "24187", "name": "Ada Quill"}])
    state = {
        "postgres/credentials.json": '{"port": 24187, "password": "a-24187 24187"}',
        "dagster/dagster.yaml": "max_concurrent_runs: 24187\n",
        "logs/seconds": "24187",
    }
    words = {
        "logs/run.log": ("24187: Ada Quill has {}", "[forgotten]: [forgotten] has {}"),
        "logs/word.json": ('"Ada Quill"', '"[forgotten]"'),
        "logs/facts.json": (
            '{"n": 24187, "title": "24187 failed"}',
            '{"n": 24187, "title": "[forgotten] failed"}',
        ),
    }
    for path, text in {**state, **{path: text for path, (text, _) in words.items()}}.items():
        (settings.home / path).parent.mkdir(parents=True, exist_ok=True)
        (settings.home / path).write_text(text)

    removed = {each.place: each.count for each in forget(settings, "24187").removed}

    for path, text in state.items():
        assert (settings.home / path).read_text() == text
    for path, (_, text) in words.items():
        assert (settings.home / path).read_text() == text
    assert removed[str(settings.home / "logs" / "run.log")] == 2


def test_databases_of_killed_evaluations_are_dropped_too(
    settings: Settings, database: Database
) -> None:
    name = f"scratch_{0:012x}"
    with database.connect(autocommit=True) as connection:
        connection.execute(f"create database {name}")
    assert forget(settings, "nobody").removed == [Removed(name, "database", 1)]
    assert query(database, f"select from pg_database where datname = '{name}'") == []


def observed(instance: DagsterInstance) -> list[dict]:
    records = instance.fetch_observations(AssetKey(["clv", "model"]), limit=5).records
    return [dict(record.asset_observation.metadata) for record in records]


def test_the_next_call_finishes_an_interrupted_one(
    settings: Settings,
    database: Database,
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SESSION, "lock_timeout", "500ms")
    user = {"user_id": "K17", "name": "Ada Quill", "email": "ada@quill.example"}
    land(database, "users", [user, {"user_id": "K18", "name": "Somebody Else"}])
    instance.report_runless_asset_event(
        AssetObservation(["clv", "model"], metadata={"who": "Ada Quill <ada@quill.example>"})
    )
    log = settings.home / "logs" / "run.log"
    log.parent.mkdir(parents=True)
    log.write_text("refused: ada@quill.example")
    dagster = Database(sibling_url(database.url, f"{database.name}_dagster"))
    written = [(database, "transactional.users"), (dagster, "public.event_logs")]
    assert [b"ada@quill" in bytes_of(*each) for each in written] == [True, True]

    for held, table in written:
        with held.connect() as reader:
            reader.execute(f"select count(*) from {table}")
            pid, name = reader.info.backend_pid, table.removeprefix("public.")
            with pytest.raises(PipelineError, match=rf"{name} is held by session {pid} .* again"):
                forget(settings, "K17")
        assert everywhere(settings, database, list(user.values())) == []
        assert b"ada@quill" in bytes_of(held, table)

    assert forget(settings, "K17").removed == []
    for each in written:
        assert b"ada@quill" not in bytes_of(*each)
    assert query(database, "select name from transactional.users") == [("Somebody Else",)]


@pytest.mark.parametrize(
    ("held", "mode", "kept"),
    [
        ("warehouse.mart", "access exclusive", ["transactional.users", "warehouse.mart"]),
        ("transactional.users", "share", ["transactional.users"]),
    ],
)
def test_a_call_that_is_blocked_before_the_landed_rows_are_deleted_starts_over(
    settings: Settings,
    database: Database,
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    held: str,
    mode: str,
    kept: list[str],
) -> None:
    monkeypatch.setitem(SESSION, "lock_timeout", "500ms")
    land(database, "users", [{"user_id": "K17", "name": "Ada Quill"}])
    database.as_role(Role.TRANSFORMER).execute(
        "create table warehouse.mart as select 'K17'::text as customer_id"
    )
    with database.connect() as build:
        build.execute(f"lock table {held} in {mode} mode")
        with pytest.raises(PipelineError, match=rf"{held} is held by .* again"):
            forget(settings, "K17")
    assert sorted(mentions(database, ["K17", "Ada Quill"])) == kept
    assert len(query(database, "select from quality.suppressed_customers")) == 1
    instance.report_runless_asset_event(
        AssetObservation(["clv", "model"], metadata={"who": "Ada Quill"})
    )
    assert len(forget(settings, "K17").removed) == len(kept) + 1
    assert everywhere(settings, database, ["K17", "Ada Quill"]) == []


def bytes_of(database: Database, table: str) -> bytes:
    """Return the bytes of a table's file on the server, deleted rows included."""
    with database.connect(autocommit=True) as connection:
        connection.execute("checkpoint")
        row = connection.execute(
            "select current_setting('data_directory'), pg_relation_filepath(%s)", [table]
        ).fetchone()
    assert row is not None
    return Path(*row).read_bytes()


def test_another_key_is_refused_before_anybody_could_come_back(
    settings: Settings, database: Database
) -> None:
    from retail_pipeline.ingestion.specs import load_folder
    from retail_pipeline.privacy.suppression import read_suppression

    assert read_suppression(settings, database, load_folder()) is None
    assert forget(settings, "nobody").removed == []
    assert not mentions(database, ["nobody"])
    (settings.home / "suppression.key").write_text("another key altogether, as long as keys are")
    with pytest.raises(PipelineError, match="is not the one"):
        read_suppression(settings, database, load_folder())
    with pytest.raises(PipelineError, match="is not the one"):
        forget(settings, "somebody")
    (settings.home / "suppression.key").unlink()
    with pytest.raises(PipelineError, match="RETAIL_SUPPRESSION_KEY"):
        read_suppression(settings, database, load_folder())
    with pytest.raises(UsageError):
        forget(settings, " ")


def test_a_mention_is_a_word_of_its_own() -> None:
    person = Person("17", details={"Zoë Ångström"})
    text = 'customer 17: "17", 170, 3.17, 17.5, a-17, 2024-17. Zo\\u00eb \\u00c5ngstr\\u00f6m, 17.'
    assert person.pattern().sub("*", text) == (
        'customer *: "*", 170, 3.17, 17.5, a-17, 2024-17. *, *.'
    )
