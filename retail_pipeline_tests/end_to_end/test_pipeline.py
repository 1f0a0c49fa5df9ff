"""The whole pipeline on a real PostgreSQL: all assets are built, later runs equal full runs."""

import hashlib
import re
from datetime import date
from typing import Any

import psycopg
from dagster import AssetKey, ExecuteInProcessResult

from retail_pipeline.bi.applying import validate
from retail_pipeline.bi.bundle import load_bundle
from retail_pipeline.bi.reader_login import reader_login
from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT, Settings
from retail_pipeline_tests.end_to_end.conftest import Run

LANDING = "group:transactional"
STREAMS = {"products": "product_id", "users": "user_id", "transactions": "transaction_id"}


def landed(database: Database) -> dict[str, str]:
    """Return a digest of each landing table's records, without Airbyte's own columns."""
    tables = {}
    for stream, key in STREAMS.items():
        frame = database.read(f"transactional.{stream}").sort_values(key)
        own = [name for name in frame.columns if not name.startswith("_airbyte")]
        text = frame[own].to_csv(index=False)
        tables[stream] = f"{len(frame)}:{hashlib.sha256(text.encode()).hexdigest()}"
    return tables


def rows_synced(result: ExecuteInProcessResult) -> dict[str, int]:
    return {
        event.asset_key.path[1]: event.materialization.metadata["rows_synced"].value
        for event in result.all_events
        if event.is_step_materialization and event.asset_key.path[0] == "transactional"
    }


def materialized(result: ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Return the metadata of each unpartitioned asset, by the names that the UI shows."""
    return {
        event.asset_key.to_user_string(): {
            name: getattr(value, "value", None)
            for name, value in event.materialization.metadata.items()
        }
        for event in result.all_events
        if event.is_step_materialization and event.partition is None
    }


def missing(metadata: dict[str, Any]) -> set[str]:
    """Return the metadata that every asset should have and these lack."""
    size = "path" if "path" in metadata else "dagster/row_count"  # an image has no rows
    day = "as_of_date" if "as_of_date" in metadata else "as_of"
    return {name for name in (size, day, "seconds") if metadata.get(name) is None}


def misnamed(result: ExecuteInProcessResult, name: str, metadata: dict[str, Any]) -> bool:
    """Return whether the tag `data` disagrees with the table: rows of customers or not."""
    node = result.job_def.asset_layer.asset_graph.get(AssetKey(name.split("/")))
    ids = {"customer_id", "user_id"} & {
        column.name for column in getattr(metadata.get("dagster/column_schema"), "columns", ())
    }
    return bool(ids) != (node.tags["data"] != "aggregate")


def test_every_asset_is_made_and_every_check_passes(
    run: Run, database: Database, settings: Settings
) -> None:
    result = run(as_of=date(2023, 11, 1), horizon_days=60)

    made = {event.asset_key for event in result.all_events if event.is_step_materialization}
    wanted = result.job_def.asset_layer.executable_asset_keys
    assert made == wanted | {AssetKey(["clv", "backtest"])}
    assert [name for name, metadata in materialized(result).items() if missing(metadata)] == []
    assert [
        name for name, metadata in materialized(result).items() if misnamed(result, name, metadata)
    ] == []
    assert {"normalized_gini", "bias"} <= set(materialized(result)["clv/model"])
    checks = result.get_asset_check_evaluations()
    assert len(checks) > 30
    # Ten months of history know nothing of the season.
    assert [c.check_name for c in checks if not c.passed] == ["last_year_was_predicted_well"]

    population = database.query(
        "select customer_id from warehouse.customer_features where as_of_date = '2023-11-01'"
    )
    predictions = database.read("clv.predictions")
    assert set(predictions["customer_id"]) == set(population["customer_id"])
    assert AssetKey(["figures", "gain_curve"]) in made
    assert len(list((settings.home / "figures").glob("*.png"))) >= 6
    report = settings.home / "report" / "report.html"
    assert report.stat().st_size < 5_000_000, "docs/report.md: small enough for a mail"
    _assert_dashboards_fit(database)


def _assert_dashboards_fit(database: Database) -> None:
    """A column that a mart no longer has breaks the files of Superset, or a query of the docs."""
    url = reader_login(database)
    assert validate(load_bundle(), url) == "GBP"
    docs = (PROJECT_ROOT / "docs" / "dashboards.md").read_text().partition("## Metabase")[2]
    queries = [each for each in re.findall("```sql\n(.*?)```", docs, re.DOTALL) if "from" in each]
    assert len(queries) >= 8
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
        for query in queries:
            rows = connection.execute(query).fetchall()
            assert rows, query
            for name in rows[0].keys() - {"year_before"}:  # there is one year only
                assert any(row[name] is not None for row in rows), (name, query)
            rates = [row[name] for row in rows for name in row if name.endswith("rate")]
            assert all(0 <= rate <= 1 for rate in rates if rate is not None), query


def test_a_later_date_reads_only_new_records_and_equals_a_full_run(
    run: Run, database: Database
) -> None:
    run(as_of=date(2024, 6, 1), select=LANDING)
    before = landed(database)
    second = run(as_of=date(2024, 7, 1), select=LANDING)
    increment = landed(database)
    moved = rows_synced(second)["transactions"]
    grown = {s: int(increment[s].split(":")[0]) - int(before[s].split(":")[0]) for s in STREAMS}
    # The last ten minutes before the stored cursor are read again.
    assert grown["transactions"] <= moved <= grown["transactions"] + 5

    database.execute("update quality.source_state set source_id = 'another'")
    full = run(as_of=date(2024, 7, 1), select=LANDING)
    assert landed(database) == increment
    assert rows_synced(full)["transactions"] == int(increment["transactions"].split(":")[0])
