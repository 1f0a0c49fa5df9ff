"""The landing assets end to end: bundled API, embedded Airbyte, a real PostgreSQL, Dagster."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any

import httpx
import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRun,
    Definitions,
    ExecuteInProcessResult,
    in_process_executor,
)

from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import (
    landed_state,
    read_state,
)
from retail_pipeline.ingestion import build_ingestion
from retail_pipeline.ingestion.api import open_api
from retail_pipeline.ingestion.assets import first_run_id
from retail_pipeline.ingestion.specs import load_folder
from retail_pipeline.postgres import Database
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.settings import (
    PROJECT_ROOT,
    AirbyteMode,
    AirbyteSettings,
    ApiSource,
    FileSource,
    Settings,
    SimulatorSource,
)
from retail_pipeline.shared_queries import file_losses, losses_in_words

SIMULATOR = Settings(source=SimulatorSource(customers=60, seed=5))
LINES = (
    "customer_id,order_id,ts,amount,product_id,quantity\n"
    "1,A,2020-01-01T10:00:00,0.001,p,1\n"
    "1,A,2020-01-01T10:00:00,12.30,q,two\n"
    "2,B,not a date,5,p,1\n"
    "2,C,2020-01-05T10:00:00,-3,p,\n"
    "3,D,2020-02-05T10:00:00,7,p,1\n"
)


def run(
    database: Database, settings: Settings, *, streams: list[str] | None = None, **window: Any
) -> ExecuteInProcessResult:
    resources = {"database": database, "settings": settings, "run_window": RunWindow(**window)}
    definitions = Definitions.merge(
        build_ingestion(),
        Definitions(resources=resources, executor=in_process_executor),
    )
    chosen = [AssetKey(["transactional", name]) for name in streams] if streams else None
    return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=chosen,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def metadata(result: ExecuteInProcessResult, stream: str) -> dict[str, Any]:
    [event] = result.asset_materializations_for_node(f"sync_retail_api_{stream}")
    assert event.asset_key == AssetKey(["transactional", stream])
    return {name: entry.value for name, entry in event.metadata.items()}


def checks(result: ExecuteInProcessResult) -> dict[tuple[str, str], Any]:
    return {
        (check.asset_key.path[-1], check.check_name): check
        for check in result.get_asset_check_evaluations()
    }


def failure(result: ExecuteInProcessResult) -> str:
    assert not result.success
    [event] = [each for each in result.all_events if each.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


def innermost(result: ExecuteInProcessResult) -> str:
    [event] = [each for each in result.all_events if each.is_step_failure]
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    assert error is not None and error.cls_name is not None
    return error.cls_name


def landed(database: Database, stream: str) -> list[tuple]:
    """Return a table's rows without the columns about the load."""
    with database.connect() as session:
        rows = session.execute(
            f"select to_jsonb(t) - array['_airbyte_raw_id', '_airbyte_extracted_at', "
            f"'_airbyte_meta', '_airbyte_generation_id'] from transactional.{stream} t"
        ).fetchall()
    return sorted(rows, key=str)


def test_an_increment_moves_what_is_new_and_equals_a_full_run(database: Database) -> None:
    first = run(database, SIMULATOR, as_of="2024-06-01")
    assert first.success
    assert all(check.passed for check in checks(first).values())
    assert len(checks(first)) == 10  # three per stream, and one of money
    before = metadata(first, "transactions")
    assert before["dagster/row_count"] == before["rows_synced"] > 0
    assert before["read_by"] == "page loop"
    assert f"rows_read={before['rows_synced']}" in Path(before["log"]).read_text()

    second = run(database, SIMULATOR, streams=["transactions"], as_of="2024-07-01")
    after = metadata(second, "transactions")
    new = after["dagster/row_count"] - before["dagster/row_count"]
    assert 0 < new <= after["rows_synced"] <= new + 3  # the last ten minutes are read again
    increment = landed(database, "transactions")
    run(database, SIMULATOR, streams=["transactions"], as_of="2024-07-01", full_refresh=True)
    assert landed(database, "transactions") == increment
    state = read_state(database)
    assert (state.as_of, state.generation) == (date(2024, 7, 1), 2)
    generations = database.query(
        "select distinct _airbyte_generation_id as generation from transactional.transactions"
    )
    assert generations["generation"].tolist() == [2]

    columns = after["dagster/column_schema"].columns
    assert [column.name for column in columns][:5] == [
        "_airbyte_raw_id",
        "_airbyte_extracted_at",
        "_airbyte_meta",
        "_airbyte_generation_id",
        "transaction_id",
    ]
    assert all(column.description for column in columns)
    [source] = after["dagster/column_lineage"].deps_by_column["items"]
    assert (source.asset_key, source.column_name) == (
        AssetKey(["retail_api", "transactions"]),
        "items",
    )
    observed = [e for e in second.all_events if e.event_type_value == "ASSET_OBSERVATION"]
    assert [event.asset_key for event in observed] == [AssetKey(["retail_api", "transactions"])]


