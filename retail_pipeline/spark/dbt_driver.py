"""The driver's process of the dbt step: lands the tables and builds the warehouse of the lake.

Usage: `python -m retail_pipeline.spark.dbt_driver LAKE` in Spark's environment, with the variables
of `warehouse.project.dbt_environment`, and the address of the transformer's login as
RETAIL_DATABASE_URL. It writes dbt's log to its output and dbt's artifacts to DBT_TARGET_PATH.
"""

import os
import sys
from datetime import date
from pathlib import Path

from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database
from retail_pipeline.settings import NO_CODES
from retail_pipeline.spark.building import LANDED, build_on_spark
from retail_pipeline.spark.driver import reason_of
from retail_pipeline.spark.landing import land
from retail_pipeline.spark.session import session
from retail_pipeline.warehouse.project import REASON


def main(folder: str) -> None:
    """Land and build; after a failure, the reason is among the artifacts."""
    variables, lake = os.environ, Lake(Path(folder).absolute())
    artifacts = Path(variables["DBT_TARGET_PATH"])
    try:
        with session("retail warehouse") as spark:
            land(spark, Database(variables["RETAIL_DATABASE_URL"]), lake, LANDED)
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


if __name__ == "__main__":
    main(sys.argv[1])
