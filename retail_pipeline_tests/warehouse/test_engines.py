"""DuckDB and Spark build the marts of PostgreSQL from the same landed tables, value for value."""

import os
import signal
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from retail_pipeline.direct_landing import land_records
from retail_pipeline.postgres import Database
from retail_pipeline.retail_api.simulator import simulate
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse.run import dbt_build
from retail_pipeline_tests.warehouse.lake import (
    LakeOfTest,
    differences,
    keys_of_marts,
    read_exactly,
)
from retail_pipeline_tests.warehouse.landing import (
    ODD_TRANSACTIONS,
    land,
    land_file,
    line,
    transaction,
)

pytestmark = pytest.mark.timeout(1800)  # a start of Spark or dbt takes a minute on busy cores
AS_OF = date(2024, 4, 15)
_OPTIONS = """
spark.master local[2]
spark.driver.memory 2g
spark.driver.bindAddress 127.0.0.1
spark.driver.host 127.0.0.1
spark.ui.enabled false
spark.ui.showConsoleProgress false
spark.sql.shuffle.partitions 2
spark.sql.catalogImplementation hive
"""


@pytest.fixture
def lake(tmp_path: Path) -> LakeOfTest:
    """An empty lake, with the engines of the environment that RETAIL_TEST_SPARK names."""
    environment = os.environ.get("RETAIL_TEST_SPARK")
    if not environment:
        pytest.skip("the engines are not named: make spark, RETAIL_TEST_SPARK=ITS FOLDER")
    for folder in ("lake", "conf"):
        (tmp_path / folder).mkdir()
    (tmp_path / "conf" / "spark-defaults.conf").write_text(_OPTIONS)
    return LakeOfTest(Path(environment), tmp_path / "lake", tmp_path / "conf")


def _assert_equal(database: Database, lake: LakeOfTest, as_of: date, settings: Settings) -> None:
    """Build the marts with each engine, and compare every row of every column, and the tests."""
    target = lake.folder / "dbt"
    built = dbt_build(database.url, as_of=as_of, settings=settings, target=target)
    tests = {node.name for node in built if node.kind == "test"}
    lake.land(database)
    rules = ["--time-zone", settings.time_zone, "--code-list", settings.non_product_codes]
    for engine in ("duckdb", "spark"):
        output = lake.build(engine, as_of, *rules)
        ran = {each.split(".")[2] for each in output.split() if each.startswith("test.")}
        assert ran == {*tests, "numbers_have_nine_decimals"}
        for mart, keys in keys_of_marts().items():
            expected = read_exactly(database, f"warehouse.{mart}")
            assert differences(expected, lake.mart(engine, mart), keys, mart) == [], engine
    assert not (lake.folder / "metastore_db").exists()  # the cluster's catalog was not used


def test_a_simulated_shop_with_odd_records(database: Database, lake: LakeOfTest) -> None:
    """RETAIL_TEST_CUSTOMERS=20000 is the size of the measurements in docs/scaling.md."""
    customers = int(os.environ.get("RETAIL_TEST_CUSTOMERS", "150"))
    as_of = date(2025, 1, 1)
    land_records(database, simulate(customers=customers, seed=7, until=as_of).records)
    land(database, "transactions", ODD_TRANSACTIONS)
    rules = Settings(time_zone="Australia/Sydney", non_product_codes="uci_online_retail")
    _assert_equal(database, lake, as_of, rules)


@pytest.mark.slow
def test_real_transactions(database: Database, lake: LakeOfTest, online_retail_ii: Path) -> None:
    land_file(database, online_retail_ii)
    _assert_equal(database, lake, date(2011, 12, 10), Settings())


def test_a_build_that_fails_or_is_killed_leaves_the_tables_of_the_one_before(
    database: Database, lake: LakeOfTest
) -> None:
    product = {
        "product_id": "A1",
        "cost": 1.2345,
        "price": 2,
        "recorded_at": "2023-01-01T00:00:00Z",
    }
    land(database, "products", [product])
    land(database, "transactions", [transaction("T1", "K1", "2024-01-01T10:00:00Z", [line(1)])])
    dbt_build(database.url, as_of=AS_OF)
    lake.land(database)
    lake.build("duckdb", AS_OF)
    file = lake.folder / "retail.duckdb"
    published = file.read_bytes()

    process = lake.start("duckdb", AS_OF)
    while not (lake.folder / "duckdb" / "draft" / "retail.duckdb").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert file.read_bytes() == published

    # Each needs ten decimals: an amount, and the cost of a millionth of a unit.
    odd: list[dict[str, Any]] = [{"amount": "0.1234567891"}, {"quantity": 1e-6, "product_id": "A1"}]
    for each in odd:
        database.execute("delete from transactional.transactions where transaction_id = 'X'")
        row = transaction("X", "K1", "2024-01-01T10:00:00Z", [{"amount": 1, **each}])
        land(database, "transactions", [row])
        lake.land(database)
        failed = lake.start("duckdb", AS_OF)
        output, _ = failed.communicate()
        assert failed.returncode == 1
        assert "test numbers_have_nine_decimals" in output
        assert file.read_bytes() == published

    database.execute("delete from transactional.transactions where transaction_id = 'X'")
    lake.land(database)
    lake.build("duckdb", AS_OF)
    assert file.read_bytes() != published
    assert [each.name for each in lake.folder.glob("duckdb/**/*") if each.is_file()] == ["lock"]


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("net_amount", Decimal("1.000000001"), "1 rows"),
        ("net_amount", None, "1 rows"),
        ("order_hours", 1.00000001, "1 rows"),
        ("order_hours", 1 + 1e-12, None),
        ("order_hours", None, "1 rows"),
        ("customer_id", "b", "1 rows"),
    ],
)
def test_a_difference_is_found(column: str, value: Any, found: str | None) -> None:
    def table(**changes: Any) -> pa.Table:
        row = {"customer_id": "a", "net_amount": Decimal(1), "order_hours": 1.0, **changes}
        types = {"net_amount": pa.decimal128(38, 9), "order_hours": pa.float64()}
        return pa.table(
            {
                name: pa.array([item, item], types.get(name, pa.string()))
                for name, item in row.items()
            }
        )

    other = pa.concat_tables([table().slice(1), table(**{column: value}).slice(1)])
    sentences = differences(table(), other, ["customer_id"], "customer_day_entries")
    assert [column in each and str(found) in each for each in sentences] == [True] * bool(found)
