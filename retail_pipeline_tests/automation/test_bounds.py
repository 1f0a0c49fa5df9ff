"""Limits of runs: retries only where they help, the end of dead runs, and pools."""

import fcntl
from pathlib import Path

import psycopg
import pytest
import yaml
from dagster import DagsterInstance, Definitions, Failure, asset, materialize

from retail_pipeline.build import build_definitions
from retail_pipeline.dagster_support import retrying
from retail_pipeline.dagster_support.dead_runs import held_by_this_process
from retail_pipeline.dagster_support.retrying import (
    MOST_RETRIES,
    retried,
)
from retail_pipeline.errors import (
    PipelineError,
    UnavailableError,
)
from retail_pipeline.postgres import Database
from retail_pipeline.settings import (
    PROJECT_ROOT,
    Settings,
)
from retail_pipeline_tests.automation.world import Daemon

LOST = psycopg.OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (LOST, 1 + MOST_RETRIES),
        (UnavailableError("PostgreSQL is away"), 1 + MOST_RETRIES),
        (psycopg.OperationalError("out of memory"), 1),
        (PipelineError("the data is wrong"), 1),
        (Failure("a contract failed"), 1),
        (ValueError("a mistake"), 1),
    ],
)
def test_only_a_lost_database_is_tried_again(
    error: Exception, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.01)
    tried = []

    @asset
    @retried
    def table() -> None:
        tried.append(1)
        raise error

    assert not materialize([table], raise_on_error=False).success
    assert len(tried) == attempts


def test_a_database_that_comes_back_in_time_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.01)
    errors = [LOST, LOST]

    @asset
    @retried
    def table() -> None:
        if errors:
            raise errors.pop()

    assert materialize([table]).success


def test_a_wrong_password_is_not_an_absence(database: Database) -> None:
    password = psycopg.conninfo.conninfo_to_dict(database.url)["password"]
    with pytest.raises(PipelineError) as refused:
        Database(database.url.replace(str(password), "wrong")).connect()
    assert not isinstance(refused.value, UnavailableError)
    with pytest.raises(UnavailableError):
        Database("postgresql://a:b@127.0.0.1:1/x").connect()


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return build_definitions(Settings())


def test_syncs_and_the_warehouse_have_their_pools(definitions: Definitions) -> None:
    pools = {
        node.key.path[0]: assets.op.pool
        for assets in (definitions.resolve_all_asset_specs() and definitions.assets) or []
        for node in getattr(assets, "specs", [])
        if hasattr(assets, "op")
    }
    assert pools["transactional"] == "airbyte"
    assert {pools[layer] for layer in ("staging", "intermediate", "warehouse")} == {"warehouse"}
    assert pools["clv"] is None
    limits = yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.yaml").read_text())["concurrency"]
    assert limits["pools"]["default_limit"] == 1


def test_a_run_whose_process_died_is_ended_and_one_at_work_is_left_alone(
    instance: DagsterInstance, daemon: Daemon, tmp_path: Path
) -> None:
    job = daemon.world.definitions().resolve_job_def("clv")
    dead, alive = (instance.create_run_for_job(job) for _ in range(2))
    for run in (dead, alive):
        instance.handle_run_event(run.run_id, _started(run))
    locks = tmp_path / "at_work"
    locks.mkdir()
    (locks / f"{dead.run_id}.lock").touch()
    with (locks / f"{alive.run_id}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with held_by_this_process(instance, locks, "this-run"):
            left = {path.stem for path in locks.iterdir()}
    assert left == {alive.run_id, "this-run"}
    ended = {run.run_id: run.status.value for run in instance.get_runs()}
    assert ended == {dead.run_id: "FAILURE", alive.run_id: "STARTED"}


def _started(run):
    from dagster import DagsterEvent, DagsterEventType

    return DagsterEvent(DagsterEventType.RUN_START.value, run.job_name)