def test_bad_lines_of_a_file_are_rejected_and_counts_add_up(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "lines.csv"
    path.write_text(LINES)
    settings = Settings(source=FileSource(path, ReadingOptions(accept_loss=0.5)))
    result = run(database, settings, streams=["transactions"], as_of="2020-02-01")
    assert result.success
    shown = metadata(result, "transactions")
    assert (shown["dagster/row_count"], shown["lines"], shown["rejected_file_lines"]) == (2, 3, 1)
    assert shown["nulled_values"] == {"quantity": 1}
    money = checks(result)["transactions", "money_equals_the_api"]
    assert money.passed
    assert money.metadata["sales_amount"].value == 12.301
    assert money.metadata["net_amount_difference"].value == 0
    [row] = database.query("select stream, reason from quality.rejected_records").itertuples()
    assert (row.stream, row.reason) == ("transactions_file", "ts is not a date: 'not a date'")
    assert list(losses_in_words(file_losses(database))) == [
        "1 line rejected, with 5: ts is not a date (the first is line 3)",
        "1 line used without a value: quantity is not a number, or beyond 1,000,000,000,000,000 "
        "(the first is line 2)",
    ]

    again = run(database, settings, streams=["transactions"])  # the day after the last line
    assert metadata(again, "transactions")["dagster/row_count"] == 3
    assert len(database.query("select from quality.rejected_records")) == 1


def test_a_line_without_columns_leaves_with_its_person_and_stays_away(
    database: Database, tmp_path: Path
) -> None:
    from retail_pipeline.privacy.forgetting import forget

    path = tmp_path / "lines.csv"
    others = ["C1234,2020-01-01,5", "x-C123,2020-01-01,5", "C124,2020-01-01,5,C123x,p,1,s"]
    theirs = ["C123,2020-01-01,5,o", 'o,"C123",2020-01-01', "C9;C123;5", '"C123,2020-01-01,5,o']
    lines = [*theirs, *others, "C123,Z,never,1,p,1", "C123,Z,2020-01-03,1,p,1"]
    path.write_text(LINES + "\n".join(lines) + "\n")
    source = FileSource(path, ReadingOptions(accept_loss=1))
    settings = Settings(source=source, database_url=database.url, home=tmp_path / "home")
    first = run(database, settings, streams=["transactions"])
    shown = metadata(first, "transactions")
    assert (shown["dagster/row_count"], shown["rejected_file_lines"]) == (4, 9)

    removed = {each.place: each.count for each in forget(settings, "C123").removed}

    assert removed["quality.rejected_records"] == len(theirs) + 1
    for window in ({}, {"full_refresh": True}):
        result = run(database, settings, streams=["transactions"], **window)
        kept = database.query(
            "select record ->> 'text' as text from quality.rejected_records "
            "where stream = 'transactions_file' and record ? 'text' order by 1"
        )
        assert sorted(kept["text"]) == sorted(others)
        shown = metadata(result, "transactions")
        assert (shown["dagster/row_count"], shown["rejected_file_lines"]) == (3, 4)
        rows = checks(result)["transactions", "rows_equal_the_api"]
        counted = {name: rows.metadata[name].value for name in ("rows", "rejected", "suppressed")}
        assert (rows.passed, counted) == (True, {"rows": 3, "rejected": 0, "suppressed": 1})


def test_a_customer_who_was_taken_back_lands_again(database: Database, tmp_path: Path) -> None:
    from retail_pipeline.privacy.forgetting import forget
    from retail_pipeline.privacy.suppression import take_back

    path = tmp_path / "lines.csv"
    days = {"C1,2019-01-01", "C1,2020-01-01", "C2,2020-01-01"}
    path.write_text("customer_id,ts,amount\n" + "".join(f"{each},5\n" for each in sorted(days)))
    source = FileSource(path)
    settings = Settings(source=source, database_url=database.url, home=tmp_path / "home")
    run(database, settings, streams=["transactions"])
    forget(settings, "C1")
    run(database, settings, streams=["transactions"], full_refresh=True)
    assert take_back(settings, database, "C1") and not take_back(settings, database, "C1")
    for window, customers in (({}, ["C1", "C2"]), ({"full_refresh": True}, ["C1", "C1", "C2"])):
        result = run(database, settings, streams=["transactions"], **window)
        assert checks(result)["transactions", "rows_equal_the_api"].passed
        landed = database.query("select user_id from transactional.transactions order by 1")
        assert landed["user_id"].tolist() == customers


def test_a_difference_blocks_what_is_downstream(database: Database) -> None:
    run(database, SIMULATOR, streams=["users"])
    database.execute(
        "delete from transactional.users where user_id in "
        "(select user_id from transactional.users limit 2)"
    )
    result = run(database, SIMULATOR, streams=["users"])
    check = checks(result)["users", "rows_equal_the_api"]
    assert (check.passed, check.severity.value) == (False, "ERROR")
    assert check.metadata["difference"].value == -2


def test_a_run_that_passes_midnight_keeps_its_as_of_date(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    evening = iter([datetime(2024, 6, 1, 23, 59, tzinfo=UTC)])

    class Midnight(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return next(evening, datetime(2024, 6, 2, tzinfo=UTC))

    monkeypatch.setattr("retail_pipeline.business_day.datetime", Midnight)
    assert run(database, SIMULATOR, as_of="today").success
    assert landed_state(database).as_of == date(2024, 6, 1)
    assert RunWindow(as_of="today").landed_as_of(database) == date(2024, 6, 1)
    with pytest.raises(PipelineError, match="has the as-of date 2024-06-03"):
        RunWindow(as_of="2024-06-03").landed_as_of(database)
    assert run(database, SIMULATOR, as_of="today").success
    assert landed_state(database).as_of == date(2024, 6, 2)


def test_a_run_continues_another_with_its_remaining_steps() -> None:
    runs = [
        ("first", None, {}),
        ("rest", "first", {"dagster/is_resume_retry": "true"}),
        ("again", "rest", {}),
        ("rest of again", "again", {"dagster/is_asset_resume_retry": "true"}),
        ("of a deleted one", "gone", {"dagster/is_resume_retry": "true"}),
    ]
    found = {}
    with DagsterInstance.ephemeral() as instance:
        for name, parent, tags in runs:
            root = None if parent is None else "first"
            each = DagsterRun("j", name, parent_run_id=parent, root_run_id=root, tags=tags)
            instance.add_run(each)
            found[name] = first_run_id(instance, each)
    assert found == {
        "first": "first",
        "rest": "first",
        "again": "again",
        "rest of again": "again",
        "of a deleted one": "gone",
    }


def test_failures_carry_their_reason_and_leave_the_state_alone(
    database: Database, tmp_path: Path
) -> None:
    from retail_pipeline.retail_api import serving

    with serving(SIMULATOR.source, date(2024, 6, 1), "another-key") as url:
        refused = run(database, Settings(source=ApiSource(url)), streams=["users"])
    assert "HTTP 401: check RETAIL_SOURCE and RETAIL_API_KEY" in failure(refused)
    nobody = run(database, Settings(source=ApiSource("http://127.0.0.1:9")), streams=["users"])
    assert "the retail API does not answer" in failure(nobody)
    assert innermost(nobody) == "ApiUnavailableError"  # as the command line shows it
    missing = run(database, Settings(source=FileSource(tmp_path / "no.csv")), streams=["users"])
    assert "no.csv" in failure(missing)
    assert database.query("select from quality.source_state").empty


def test_while_a_file_is_synced_other_processes_have_no_key_for_it(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer_id,ts,amount\na,2024-01-01,1\n")
    settings, folder = Settings(source=FileSource(path)), load_folder()
    published = "-".join(["local", "api", "key"])  # the default of earlier versions
    another = subprocess.run(
        [sys.executable, "-c", "from retail_pipeline.settings import *; print(Settings().api_key)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    keys = {"published": published, "another": another, "own": settings.api_key}
    connection = next(iter(folder.connections.values()))
    with open_api(
        settings, database, RunWindow(), folder, connection, run_id="r", warn=print
    ) as api:
        answers = {
            name: httpx.get(f"{api.url}/v1/users", headers={"Authorization": f"Bearer {key}"})
            for name, key in keys.items()
        }
    codes = {name: answer.status_code for name, answer in answers.items()}
    assert codes == {"published": 401, "another": 401, "own": 200}


def test_a_failed_sync_has_airbytes_reason(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retail_pipeline.ingestion import api

    # The key is valid for the request of the totals and not for the connector.
    totals = api.fetch_totals
    monkeypatch.setattr(
        api,
        "fetch_totals",
        lambda folder, one, values: totals(folder, one, {**values, "RETAIL_API_KEY": "right-key"}),
    )
    from retail_pipeline.retail_api import serving

    with serving(SIMULATOR.source, date(2024, 6, 1), "right-key") as url:
        settings = Settings(source=ApiSource(url), api_key="wrong-key")
        result = run(database, settings, streams=["users"])
    reason = failure(result)
    assert reason.startswith("the sync of retail_api_users failed: The retail API refuses the key")
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 0


def test_a_server_is_used_by_the_names_of_its_connections(
    database: Database, tmp_path: Path
) -> None:
    from retail_pipeline.airbyte_engine import api
    from retail_pipeline.airbyte_engine.engine import Engine
    from retail_pipeline.ingestion import workspace
    from retail_pipeline.privacy.forgetting import forget
    from retail_pipeline.retail_api import (
        open_dataset,
        serving,
    )

    with serving(SIMULATOR.source, date(2024, 6, 1), "a-key") as url:
        values = {"RETAIL_API_URL": url, "RETAIL_API_KEY": "a-key", "RETAIL_API_END": None}
        with Engine(load_folder(), database, values) as engine, api.serving(engine) as server:
            airbyte = AirbyteSettings(
                mode=AirbyteMode.SERVER,
                url=server.base_url,
                workspace_id=server.workspace_id,
                client_id=server.client_id,
                client_secret=server.client_secret,
            )
            settings = Settings(
                source=ApiSource(url),
                api_key="a-key",
                airbyte=airbyte,
                database_url=database.url,
                home=tmp_path,
                suppression_key="0123456789abcdef" * 2,
            )
            [gone, *_] = open_dataset(SIMULATOR.source, date(2024, 6, 1)).records.users["user_id"]
            forget(settings, str(gone))  # the server has no suppression list and lands the person
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(workspace, "_SERVER_POLL_SECONDS", 0.2)
                synced = run(database, settings, streams=["users"])
            assert synced.success
            assert checks(synced)["users", "rows_equal_the_api"].passed
            assert metadata(synced, "users")["suppressed_records"] == 1
            assert gone not in database.read("transactional.users")["user_id"].tolist()
            wrong = airbyte.model_copy(update={"client_secret": "guess"})
            refused = run(
                database, settings.model_copy(update={"airbyte": wrong}), streams=["users"]
            )
    assert "AIRBYTE_CLIENT_SECRET" in failure(refused)
    bundled = run(database, SIMULATOR.model_copy(update={"airbyte": airbyte}), streams=["users"])
    assert "AIRBYTE_MODE=server reads a retail API at an address" in failure(bundled)


def test_code_loads_in_a_fresh_interpreter_without_any_network() -> None:
    script = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('the network was touched')\n"
        "socket.socket.connect = refuse\n"
        "socket.create_connection = refuse\n"
        "from retail_pipeline.ingestion import build_ingestion\n"
        "from dagster import AssetKey, Definitions\n"
        "absent = Definitions(resources=dict.fromkeys(['database', 'settings', 'run_window'], 0))\n"
        "loaded = Definitions.merge(build_ingestion(), absent)\n"
        "graph = loaded.resolve_asset_graph()\n"
        "for name in ('products', 'users', 'transactions'):\n"
        "    landing = graph.get(AssetKey(['transactional', name]))\n"
        "    assert landing.parent_keys == {AssetKey(['retail_api', name])}\n"
        "    assert landing.description.startswith('One row is')\n"
        "    assert landing.owners == ['team:data-platform']\n"
        "    assert landing.group_name == 'transactional' and landing.pools == {'airbyte'}\n"
        "    assert landing.kinds == {'airbyte', 'postgres'}\n"
        "    assert graph.get(AssetKey(['retail_api', name])).is_external\n"
        "import sys\n"
        "assert 'airbyte_cdk' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=PROJECT_ROOT, env=os.environ)


def test_a_run_for_another_source_changes_nothing_and_says_how_to_go_on(
    database: Database,
) -> None:
    assert run(database, SIMULATOR).success
    own, landed = read_state(database), database.read("transactional.users")
    other = SIMULATOR.model_copy(update={"source": SimulatorSource(customers=50, seed=5)})
    for settings, source in ((other, own.source_id), (SIMULATOR, "file:sha256:0123456789abcdef")):
        result = run(database, settings, source=source, full_refresh=True)
        reasons = [
            each.step_failure_data.error.message for each in result.get_step_failure_events()
        ]
        assert len(reasons) == 3
        assert all(f"for the source {source}" in each for each in reasons)
        assert all("RETAIL_SOURCE of the run" in each for each in reasons)
    assert read_state(database) == own
    assert database.read("transactional.users").equals(landed)
    assert RunWindow(source=own.source_id).landed_as_of(database) == own.as_of
    with pytest.raises(PipelineError, match="for the source tables:shop, but here it would use"):
        RunWindow(source="tables:shop").landed_as_of(database)
    assert run(database, SIMULATOR, source=own.source_id).success
