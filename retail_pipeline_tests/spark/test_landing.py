"""Landed tables in the lake hold the rows of PostgreSQL, without personal data."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from retail_pipeline.dagster_support.spark_driver import spark_environment, spark_program
from retail_pipeline.direct_landing import land_records
from retail_pipeline.errors import PipelineError
from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database, Role
from retail_pipeline.retail_api.source.dataset import open_dataset
from retail_pipeline.settings import Settings, SimulatorSource

USERS, TRANSACTIONS = "transactional.users", "transactional.transactions"


_LAND = """
import sys
from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database
from retail_pipeline.spark.landing import land
from retail_pipeline.spark.session import session
with session("landing") as spark:
    land(spark, Database(sys.argv[1]), Lake(sys.argv[2]), sys.argv[3:])
"""


def land(
    database: Database, settings: Settings, tables: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    transformer = database.as_role(Role.TRANSFORMER)
    transformer.execute("select")  # creates the login
    python = spark_program(settings, "python")
    return subprocess.run(
        [python, "-c", _LAND, transformer.url, settings.lake_address, *tables],
        env={**os.environ, **spark_environment(settings, transformer)},
        cwd=settings.home,
        capture_output=True,
        text=True,
        check=False,
    )


def read(lake: Lake, table: str) -> pd.DataFrame:
    return lake.read(lake.landed(table)).to_table().to_pandas(date_as_object=False)


def test_the_lake_has_the_rows_of_the_tables(database: Database, spark: Settings) -> None:
    land_records(database, open_dataset(SimulatorSource(customers=400, seed=3)).records)
    # Pages of rows that were moved on: a part of a table's pages may be empty.
    database.execute(f"update {USERS} set country = 'France' where user_id > 'C0000200'")
    done = land(database, spark, [USERS, TRANSACTIONS])
    assert done.returncode == 0, done.stderr

    lake = Lake(spark.lake_address)
    for table, key in ((USERS, "user_id"), (TRANSACTIONS, "transaction_id")):
        landed = read(lake, table).sort_values(key, ignore_index=True)
        there = database.read(table, where=f'true order by {key} collate "C"')
        hidden = [name for name in ("name", "email", "phone", "address") if name in landed]
        assert landed[hidden].isna().all(axis=None)
        pd.testing.assert_frame_equal(
            landed.drop(columns=hidden), there.drop(columns=hidden), check_dtype=False
        )
        assert len(lake.read(lake.landed(table)).files) > 1

    database.execute("create table transactional.prices (price numeric)")
    database.execute("grant select on transactional.prices to retail_transformer")
    database.execute("insert into transactional.prices values (1.999999999), (0.0000000001)")
    done = land(database, spark, [USERS, "transactional.prices"])
    assert done.returncode != 0
    assert "a number of the column price does not fit decimal(38,9)" in done.stderr
    assert len(read(lake, TRANSACTIONS)) > 400


def test_without_its_environment_spark_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="run `make spark`"):
        spark_program(Settings(home=tmp_path), "python")
