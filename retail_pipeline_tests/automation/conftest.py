"""Fixtures: a small graph and a daemon over it, on a fresh Dagster instance."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance

from retail_pipeline_tests.automation.world import Daemon, World


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as kept:
        yield kept


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


@pytest.fixture
def daemon(world: World, instance: DagsterInstance) -> Daemon:
    return Daemon(world, instance)
