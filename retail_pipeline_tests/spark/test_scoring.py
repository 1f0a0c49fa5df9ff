"""Predictions on Spark equal those on one machine, whichever process is lost on the way."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import AssetSelection, ExecuteInProcessResult

from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings
from retail_pipeline.shared_queries import features_id
from retail_pipeline_tests.clv.test_assets import (
    ENTRIES,
    FEATURES,
    fill,
    materialization,
    run,
)
from retail_pipeline_tests.spark.conftest import DRIVER, EXECUTOR, killed

PREDICTIONS = AssetSelection.assets("clv/predictions", "clv/totals").without_checks()
_NINE = pa.decimal128(38, 9)


@pytest.fixture
def ran(database: Database) -> Iterator[Database]:
    """A database after a run on one machine, with costs of products and so with margins."""
    fill(database, ENTRIES, FEATURES)
    with database.connect() as connection:
        _sell(connection)
    assert run(database, discount_rate=0.1).success
    yield database


def _sell(connection: psycopg.Connection) -> None:
    """Insert lines of three products, two with a cost, and some of no customer or not counted."""
    bought = ENTRIES[ENTRIES["net_amount"] > 0].reset_index(drop=True)
    for number, entry in bought.iterrows():
        day = entry["date_day"].date()
        connection.execute(
            "insert into warehouse.fct_transaction_items (customer_id, product_id, quantity, "
            "net_amount, is_excluded, transacted_at, recorded_at) "
            "values (%s, %s, %s, %s, %s, %s, %s)",
            [
                *(entry["customer_id"] if number % 17 else None, f"p{number % 3}"),
                *(1 + number % 4 if number % 13 else -1, entry["net_amount"], number % 11 == 0),
                *(day, day),
            ],
        )
    connection.execute(
        "insert into warehouse.product_costs values ('p0', 3.333333333, '2020-01-01', null, null), "
        "('p1', 7.1, '2020-01-01', null, '2020-09-01'), "
        "('p1', 8.25, '2020-08-01', '2020-09-01', null)"
    )


def fill_lake(lake: Lake, database: Database) -> None:
    """Write the marts that are read for scoring, as dbt on Spark would."""
    decimals = ("quantity", "net_amount", "cost")
    with lake.building():
        pass
    for mart in ("customer_features", "fct_transaction_items", "product_costs"):
        table = pa.Table.from_pandas(database.read(f"warehouse.{mart}"), preserve_index=False)
        for place, field in enumerate(table.schema):
            column = table.column(place)
            if mart != "customer_features" and field.name in decimals:
                exact = column.cast(pa.decimal128(20, 9)).cast(_NINE)
                table = table.set_column(place, field.name, exact)
            elif pa.types.is_timestamp(field.type) and not field.type.tz:
                table = table.set_column(place, field.name, column.cast(pa.date32()))
            elif pa.types.is_timestamp(field.type):
                exact = column.cast(pa.timestamp("us", "UTC"))
                table = table.set_column(place, field.name, exact)
        folder = f"{lake.build.folder}/warehouse/{mart}"
        lake.files.create_dir(folder)
        pq.write_table(table, f"{folder}/part.parquet", filesystem=lake.files)
    lake.build.note_published(features_id(database))


def predict(database: Database, settings: Settings) -> ExecuteInProcessResult:
    return run(database, selection=PREDICTIONS, settings=settings, discount_rate=0.1)


def served(database: Database) -> tuple[pd.DataFrame, pd.DataFrame]:
    predictions = database.read("clv.predictions", where="true order by customer_id")
    totals = database.read("clv.totals", where="true order by grouping, group_value")
    return predictions.drop(columns="predicted_at"), totals


def test_two_executors_predict_as_one_machine(ran: Database, spark: Settings) -> None:
    fill_lake(Lake(spark.lake_address), ran)
    predictions, totals = served(ran)
    assert predictions["predicted_margin"].notna().all()
    ran.execute("delete from clv.predictions")
    ran.execute("delete from clv.totals")

    result = predict(ran, spark)

    assert result.success
    metadata = materialization(result, "predictions").metadata
    executors = metadata["executors"].value
    assert len(executors) == 2
    assert sum(executors.values()) == len(predictions) == metadata["dagster/row_count"].value
    found, sums = served(ran)
    pd.testing.assert_frame_equal(found, predictions, rtol=1e-9, atol=0)
    pd.testing.assert_frame_equal(sums, totals, rtol=1e-9, atol=0)
    assert Lake(spark.lake_address).folders("scored") == []

    ran.execute("alter table warehouse.customer_features rename to earlier")
    ran.execute("create table warehouse.customer_features as table warehouse.earlier")
    ran.execute("grant select on warehouse.customer_features to retail_scientist")
    (failure,) = predict(ran, spark).get_step_failure_events()
    assert "are not those of PostgreSQL" in str(failure.step_failure_data.error)


def test_a_lost_driver_changes_nothing_and_a_lost_executor_costs_no_customer(
    ran: Database, spark: Settings
) -> None:
    lake = Lake(spark.lake_address)
    fill_lake(lake, ran)
    predictions, _ = served(ran)
    is_scoring = _is_writing(lake.folder / "scored")

    with killed(spark, DRIVER, is_scoring) as victims:
        lost = predict(ran, spark)
    assert victims and not lost.success
    (failure,) = lost.get_step_failure_events()
    assert "Spark's driver has ended without a result" in str(failure.step_failure_data.error)
    pd.testing.assert_frame_equal(served(ran)[0], predictions)

    ran.execute("delete from clv.predictions")
    with killed(spark, EXECUTOR, is_scoring) as victims:
        again = predict(ran, spark)
    assert victims and again.success
    pd.testing.assert_frame_equal(served(ran)[0], predictions, rtol=1e-9, atol=0)


def _is_writing(folder: Path) -> Callable[[], bool]:
    """Return a function that returns whether workers write results under a folder."""
    return lambda: any(folder.glob("*/first/_temporary"))
