"""The warehouse built by Spark or DuckDB from the tables landed in the lake.

Models, data tests and dbt are those of PostgreSQL's build. Snapshots are landed, as PostgreSQL
keeps the versions. This module runs in the environment of `make spark`:

    python -m retail_pipeline.spark.building duckdb LAKE --as-of 2025-01-01
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retail_pipeline.errors import PipelineError
from retail_pipeline.files import locked, remove, usable_folder
from retail_pipeline.lake import Lake
from retail_pipeline.settings import NO_CODES, PROJECT_ROOT, parse_lake
from retail_pipeline.spark.session import session
from retail_pipeline.warehouse.results import read_failures

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LANDED = (
    "transactional.products",
    "transactional.users",
    "transactional.transactions",
    "intermediate.product_versions",
    "intermediate.customer_versions",
)
"""The landed tables that the models read; all others are built."""

_SCHEMAS = ("transactional", "staging", "intermediate", "warehouse")


def build_on_spark(
    spark: "SparkSession",
    lake: Lake,
    *,
    as_of: date | None = None,
    time_zone: str = "UTC",
    code_list: str = NO_CODES,
    select: Sequence[str] = (),
    artifacts: Path | None = None,
) -> Mapping[str, float]:
    """Build all tables as Parquet in the lake; return the seconds of each model and test.

    A reader sees all tables of one build, and a build that fails or is killed leaves the tables of
    the one before.

    Args:
        spark: The session, which has built no warehouse before; dbt's statements run in it.
        lake: The lake with the landed tables.
        as_of: The as-of date: only data before 00:00 of this day count; with None, all data.
        time_zone: The zone of the shop's days.
        code_list: The list of codes that are not products.
        select: Nodes to build in dbt's selection syntax; all by default.
        artifacts: A folder for dbt's artifacts, with dbt's log on the output; by default neither.

    Raises:
        PipelineError: A model or a test of severity error failed; the message names it.
    """
    variables = _variables(as_of, time_zone, code_list)
    with lake.building() as folder:
        for schema in _SCHEMAS:
            spark.sql(f"create database {schema} location '{lake.uri(f'{folder}/{schema}')}'")
        for table in LANDED:
            path = lake.uri(lake.landed(table))
            spark.sql(f"create view {table} as select * from parquet.`{path}`")
        return _build("spark", variables, select, artifacts)


def build_on_duckdb(
    lake: Lake,
    *,
    as_of: date | None = None,
    time_zone: str = "UTC",
    code_list: str = NO_CODES,
) -> Mapping[str, float]:
    """Build the file `LAKE/retail.duckdb`, as `build_on_spark` does, on this machine alone.

    Raises:
        PipelineError: The lake is no folder, or a model or a test of severity error failed; the
            message names it.
    """
    import duckdb

    variables = _variables(as_of, time_zone, code_list)
    folder = usable_folder(lake.folder / "duckdb")
    with locked(folder / "lock"):
        remove(folder / "draft")
        draft = usable_folder(folder / "draft") / "retail.duckdb"
        with duckdb.connect(str(draft)) as connection:
            for schema in _SCHEMAS:
                connection.execute(f"create schema {schema}")
            for table in LANDED:
                files = lake.folder / lake.landed(table) / "*.parquet"
                connection.execute(f"create view {table} as select * from read_parquet('{files}')")
        seconds = _build("duckdb", {**variables, "duckdb_file": str(draft)})
        draft.replace(lake.folder / draft.name)
    return seconds


def _variables(as_of: date | None, time_zone: str, code_list: str) -> dict[str, Any]:
    return {
        "as_of_date": as_of.isoformat() if as_of else None,
        "time_zone": time_zone,
        "non_product_codes": code_list,
    }


def _build(
    engine: str,
    variables: Mapping[str, Any],
    select: Sequence[str] = (),
    artifacts: Path | None = None,
) -> dict[str, float]:
    """Run dbt in this process; return the seconds of each node by its id."""
    from dbt.cli.main import dbtRunner

    project = str(PROJECT_ROOT / "dbt_project")
    with tempfile.TemporaryDirectory(prefix="retail-dbt-") as temporary:
        folder = artifacts or Path(temporary)
        done = dbtRunner().invoke(
            [
                *("build", "--target", engine, "--vars", json.dumps(variables)),
                *("--project-dir", project, "--profiles-dir", project),
                *("--target-path", str(folder), "--log-path", str(folder)),
                *("--exclude-resource-type", "unit_test", "snapshot"),
                *(("--select", *select) if select else ()),
                *("--indirect-selection", "buildable"),
                *(() if artifacts else ("--quiet",)),
            ]
        )
        failures = read_failures(folder)
        if failures:
            raise PipelineError(failures.message)
        if not done.success:
            raise PipelineError(f"dbt did not start to build: {done.exception}")
        results = json.loads((folder / "run_results.json").read_text())["results"]
    return {each["unique_id"]: each["execution_time"] for each in results}


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the warehouse of a lake, and print the seconds of each model."""
    parser = argparse.ArgumentParser(description="Build the warehouse of a lake.")
    parser.add_argument("engine", choices=["duckdb", "spark"])
    parser.add_argument("lake", type=lambda text: Lake(parse_lake(text, "LAKE")))
    parser.add_argument("--as-of", type=date.fromisoformat)
    parser.add_argument("--time-zone", default="UTC")
    parser.add_argument("--code-list", default=NO_CODES)
    given = vars(parser.parse_args(arguments))
    engine = given.pop("engine")
    try:
        if engine == "duckdb":
            seconds = build_on_duckdb(**given)
        else:
            with session("retail warehouse") as spark:
                seconds = build_on_spark(spark, **given)
    except PipelineError as error:
        sys.exit(str(error))
    sys.stdout.writelines(f"{taken:8.1f} s  {node}\n" for node, taken in seconds.items())


if __name__ == "__main__":
    main()
