"""The checks of a landing table find changed columns, unusual volumes and other totals."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from retail_pipeline.airbyte_engine.engine import Engine
from retail_pipeline.ingestion.checks import (
    check_rows,
    check_schema,
    check_volume,
)
from retail_pipeline.ingestion.landing import (
    Drift,
    Landed,
    Volume,
    count_volume,
    find_drift,
)
from retail_pipeline.ingestion.totals import Totals
from retail_pipeline.postgres import Database
from retail_pipeline_tests.airbyte_engine.paged_api import PagedApi, products, serving
from retail_pipeline_tests.airbyte_engine.test_sync import PRODUCTS, engine_for

COLUMNS = ["product_id", "name", "category", "price", "cost", "currency", "recorded_at"]


@pytest.fixture
def api() -> Iterator[PagedApi]:
    with serving(PagedApi({"products": []}, page=20)) as served:
        yield served


def drift_of_a_sync(database: Database, engine: Engine, api: PagedApi, records: list) -> Drift:
    api.streams["products"] = records
    since = datetime.now(UTC)
    job = engine.wait(engine.start(PRODUCTS).job_id)
    assert job.status == "succeeded"
    undeclared = job.undeclared.get("products", [])
    return find_drift(database, "products", COLUMNS, since=since, undeclared=undeclared)


@pytest.mark.parametrize("page_loop", [True, False])
def test_columns_that_come_change_and_go_are_named(
    database: Database, api: PagedApi, page_loop: bool
) -> None:
    with engine_for(database, api.address) as engine:
        engine.page_loop = page_loop
        assert drift_of_a_sync(database, engine, api, products(30)) == Drift()

        changed = products(50, day="2011-02-01")
        for record in changed:
            record["colour"] = "red"  # a new column
            del record["name"]  # a removed one
        for record in changed[3:5]:
            record["price"] = {"amount": 1}  # another type
        changed[7]["recorded_at"] = "yesterday"  # and a required one
        drift = drift_of_a_sync(database, engine, api, changed)
    assert drift == Drift(("colour",), {"price": 2, "recorded_at": 1}, ("name",))
    check = check_schema("products", drift)
    assert (check.passed, check.severity.value) == (False, "WARN")
    assert check.description == (
        "not declared: colour; values that do not fit: price (2), recorded_at (1); "
        "no longer served: name"
    )
    assert check_schema("products", Drift()).passed


def test_an_odd_week_is_noticed(database: Database) -> None:
    end = datetime(2024, 6, 1, tzinfo=UTC)
    with database.connect() as session:
        for day in range(35):
            for number in range(10):
                session.execute(
                    "insert into transactional.products (_airbyte_raw_id, _airbyte_extracted_at, "
                    "_airbyte_meta, _airbyte_generation_id, product_id, updated_at) "
                    "values ('r', now(), '{}', 1, %s, %s)",
                    [f"{day}-{number}", end - timedelta(days=day, hours=1)],
                )
    volume = count_volume(database, "products", "updated_at", end.isoformat())
    assert volume == Volume(70, 70.0)
    assert check_volume("products", volume).passed
    later = count_volume(database, "products", "updated_at", (end + timedelta(days=5)).isoformat())
    assert later == Volume(20, 70.0)
    stalled = check_volume("products", later)
    assert (stalled.passed, stalled.severity.value) == (False, "WARN")
    assert str(stalled.description).startswith(
        "the last week has 20 products, a usual week 70: check that the source"
    )
    assert not check_volume("products", Volume(211, 70)).passed
    assert check_volume("products", Volume(0, 19)).passed, "too few to tell"
    assert check_volume("products", None).passed


def test_totals_may_differ_by_what_the_source_file_allows() -> None:
    totals = Totals(1000, tolerance=0.002)
    assert check_rows("users", Landed(1002, 0), totals).passed
    assert not check_rows("users", Landed(1003, 0), totals).passed
    assert not check_rows("users", Landed(999, 0), Totals(1000)).passed
