"""A lake for the tests of the engines: tables landed by COPY, marts read back and compared."""

import subprocess
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.arrow import connect
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline.spark.building import LANDED
from retail_pipeline.warehouse.project import read_manifest

NUMBER = pa.decimal128(38, 9)
QUOTIENTS = {
    "customer_day_entries.order_hours",
    "customer_features.mean_list_price",
    "customer_features.mean_purchase_value",
    "customer_features.mean_unit_price",
    "customer_features.net_amount_ewm_90d",
    "customer_features.sd_purchase_value",
    "fct_returned_items.sold_at_unit_amount",
}
"""Columns without exact decimals: numeric in PostgreSQL, doubles in the other engines."""

_TYPES = {"integer": pa.int64(), "bigint": pa.int64(), "double precision": pa.float64()}
_EXPORT = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    for table in sys.argv[3:]:
        connection.execute(f"copy warehouse.{table} to '{sys.argv[2]}/{table}.parquet'")
"""


class LakeOfTest:
    """A lake that an engine builds from the tables of a database.

    Args:
        environment: The folder of the environment of `make spark`.
        folder: The folder of the lake.
        configuration: The folder of Spark's options.
    """

    def __init__(self, environment: Path, folder: Path, configuration: Path) -> None:
        self.python = environment.absolute() / "bin" / "python"
        self.folder = folder
        self.variables = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(PROJECT_ROOT),
            "SPARK_CONF_DIR": str(configuration),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }

    def land(self, database: Database) -> None:
        """Write the landed tables as Parquet, as the models of the lake expect them."""
        with Lake(self.folder).landing() as landing:
            for table in LANDED:
                path = self.folder.joinpath(landing, *table.split("."))
                path.mkdir(parents=True)
                pq.write_table(read_exactly(database, table), path / "0.parquet")

    def start(self, engine: str, as_of: date, *arguments: str) -> "subprocess.Popen[str]":
        """Start a build of the landed tables."""
        program = [str(self.python), "-m", "retail_pipeline.spark.building"]
        return subprocess.Popen(
            [*program, engine, str(self.folder), "--as-of", str(as_of), *arguments],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def build(self, engine: str, as_of: date, *arguments: str) -> str:
        """Build and wait for the end; return the output."""
        process = self.start(engine, as_of, *arguments)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    def mart(self, engine: str, table: str) -> pa.Table:
        """Return a table of the last build."""
        if engine == "spark":
            return Lake(self.folder).build.read(f"warehouse.{table}").to_table()
        command = [self.python, "-c", _EXPORT, self.folder / "retail.duckdb", self.folder, table]
        subprocess.run(list(map(str, command)), check=True)
        return pq.read_table(self.folder / f"{table}.parquet")


def read_exactly(database: Database, table: str, keys: str = "1") -> pa.Table:
    """Return a table of PostgreSQL: numeric as decimals of nine digits, or as text with more."""
    schema, name = table.split(".")
    with database.connect() as connection:
        kinds: Mapping[str, str] = dict(
            connection.execute(
                "select attname::text, format_type(atttypid, null) from pg_attribute where "
                "attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
                [table],
            ).fetchall()
        )
    texts = {"numeric", "jsonb"}
    columns = [f"{c}::text as {c}" if kinds[c] in texts else c for c in kinds]
    with connect(database.url) as arrow, arrow.cursor() as cursor:
        cursor.execute(f"select {', '.join(columns)} from {schema}.{name} order by {keys}")
        found: pa.Table = cursor.fetch_arrow_table()
    for index, (column, kind) in enumerate(kinds.items()):
        if kind == "numeric" and f"{name}.{column}" not in QUOTIENTS:
            found = found.set_column(index, column, found[column].cast(NUMBER))
    return found


def keys_of_marts() -> dict[str, list[str]]:
    """Return the key of each mart, from its test."""
    nodes = read_manifest()["nodes"]
    tests = [node for node in nodes.values() if node["resource_type"] == "test"]
    keys = {
        test["attached_node"].split(".")[-1]: test["test_metadata"]["kwargs"]["columns"]
        for test in tests
        if (test.get("test_metadata") or {}).get("name") == "primary_key"
    }
    marts = [n["name"] for n in nodes.values() if n["resource_type"] == "model"]
    schemas = {n["name"]: n["schema"] for n in nodes.values()}
    return {mart: keys[mart] for mart in marts if schemas[mart] == "warehouse"}


def differences(expected: pa.Table, found: pa.Table, keys: list[str], name: str) -> list[str]:
    """Return a sentence for each column of a mart that differs from PostgreSQL's."""
    if expected.column_names != found.column_names:
        return [f"{name} has the columns {found.column_names}"]
    if len(expected) != len(found):
        return [f"{name} has {len(found)} rows, and {len(expected)} in PostgreSQL"]
    order = [(key, "ascending") for key in keys]
    expected, found = expected.sort_by(order), found.sort_by(order)
    return [
        f"{name}.{column} differs: {difference}"
        for column in expected.column_names
        if (difference := _difference(expected[column], found[column], f"{name}.{column}"))
    ]


def _difference(expected: pa.ChunkedArray, found: pa.ChunkedArray, column: str) -> str | None:
    kind = expected.type
    if column in QUOTIENTS or pa.types.is_floating(kind):
        if not pa.types.is_float64(found.type):
            return f"type {found.type}"
        left = expected.cast(pa.float64()).to_numpy().astype(float)
        right = found.to_numpy().astype(float)
        equal = np.isclose(left, right, rtol=1e-9, atol=1e-9, equal_nan=True)
        return _first(expected, found, equal)
    if pa.types.is_integer(kind) and pa.types.is_integer(found.type):
        kind = pa.int64()
    elif pa.types.is_timestamp(kind):
        kind = pa.timestamp("us", "UTC")
    if found.type != kind and not pa.types.is_integer(kind) and not pa.types.is_timestamp(kind):
        return f"type {found.type}"
    left, right = expected.cast(kind), found.cast(kind)
    equal = pc.fill_null(pc.equal(left, right), False).to_numpy()
    both_null = pc.and_(left.is_null(), right.is_null()).to_numpy()
    return _first(expected, found, equal | both_null)


def _first(expected: Any, found: Any, equal: "np.ndarray[Any, Any]") -> str | None:
    if equal.all():
        return None
    row = int(np.argmin(equal))
    return f"{int((~equal).sum())} rows, such as {found[row]} for {expected[row]}"
