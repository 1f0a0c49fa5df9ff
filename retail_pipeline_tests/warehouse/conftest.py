"""What the warehouse's tests share."""

from collections.abc import Iterator

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker


@pytest.fixture
def dbt(database: Database) -> Iterator[DbtWorker]:
    worker = DbtWorker(database.url)
    yield worker
    worker.close()
