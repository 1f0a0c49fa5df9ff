"""Old runs are removed with their events and logs; latest materializations stay."""

from datetime import UTC, datetime, timedelta

from dagster import AssetKey, DagsterInstance

from retail_pipeline.automation.maintenance import remove_older
from retail_pipeline_tests.automation.world import Daemon


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
