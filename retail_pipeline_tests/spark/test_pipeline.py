"""The main job with Spark has the results of PostgreSQL, with an executor lost on the way."""

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
from retail_pipeline.settings import Engine, Settings, SimulatorSource
from retail_pipeline_tests.spark.conftest import EXECUTOR, killed

AS_OF = date(2024, 1, 1)
DBT_DRIVER = "retail_pipeline.spark.dbt_driver"
ONLY_SPARK = {"executors"}
"""Metadata that only Spark's materializations have."""


@pytest.fixture
def settings(database: Database, home: Path, spark: Settings) -> Settings:
    assert spark.home == home
    changes = {"database_url": database.url, "source": SimulatorSource(150, seed=11)}
    return spark.model_copy(update=changes)


def run(settings: Settings) -> ExecuteInProcessResult:
    definitions = build_definitions(settings)
    job = definitions.resolve_job_def("pipeline")
    wanted = AssetSelection.from_string('+key:"clv/totals" or group:warehouse')
    chosen = wanted.resolve(definitions.resolve_asset_graph())
    return job.execute_in_process(
        instance=DagsterInstance.ephemeral(),
        asset_selection=list(chosen & job.asset_layer.executable_asset_keys),
        run_config={
            "resources": {
                "run_window": {"config": {"as_of": AS_OF.isoformat(), "horizon_days": 60}}
            }
        },
        raise_on_error=False,
    )


@pytest.mark.timeout(1800)
def test_spark_builds_and_predicts_what_postgresql_does(
    settings: Settings, database: Database
) -> None:
    expected = run(settings.model_copy(update={"engine": Engine.POSTGRES}))
    assert expected.success
    tables = dict(_tables(database))
    lake = Lake(settings.lake_folder)

    with killed(
        settings, DBT_DRIVER, lambda: any(lake.folder.glob("builds/*/*/warehouse/*"))
    ) as lost:
        failed = run(settings)
    assert lost and not failed.success
    assert dict(_tables(database, "warehouse")).keys() <= tables.keys()
    for name, table in _tables(database, "warehouse"):
        pd.testing.assert_frame_equal(table, tables[name])

    features = "builds/*/*/warehouse/customer_features/_temporary"
    with killed(settings, EXECUTOR, lambda: any(lake.folder.glob(features))) as lost:
        result = run(settings)
    assert lost and result.success
    found = dict(_tables(database))
    assert found.keys() == tables.keys()
    for name, table in tables.items():
        pd.testing.assert_frame_equal(found[name], table, rtol=1e-9, atol=1e-9, obj=name)
    assert _checks(result) == _checks(expected)
    assert _metadata(result) == _metadata(expected)
    indexes = "select tablename, indexdef from pg_indexes where schemaname = 'warehouse'"
    assert len(database.query(indexes)) >= len(lake.marts())


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
