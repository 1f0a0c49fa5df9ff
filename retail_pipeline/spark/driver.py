"""The driver's process of the predictions step, with Spark, started through Dagster Pipes.

Usage: `python -m retail_pipeline.spark.driver`, in Spark's environment. The arguments come as
extras of Pipes, the address of the scientist's login as RETAIL_DATABASE_URL.
"""

import os
from collections.abc import Mapping
from typing import Any

from dagster_pipes import PipesContext, open_dagster_pipes

from retail_pipeline.clv.serving.predicting import Prediction, predict
from retail_pipeline.errors import PipelineError
from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database
from retail_pipeline.shared_queries import features_id
from retail_pipeline.spark import scoring
from retail_pipeline.spark.session import session


def main() -> None:
    """Predict, and report the result, or the reason of a failure, as Pipes' message."""
    with open_dagster_pipes() as pipes:
        try:
            database = Database(os.environ["RETAIL_DATABASE_URL"])
            result = _predict(pipes, database, pipes.extras)
        except Exception as error:
            reason = reason_of(error)
            if reason is None:
                raise
            result = {"failed": reason}
        pipes.report_custom_message(result)


def _predict(pipes: PipesContext, database: Database, extras: Mapping[str, Any]) -> dict[str, Any]:
    lake = Lake(extras["lake"])
    build = lake.build
    if not build.is_published(features_id(database)):
        raise PipelineError(
            f"the marts in {lake.address} are not those of PostgreSQL: materialize the group "
            "warehouse with RETAIL_ENGINE=spark first"
        )
    executors: dict[str, int] = {}
    with session("retail predictions") as spark:
        scorer = scoring.scorer(spark, build, executors)
        rows, metadata = predict(database, Prediction.of_json(extras), scorer)
    for executor, customers in executors.items():
        pipes.log.info(f"the executor {executor} scored {customers:,} customers")
    return {"rows": rows, "metadata": metadata, "executors": executors}


def reason_of(error: Exception) -> str | None:
    """Return the reason of an error that people can act on, also of one in a worker; else None."""
    if isinstance(error, PipelineError):
        return str(error)
    _, found, words = str(error).partition(f"{PipelineError.__module__}.PipelineError: ")
    return words.partition("\n")[0] if found else None


if __name__ == "__main__":
    main()
