"""Landed tables in the lake hold the rows of PostgreSQL, without personal data."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pandas as pd

from retail_pipeline.dagster_support.spark_driver import run_driver
from retail_pipeline.direct_landing import land_records
from retail_pipeline.lake import Lake, read_parquet
from retail_pipeline.postgres import Database, Role
from retail_pipeline.retail_api.source.dataset import open_dataset
from retail_pipeline.settings import Settings, SimulatorSource

USERS, TRANSACTIONS = "transactional.users", "transactional.transactions"


def land(
    database: Database, settings: Settings, tables: Sequence[str]
) -> dg.ExecuteInProcessResult:
    @dg.op
    def landing() -> None:
        run_driver(settings, database.as_role(Role.TRANSFORMER), "land", tables=list(tables))

    @dg.job
    def job() -> None:
        landing()

    database.as_role(Role.TRANSFORMER).execute("select")  # creates the login
    return job.execute_in_process(raise_on_error=False)


def test_the_lake_has_the_rows_of_the_tables(database: Database, spark: Settings) -> None:
    land_records(database, open_dataset(SimulatorSource(customers=400, seed=3)).records)
    # Pages of rows that were moved on: a part of a table's pages may be empty.
    database.execute(f"update {USERS} set country = 'France' where user_id > 'C0000200'")
    assert land(database, spark, [USERS, TRANSACTIONS]).success

    lake = Lake(spark.lake_folder)
    for table, key in ((USERS, "user_id"), (TRANSACTIONS, "transaction_id")):
        landed = read_parquet(lake.landed(table)).sort_values(key, ignore_index=True)
        there = database.read(table, where=f'true order by {key} collate "C"')
        hidden = [name for name in ("name", "email", "phone", "address") if name in landed]
        assert landed[hidden].isna().all(axis=None)
        pd.testing.assert_frame_equal(
            landed.drop(columns=hidden), there.drop(columns=hidden), check_dtype=False
        )
        assert len(list(lake.landed(table).glob("*.parquet"))) > 1

    database.execute("create table transactional.prices (price numeric)")
    database.execute("grant select on transactional.prices to retail_transformer")
    database.execute("insert into transactional.prices values (1.999999999), (0.0000000001)")
    result = land(database, spark, [USERS, "transactional.prices"])
    (failure,) = result.get_step_failure_events()
    assert "a number of the column price does not fit decimal(38,9)" in str(
        failure.step_failure_data.error
    )
    assert len(read_parquet(lake.landed(TRANSACTIONS))) > 400
    assert not (lake.folder / "landing.draft").exists()


def test_without_its_environment_spark_names_the_remedy(database: Database, tmp_path: Path) -> None:
    result = land(database, Settings(home=tmp_path), [USERS])
    (failure,) = result.get_step_failure_events()
    assert "run `make spark`" in str(failure.step_failure_data.error)
