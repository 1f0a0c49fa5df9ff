"""The main job with Spark has the results of PostgreSQL, with an executor lost on the way."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dagster import AssetSelection, DagsterInstance, ExecuteInProcessResult

from retail_pipeline.build import build_definitions
from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Engine, FileSource, Settings, SimulatorSource
from retail_pipeline_tests.spark.conftest import EXECUTOR, killed

AS_OF = date(2024, 1, 1)
DBT_DRIVER = "retail_pipeline.spark.dbt_driver"
ONLY_SPARK = {"executors"}
"""Metadata that only Spark's materializations have."""


@pytest.fixture
def settings(database: Database, home: Path, spark: Settings) -> Settings:
    """RETAIL_TEST_CUSTOMERS=20000 is the size of the measurements in docs/scaling.md."""
    assert spark.home == home
    customers = int(os.environ.get("RETAIL_TEST_CUSTOMERS", "150"))
    changes = {"database_url": database.url, "source": SimulatorSource(customers, seed=11)}
    return spark.model_copy(update=changes)


def run(settings: Settings, as_of: date = AS_OF) -> ExecuteInProcessResult:
    definitions = build_definitions(settings)
    job = definitions.resolve_job_def("pipeline")
    wanted = AssetSelection.from_string('+key:"clv/totals" or group:warehouse')
    chosen = wanted.resolve(definitions.resolve_asset_graph())
    return job.execute_in_process(
        instance=DagsterInstance.ephemeral(),
        asset_selection=list(chosen & job.asset_layer.executable_asset_keys),
        run_config={
            "resources": {
                "run_window": {"config": {"as_of": as_of.isoformat(), "horizon_days": 60}}
            }
        },
        raise_on_error=False,
    )


@pytest.mark.timeout(3600)
def test_spark_builds_and_predicts_what_postgresql_does(
    settings: Settings, database: Database
) -> None:
    expected = run(settings.model_copy(update={"engine": Engine.POSTGRES}))
    assert expected.success
    tables = dict(_tables(database))
    lake = Lake(settings.lake_address)

    with killed(
        settings, DBT_DRIVER, lambda: any(lake.folder.glob("builds/*/warehouse/*"))
    ) as lost:
        failed = run(settings)
    assert lost and not failed.success
    assert dict(_tables(database, "warehouse")).keys() <= tables.keys()
    for name, table in _tables(database, "warehouse"):
        pd.testing.assert_frame_equal(table, tables[name])

    features = "builds/*/warehouse/customer_features/_temporary"
    with killed(settings, EXECUTOR, lambda: any(lake.folder.glob(features))) as lost:
        result = run(settings)
    assert lost and result.success
    _assert_equal(database, tables, result, expected)
    indexes = "select tablename, indexdef from pg_indexes where schemaname = 'warehouse'"
    assert len(database.query(indexes)) >= len(lake.build.marts())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_real_transactions(settings: Settings, database: Database, online_retail_ii: Path) -> None:
    real = settings.model_copy(update={"source": FileSource(online_retail_ii)})
    as_of = date(2011, 12, 10)
    expected = run(real.model_copy(update={"engine": Engine.POSTGRES}), as_of)
    assert expected.success
    tables = dict(_tables(database))
    result = run(real, as_of)
    assert result.success
    _assert_equal(database, tables, result, expected)


def _assert_equal(
    database: Database,
    tables: dict[str, pd.DataFrame],
    result: ExecuteInProcessResult,
    expected: ExecuteInProcessResult,
) -> None:
    """Compare a run with Spark with one on PostgreSQL, which left the tables."""
    found = dict(_tables(database))
    assert found.keys() == tables.keys()
    for name, table in tables.items():
        pd.testing.assert_frame_equal(found[name], table, rtol=1e-9, atol=1e-9, obj=name)
    penny = (found["clv.totals"]["predicted_value"] - tables["clv.totals"]["predicted_value"]).abs()
    assert penny.max() < 0.005
    assert _checks(result) == _checks(expected)
    assert _metadata(result) == _metadata(expected)


def _tables(database: Database, *schemas: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables that consumers read, in the order of all columns, without times of runs."""
    names = database.query(
        "select schemaname || '.' || tablename as name from pg_tables where schemaname = "
        f"any('{{{','.join(schemas or ('warehouse', 'clv'))}}}') order by 1"
    )["name"]
    for name in names:
        table = database.read(name)
        if name.startswith("clv.") and name not in ("clv.predictions", "clv.totals"):
            continue
        # Features that differ in the sixteenth digit make another digest of the trained model.
        plain = table.drop(columns=["predicted_at", "model_version"], errors="ignore")
        keys = [each for each in plain if plain[each].dtype.kind in "OMib"]
        yield name, plain.sort_values(keys or list(plain), ignore_index=True)


def _checks(result: ExecuteInProcessResult) -> set[tuple[Any, ...]]:
    return {
        (each.asset_key, each.check_name, each.passed, each.severity)
        for each in result.get_asset_check_evaluations()
    }


def _metadata(result: ExecuteInProcessResult) -> dict[str, tuple[set[str], object]]:
    """Return the names of each materialization's metadata, and the number of rows."""
    events = result.get_asset_materialization_events()
    return {
        event.asset_key.to_user_string(): (
            event.materialization.metadata.keys() - ONLY_SPARK,
            event.materialization.metadata["dagster/row_count"].value,
        )
        for event in events
        if "dagster/row_count" in event.materialization.metadata
    }
