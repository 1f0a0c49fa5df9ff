"""Starts Spark's driver as a part of a step, through Dagster Pipes.

The driver runs in Spark's own environment (`make spark`). Its messages are in the run's log, its
result is the step's. Spark repeats the parts of a lost worker; a lost driver fails the step, which
can be run again, as every result is published in one transaction.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg

from retail_pipeline.errors import PipelineError
from retail_pipeline.files import private_folder
from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT, Settings

_CONFIGURATION: Final = PROJECT_ROOT / "deploy" / "spark" / "conf"
_OF_IMAGE: Final = Path("/opt/spark/venv")
"""Spark's environment on machines of a cluster, at one path on all of them."""


def run_driver(settings: Settings, database: Database, **extras: Any) -> dict[str, Any]:
    """Return the result of `retail_pipeline.spark.driver`, as part of the current step.

    Args:
        settings: The settings, with the lake.
        database: The database with the role that the driver needs; it has no other login.
        extras: Its arguments, as JSON values.

    Raises:
        PipelineError: Spark's environment is missing.
        dagster.Failure: The driver failed, or its process was ended.
    """
    context = dg.OpExecutionContext.get()
    command = [str(spark_program(settings, "python")), "-m", "retail_pipeline.spark.driver"]
    client = dg.PipesSubprocessClient(env=spark_environment(settings, database))
    extras = {"lake": settings.lake_address, **extras}
    try:
        done = client.run(context=context, command=command, extras=extras)
    except Exception as error:  # of Pipes; its class has no public name
        raise dg.Failure(
            f"Spark's driver has ended without a result ({error}); its output is in the "
            "step's log. Run the step again: what was published before is unchanged",
            allow_retries=False,
        ) from error
    (result,) = done.get_custom_messages()
    if "failed" in result:
        raise dg.Failure(result["failed"], allow_retries=False)
    return dict(result)


def spark_program(settings: Settings, name: str) -> Path:
    """Return a program of Spark's environment.

    Raises:
        PipelineError: The environment is missing.
    """
    own = settings.home / "spark" / "venv"
    for environment in (_OF_IMAGE, own):
        if (path := environment / "bin" / name).exists():
            return path
    raise PipelineError(
        f"RETAIL_ENGINE=spark needs Spark, and {own / 'bin' / name} is missing: run `make spark`"
    )


def spark_environment(settings: Settings, database: Database) -> Mapping[str, str]:
    """Return the environment variables of a driver, password included.

    With SPARK_CONF_DIR in the pipeline's environment, Spark is as that folder configures it;
    otherwise it runs on this machine alone.
    """
    shared = {
        "RETAIL_DATABASE_URL": database.url,
        "PYTHONPATH": str(PROJECT_ROOT),
        "PYSPARK_PYTHON": str(spark_program(settings, "python")),
    }
    if "SPARK_CONF_DIR" in os.environ:
        return shared
    # A part of the lake, because `forget` removes it with all that a killed Spark has left.
    scratch = private_folder(settings.home / "lake" / "scratch")
    return {
        **shared,
        "SPARK_CONF_DIR": str(_CONFIGURATION),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(scratch),
    }
