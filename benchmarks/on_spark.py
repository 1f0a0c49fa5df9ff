"""The steps of the benchmark `spark` in Spark's environment; prints the seconds of each.

Usage: `python -m benchmarks.on_spark LAKE AS_OF`, with the addresses of the logins of dbt and of
the models as TRANSFORMER_URL and SCIENTIST_URL.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from retail_pipeline.clv.serving.predicting import Prediction, predict
from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database
from retail_pipeline.spark import building, landing, scoring
from retail_pipeline.spark.session import session

SELECTED = ("+customer_features", "+fct_transaction_items", "+product_costs")
"""The models that scoring reads, with all that they are built from."""


def predicted(as_of: date) -> Prediction:
    """Return the predictions that are asked for at a date."""
    return Prediction(as_of, horizon_days=180, default_horizon_days=180, discount_rate=0.1)


def main(folder: str, day: str) -> None:
    """Land, build and predict, as the steps of a run do."""
    lake, as_of = Lake(folder), date.fromisoformat(day)
    with _timed("landing"), session("landing") as spark:
        landing.land(spark, Database(os.environ["TRANSFORMER_URL"]), lake, building.LANDED)
    with _timed("features"), session("features") as spark:
        building.build_on_spark(spark, lake, as_of=as_of, select=SELECTED)
    with _timed("scoring"), session("scoring") as spark:
        scorer = scoring.scorer(spark, lake.build, {})
        predict(Database(os.environ["SCIENTIST_URL"]), predicted(as_of), scorer)


@contextmanager
def _timed(step: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    sys.stdout.write(f"{step} took {time.perf_counter() - began:.1f} s\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
