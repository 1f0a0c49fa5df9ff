"""The Spark session of a driver.

Master, memory and addresses are Spark's own options, from `spark-defaults.conf` in the folder
SPARK_CONF_DIR (`deploy/spark/conf` is for one machine). Here is only what results depend on.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from retail_pipeline.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_OPTIONS: Final = {
    "spark.sql.session.timeZone": "UTC",
    # The session's databases are its own: nothing of it stays in a cluster's metastore.
    "spark.sql.catalogImplementation": "in-memory",
    # A value that does not fit its type is an error, and never null.
    "spark.sql.ansi.enabled": "true",
    # The rows of a worker's part in memory.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}


@contextmanager
def session(name: str) -> Iterator["SparkSession"]:
    """Yield a new session, and stop it with its processes at the end; it leaves no file behind.

    Args:
        name: The name of the application, as Spark's pages show it.
    """
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(name)
    for option, value in _OPTIONS.items():
        builder = builder.config(option, value)
    paths = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # The workers of one machine import the package from the checkout; on a cluster it is installed.
    builder = builder.config("spark.executorEnv.PYTHONPATH", os.pathsep.join(paths))
    with tempfile.TemporaryDirectory(prefix="retail-spark-") as unused:
        spark = builder.config("spark.sql.warehouse.dir", unused).getOrCreate()
        try:
            yield spark
        finally:
            spark.stop()


def parts_of(spark: "SparkSession") -> int:
    """Return the number of parts of a step: Spark's option for the partitions of a shuffle.

    The fewer, the more is computed again after a lost worker.
    """
    return int(spark.conf.get("spark.sql.shuffle.partitions") or 0)
