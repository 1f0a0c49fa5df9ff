"""Dagster's storage with open connections: few of them, and lost ones are replaced."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from dagster import DagsterInstance, asset, materialize

from retail_pipeline.cli.instance import dagster_environment
from retail_pipeline.postgres.open import sibling_url
from retail_pipeline.settings import Settings


@pytest.fixture
def instance(
    server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DagsterInstance]:
    name = f"storage_{secrets.token_hex(4)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    settings = Settings(home=tmp_path, database_url=sibling_url(server_url, name))
    for variable, value in dagster_environment(settings).items():
        monkeypatch.setenv(variable, value)
    with DagsterInstance.get() as instance:
        yield instance


@asset
def thing() -> None:
    """Do nothing."""


def test_connections_stay_open_and_a_restarted_server_is_no_error(
    instance: DagsterInstance, server_url: str
) -> None:
    assert materialize([thing], instance=instance).success
    with psycopg.connect(server_url, autocommit=True) as connection:
        ended = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname like 'storage_%'"
        ).fetchall()
    assert 1 <= len(ended) <= 3, "one connection for runs, one for events, one for schedules"

    assert materialize([thing], instance=instance).success
    runs = [record.run_id for record in instance.fetch_materializations(thing.key, limit=9).records]
    assert len(set(runs)) == 2
    assert {run.status.value for run in instance.get_runs()} == {"SUCCESS"}
