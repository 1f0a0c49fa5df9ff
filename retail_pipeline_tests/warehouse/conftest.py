"""Fixtures of the tests of the warehouse."""

from collections.abc import Iterator

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.conftest import DATABASE, sibling
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker


@pytest.fixture(scope="session")
def dbt_of_all(server_url: str) -> Iterator[DbtWorker]:
    worker = DbtWorker(sibling(server_url, DATABASE))
    yield worker
    worker.close()


@pytest.fixture
def dbt(database: Database, dbt_of_all: DbtWorker) -> DbtWorker:
    """A running dbt process, with the project parsed, that builds in the database of the test."""
    return dbt_of_all
