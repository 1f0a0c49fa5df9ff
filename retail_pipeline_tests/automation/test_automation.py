"""One CLV run for each new set of features that nobody else follows up, and never a second."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    RunRequest,
    asset,
    build_sensor_context,
)

from retail_pipeline.automation import build_automation
from retail_pipeline.automation.schedules import build_schedules
from retail_pipeline.automation.sensors import FEATURES, build_sensors
from retail_pipeline.run_window import RunWindow
from retail_pipeline.settings import Environment, Settings


def stage(group: str, name: str, *upstream: AssetKey, fails: bool = False):
    @asset(key=AssetKey([group, name]), group_name=group, deps=upstream)
    def table(run_window: RunWindow) -> None:
        if fails:
            raise RuntimeError("on purpose")

    return table


def graph(*, model_fails: bool = False) -> Definitions:
    landed = stage("transactional", "transactions")
    features = stage("warehouse", "customer_features", landed.key)
    model = stage("clv", "model", features.key, fails=model_fails)
    figure = stage("figures", "gain_curve", model.key)
    backtest = stage("clv", "backtest", features.key)
    assets = Definitions(
        assets=[landed, features, backtest, model, figure], resources={"run_window": RunWindow()}
    )
    return Definitions.merge(assets, build_automation(Settings()))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """An instance that keeps its history in files, as between two starts of a daemon."""
    with DagsterInstance.local_temp(str(tmp_path)) as kept:
        yield kept


def materialize(
    instance: DagsterInstance,
    *names: str,
    definitions: Definitions | None = None,
    window: dict | None = None,
) -> str:
    selection = [AssetKey(name.split("/")) for name in names] or None
    config = {"resources": {"run_window": {"config": window}}} if window else None
    job = (definitions or graph()).resolve_job_def("pipeline")
    return job.execute_in_process(
        instance=instance, asset_selection=selection, run_config=config, raise_on_error=False
    ).run_id


def tick(instance: DagsterInstance, cursor: str | None) -> tuple[list[RunRequest], str | None]:
    [sensor] = build_sensors(Environment.PRODUCTION)
    context = build_sensor_context(
        instance=instance, cursor=cursor, definitions=graph(), sensor_name=sensor.name
    )
    data = sensor.evaluate_tick(context)
    return list(data.run_requests or []), data.cursor


def keys(requests: list[RunRequest]) -> list[str | None]:
    return [request.run_key for request in requests]


def test_new_features_alone_start_the_clv_job_exactly_once(instance: DagsterInstance):
    nothing, cursor = tick(instance, None)
    run = materialize(instance, "transactional/transactions", "warehouse/customer_features")
    first, cursor = tick(instance, cursor)
    second, _ = tick(instance, cursor)
    assert (nothing, keys(first), second) == ([], [run], [])


def test_a_run_that_goes_on_to_the_model_starts_nothing(instance: DagsterInstance):
    materialize(instance)
    materialize(instance, "warehouse/customer_features", "clv/model")
    assert tick(instance, None)[0] == []
    assert tick(instance, "0")[0] == []


def test_a_run_that_failed_on_its_way_to_the_model_starts_nothing(instance: DagsterInstance):
    materialize(instance, definitions=graph(model_fails=True))
    assert tick(instance, "0")[0] == []


def test_each_of_several_materializations_has_its_run_even_behind_a_whole_pipeline(
    instance: DagsterInstance,
):
    runs = [materialize(instance, "warehouse/customer_features") for _ in range(2)]
    materialize(instance)
    requests, cursor = tick(instance, "0")
    assert keys(requests) == runs
    assert tick(instance, cursor)[0] == []


def test_the_first_look_takes_the_latest_features_not_all_of_history(instance: DagsterInstance):
    runs = [materialize(instance, "warehouse/customer_features") for _ in range(3)]
    assert keys(tick(instance, None)[0]) == runs[-1:]


def test_nothing_is_lost_after_a_first_look_at_an_empty_history(instance: DagsterInstance):
    _, cursor = tick(instance, None)
    runs = [materialize(instance, "warehouse/customer_features") for _ in range(2)]
    assert keys(tick(instance, cursor)[0]) == runs


def test_the_clv_jobs_own_runs_start_nothing(instance: DagsterInstance):
    materialize(instance, "warehouse/customer_features")
    _, cursor = tick(instance, None)
    graph().resolve_job_def("clv").execute_in_process(instance=instance)
    assert tick(instance, cursor)[0] == []


def test_features_reported_by_hand_start_the_job_once(instance: DagsterInstance):
    instance.report_runless_asset_event(AssetMaterialization(FEATURES))
    requests, cursor = tick(instance, None)
    assert len(requests) == 1
    assert (requests[0].run_key or "").startswith("reported-")
    assert tick(instance, cursor)[0] == []


def test_date_and_horizon_are_handed_on_and_a_full_refresh_is_not(instance: DagsterInstance):
    window = {"as_of": "2011-06-01", "horizon_days": 90, "full_refresh": True}
    materialize(instance, "warehouse/customer_features", window=window)
    [request], _ = tick(instance, None)
    handed = {"as_of": "2011-06-01", "horizon_days": 90}
    assert request.run_config == {"resources": {"run_window": {"config": handed}}}
    result = (
        graph()
        .resolve_job_def("clv")
        .execute_in_process(instance=instance, run_config=request.run_config)
    )
    assert result.success


def test_the_jobs_select_by_group(instance: DagsterInstance):
    assets = {
        name: {
            key.to_user_string()
            for key in graph().resolve_job_def(name).asset_layer.executable_asset_keys
        }
        for name in ("ingestion", "clv", "pipeline")
    }
    assert assets["ingestion"] == {"transactional/transactions"}
    assert assets["clv"] == {"clv/model", "figures/gain_curve"}
    assert assets["pipeline"] == {
        *assets["ingestion"],
        *assets["clv"],
        "warehouse/customer_features",
    }


@pytest.mark.parametrize("environment", list(Environment))
def test_only_production_ingests_unasked_and_every_environment_is_decided(
    environment: Environment,
):
    [schedule] = build_schedules(environment)
    [sensor] = build_sensors(environment)
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status == (
        DefaultScheduleStatus.RUNNING
        if environment is Environment.PRODUCTION
        else DefaultScheduleStatus.STOPPED
    )
    assert (sensor.default_status is DefaultSensorStatus.STOPPED) == (
        environment is Environment.LOCAL
    )
