"""Old runs are removed with their events and logs; latest materializations stay."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterInstance
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

from retail_pipeline.automation.maintenance import remove_older
from retail_pipeline.cli.instance import open_instance
from retail_pipeline.dagster_support.leftovers import delete_leftovers
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings
from retail_pipeline_tests.automation.world import Daemon, World


def test_old_runs_go_but_for_those_of_the_latest_materializations(
    daemon: Daemon, instance: DagsterInstance
) -> None:
    outdated = daemon.run("clv/model")
    latest = daemon.run("clv/model")

    assert remove_older(instance, datetime.now(UTC) - timedelta(days=1)) == 0
    assert remove_older(instance, datetime.now(UTC) + timedelta(days=1)) == 1
    assert instance.get_run_by_id(outdated) is None
    assert instance.all_logs(outdated) == []
    assert instance.get_run_by_id(latest) is not None
    kept = instance.get_latest_materialization_event(AssetKey(["clv", "model"]))
    assert kept is not None and kept.run_id == latest


def test_the_job_removes_what_is_older_than_its_configuration_says(
    daemon: Daemon, instance: DagsterInstance
) -> None:
    daemon.run("clv/model")
    job = daemon.world.definitions().resolve_job_def("upkeep")
    config = {"ops": {"remove_old_runs": {"config": {"keep_days": 1}}}}
    assert job.execute_in_process(instance=instance, run_config=config).success
    assert len(instance.get_runs()) == 2


@pytest.fixture
def stored(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DagsterInstance]:
    for name in ("DAGSTER_HOME", "DAGSTER_POSTGRES_URL"):
        monkeypatch.setenv(name, "")  # so that what the instance sets goes with the test
    with open_instance(Settings(home=tmp_path / "stored", database_url=database.url)) as instance:
        yield instance


def test_of_old_check_results_and_freshness_changes_the_latest_stay(
    world: World, stored: DagsterInstance
) -> None:
    daemon, instance = Daemon(world, stored), stored
    states = [FreshnessState.PASS, FreshnessState.WARN, FreshnessState.FAIL]
    for before, after in pairwise(states):
        daemon.run("clv/model", "clv/predictions")
        change = FreshnessStateChange(
            key=AssetKey(["clv", "model"]),
            new_state=after,
            previous_state=before,
            state_change_timestamp=0.0,
        )
        instance._report_runless_asset_event(change)
    model, predictions = (
        AssetCheckKey(AssetKey(["clv", name]), "is_right") for name in ("model", "predictions")
    )

    def checks() -> list[int]:
        history = instance.event_log_storage.get_asset_check_execution_history
        return [len(history(key, limit=9)) for key in (model, predictions)]

    assert delete_leftovers(instance, datetime.now(UTC) - timedelta(days=1)) == 0
    assert checks() == [2, 2]
    assert delete_leftovers(instance, datetime.now(UTC) + timedelta(days=1)) == 3
    assert checks() == [1, 1]
    [kept] = instance.event_log_storage.get_freshness_state_records([model.asset_key]).values()
    assert kept.freshness_state == FreshnessState.FAIL
    assert delete_leftovers(instance, datetime.now(UTC) + timedelta(days=1)) == 0
