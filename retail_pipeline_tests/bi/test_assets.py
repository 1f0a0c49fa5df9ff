"""The dashboards in the asset graph: what they read, what a run of them does, what checks find."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from retail_pipeline.bi.assets import build_dashboards
from retail_pipeline.bi.bundle import BundleError
from retail_pipeline.bi.superset import Superset
from retail_pipeline.build import build_definitions
from retail_pipeline.loopback import listener
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings
from retail_pipeline_tests.bi.small_bundle import FILES, write

SHOP = dg.AssetKey(["bi", "shop_dashboard"])
QUERY = """
schema: warehouse
table_name: days
sql: |
  with served as (select * from clv.current_predictions), days as (table warehouse.customer_days)
  select * from days join warehouse.dim_customers using (customer_id)
    join served using (customer_id)
columns: [{column_name: date_day}, {column_name: country}, {column_name: customer_id}]
metrics: [{metric_name: revenue, expression: sum(net_amount)}]
"""


def run(
    folder: Path, database: Database, home: Path, selection: dg.AssetSelection | None = None
) -> dg.ExecuteInProcessResult:
    definitions = dg.Definitions.merge(
        build_dashboards(folder),
        dg.Definitions(
            resources={"database": database, "settings": Settings(home=home)},
            jobs=[dg.define_asset_job("shop", selection or dg.AssetSelection.all())],
        ),
    )
    return definitions.resolve_job_def("shop").execute_in_process(raise_on_error=False)


def reason(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    return str(failure.step_failure_data.user_failure_data.description)


def test_a_query_is_downstream_of_the_tables_that_it_reads(tmp_path: Path) -> None:
    [step] = build_dashboards(write(tmp_path, datasets__days=QUERY)).assets or []
    assert isinstance(step, dg.AssetsDefinition)
    days, shop = step.get_asset_spec(dg.AssetKey(["bi", "days"])), step.get_asset_spec(SHOP)
    assert {each.asset_key.to_user_string() for each in days.deps} == {
        "clv/predictions",
        "warehouse/customer_days",
        "warehouse/dim_customers",
    }
    assert [each.asset_key for each in shop.deps] == [days.key]
    assert days.tags["data"] == shop.tags["data"] == "pseudonymous"
    assert "http://127.0.0.1:8088/superset/dashboard/shop/" in str(shop.description)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("table warehouse.customer_days", "table customer_days", "schema of the table customer_d"),
        ("select * from days", "select * frm days on", r"days\.yaml:3: "),
    ],
)
def test_a_query_whose_tables_are_not_clear_is_refused(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    with pytest.raises(BundleError, match=words):
        build_dashboards(write(tmp_path, datasets__days=QUERY.replace(old, new)))


def test_only_the_job_of_the_dashboards_needs_superset() -> None:
    definitions = build_definitions(Settings())
    graph = definitions.resolve_asset_graph()
    dashboards = {key for key in graph.get_all_asset_keys() if key.path[0] == "bi"}
    assert dashboards
    for job in definitions.resolve_all_job_defs():
        keys = set(job.asset_layer.executable_asset_keys)
        if not job.name.startswith("__ASSET_JOB"):  # what the UI materializes by hand
            assert keys & dashboards == (dashboards if job.name == "dashboards" else set())


def test_without_superset_the_error_names_the_command(database: Database, tmp_path: Path) -> None:
    result = run(write(tmp_path / "files"), database, tmp_path)
    assert reason(result) == "Superset is not installed: `retail-pipeline bi up` does that"
    assert not (tmp_path / "superset").exists()


@pytest.fixture
def running(superset: Superset, shown: Database, tmp_path: Path) -> Iterator[Superset]:
    with listener(0) as free:
        port = int(free.getsockname()[1])
    superset.start(port)
    yield superset
    superset.stop()


def found(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    evaluations = result.get_asset_check_evaluations()
    return {each.check_name: (each.passed, each.description or "") for each in evaluations}


def test_a_run_applies_the_files_and_asks_every_chart(
    running: Superset, shown: Database, tmp_path: Path
) -> None:
    by_day = FILES["charts/by_country.yaml"].replace("By country", "By day")
    by_day = by_day.replace("{query_mode", "{x_axis: date_day, time_grain_sqla: P1M, query_mode")
    layout = FILES["dashboards/shop.yaml"].replace("by_country: 8", "by_country: 4, by_day: 4")
    folder = write(tmp_path / "files", charts__by_day=by_day, dashboards__shop=layout)
    result = run(folder, shown, running.folder.parent)
    assert result.success
    assert found(result) == {"matches_the_files": (True, ""), "every_chart_answers": (True, "")}
    [event] = [each for each in result.get_asset_materialization_events() if each.asset_key == SHOP]
    metadata = event.materialization.metadata
    records = metadata["queries"].value.records
    assert {each.data["chart"]: each.data["rows"] for each in records} == {
        "Total": 1,
        "By country": 1,
        "By day": 1,
    }
    assert metadata["milliseconds"].value > 0
    assert metadata["dashboard"].value == f"{running.address()}/superset/dashboard/shop/"


def test_the_checks_alone_find_changes_by_hand_and_failing_charts_and_write_nothing(
    running: Superset, shown: Database, tmp_path: Path
) -> None:
    failing = FILES["charts/by_country.yaml"].replace(
        "{query_mode",
        "{adhoc_filters: [{expressionType: SIMPLE, clause: WHERE, subject: date_day, "
        "operator: ==, comparator: no day}], query_mode",
    )
    folder = write(tmp_path / "files", charts__by_country=failing)
    applied = found(run(folder, shown, running.folder.parent))
    assert applied["matches_the_files"] == (True, "")
    passed, words = applied["every_chart_answers"]
    assert not passed and words.startswith("By country: ") and "no day" in words

    write(tmp_path / "files")
    checks = dg.AssetSelection.all_asset_checks()
    passed, words = found(run(folder, shown, running.folder.parent, checks))["matches_the_files"]
    assert not passed and "~ charts/by_country.yaml: params.adhoc_filters" in words
    with sqlite3.connect(running.folder / "superset.db") as connection:
        [(kept,)] = connection.execute("select params from slices where slice_name = 'By country'")
    assert "no day" in kept
    assert all(passed for passed, _ in found(run(folder, shown, running.folder.parent)).values())
    running.stop()
    assert "is not running: `retail-pipeline bi up`" in reason(
        run(folder, shown, running.folder.parent)
    )
