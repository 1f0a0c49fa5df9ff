"""Fixtures of the tests of the command line."""

from pathlib import Path

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.cli.command import Cli


@pytest.fixture
def cli(database: Database, tmp_path: Path) -> Cli:
    return Cli({"RETAIL_HOME": str(tmp_path / "home"), "RETAIL_DATABASE_URL": database.url})
