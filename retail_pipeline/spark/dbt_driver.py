"""The driver's process of the dbt step: lands the tables and builds the warehouse of the lake.

Usage: `python -m retail_pipeline.spark.dbt_driver LAKE` in Spark's environment, with the variables
of `warehouse.project.dbt_environment`, and the address of the transformer's login as
RETAIL_DATABASE_URL. It writes dbt's log to its output and dbt's artifacts to DBT_TARGET_PATH.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database
from retail_pipeline.settings import NO_CODES
from retail_pipeline.spark.building import LANDED, build_on_spark
from retail_pipeline.spark.driver import reason_of
from retail_pipeline.spark.landing import land
from retail_pipeline.spark.session import session
from retail_pipeline.warehouse.project import REASON

_LOCKS: Final = 0x4C_41_4B
"""The first key of the advisory locks of lakes."""


def main(address: str) -> None:
    """Land and build; after a failure, the reason is among the artifacts."""
    variables, lake = os.environ, Lake(address)
    database = Database(variables["RETAIL_DATABASE_URL"])
    artifacts = Path(variables["DBT_TARGET_PATH"])
    try:
        with only_build(database, lake), session("retail warehouse") as spark:
            land(spark, database, lake, LANDED)
            build_on_spark(
                spark,
                lake,
                as_of=date.fromisoformat(variables["RETAIL_DBT_AS_OF_DATE"]),
                time_zone=variables["RETAIL_DBT_TIME_ZONE"],
                code_list=variables.get("RETAIL_DBT_NON_PRODUCT_CODES", NO_CODES),
                artifacts=artifacts,
            )
    except Exception as error:
        reason = reason_of(error)
        if reason is None:
            raise
        (artifacts / REASON).write_text(reason)
        sys.exit(1)


@contextmanager
def only_build(database: Database, lake: Lake) -> Iterator[None]:
    """Wait until no other builds in the lake; PostgreSQL releases the lock of a lost driver."""
    with database.connect(autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s, hashtext(%s))", [_LOCKS, lake.address])
        yield


if __name__ == "__main__":
    main(sys.argv[1])
