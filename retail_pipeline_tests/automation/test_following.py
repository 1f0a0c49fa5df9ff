"""Runs that follow new data: one run per cause, one catch-up after a downtime."""

from datetime import date, timedelta

import pytest
from dagster import AssetCheckSeverity, AssetMaterialization, DagsterInstance

from retail_pipeline.automation.environments import Starter
from retail_pipeline.automation.retraining import FEATURES
from retail_pipeline_tests.automation.world import (
    FIGURES,
    STREAMS,
    WAREHOUSE,
    Daemon,
    World,
    keys,
)

BUILD, DRAW = Starter.WAREHOUSE_AFTER_LANDING, Starter.FIGURES_AFTER_PREDICTIONS
TRAIN, REFRESH = "clv", "score"


@pytest.fixture
def settled(daemon: Daemon) -> Daemon:
    """Return a daemon after a whole pipeline run and a tick of all sensors and conditions."""
    daemon.tick()
    daemon.run()
    assert daemon.tick_until_quiet() == []
    return daemon


def lands(world: World, *, days: int = 1, transactions: int = 10) -> None:
    world.as_of += timedelta(days=days)
    world.transactions += transactions


def test_a_new_month_of_data_is_exactly_one_retraining_run(settled: Daemon, world: World) -> None:
    lands(world, days=21)
    assert world.as_of == date(2024, 7, 1)
    settled.run(job="ingestion")
    done = settled.tick_until_quiet()
    assert (done[0], done.count(TRAIN), done.count(REFRESH)) == (BUILD, 1, 0)


def test_within_a_month_the_model_stays_and_predictions_and_figures_are_renewed(
    settled: Daemon, world: World
) -> None:
    lands(world)
    settled.run(job="ingestion")
    done = settled.tick_until_quiet()
    assert (done[0], done.count(TRAIN), done.count(REFRESH)) == (BUILD, 0, 1)
    assert done[-1] == DRAW


@pytest.mark.parametrize(("transactions", "work"), [(49, REFRESH), (50, TRAIN)])
def test_enough_new_transactions_train_anew_within_a_month(
    settled: Daemon, world: World, transactions: int, work: str
) -> None:
    lands(world, transactions=transactions)
    settled.run(*STREAMS, *WAREHOUSE)
    assert [request.job_name for request in settled.tick_sensor()] == [work]


def test_growth_counts_from_the_training_not_from_the_last_refresh(
    settled: Daemon, world: World
) -> None:
    for _ in range(2):
        lands(world, transactions=30)
        settled.run(*STREAMS, *WAREHOUSE)
        [request] = settled.tick_sensor()
        settled.run(job=str(request.job_name))
    assert request.job_name == TRAIN


def test_another_source_trains_anew(settled: Daemon, world: World) -> None:
    world.generation += 1
    settled.run(*STREAMS, *WAREHOUSE)
    assert [request.job_name for request in settled.tick_sensor()] == [TRAIN]


def test_five_days_without_a_daemon_are_one_catch_up(
    settled: Daemon, world: World, instance: DagsterInstance
) -> None:
    for _ in range(5):
        lands(world)
        settled.run(job="ingestion")
        settled.run(*WAREHOUSE)
    restarted = Daemon(world, instance, settled.condition_cursors, settled.sensor_cursors)
    done = restarted.tick_until_quiet()
    assert (done.count(BUILD), done.count(TRAIN) + done.count(REFRESH)) == (0, 1)

    for _ in range(5):
        lands(world)
        settled.run(job="ingestion")
    again = Daemon(world, instance, restarted.condition_cursors, restarted.sensor_cursors)
    done = again.tick_until_quiet()
    assert (done.count(BUILD), done.count(TRAIN) + done.count(REFRESH)) == (1, 1)


def test_the_whole_warehouse_follows_in_one_run_when_all_streams_are_in(
    settled: Daemon, world: World
) -> None:
    settled.run(job="ingestion")
    assert settled.tick_conditions(BUILD) == set(WAREHOUSE)
    assert settled.tick_conditions(BUILD) == set()


def test_a_landing_that_is_not_right_is_not_built_on(settled: Daemon, world: World) -> None:
    world.wrong = {STREAMS[0]: AssetCheckSeverity.ERROR}
    settled.run(job="ingestion")
    assert settled.tick_conditions(BUILD) == set()
    world.wrong = {}
    settled.run(job="ingestion")
    assert settled.tick_conditions(BUILD) == set(WAREHOUSE)


@pytest.mark.parametrize(("job", "builds"), [("ingestion", 1), ("pipeline", 0)])
def test_a_build_that_failed_is_not_repeated_on_the_same_data(
    settled: Daemon, world: World, job: str, builds: int
) -> None:
    world.failing = {"warehouse/revenue_daily": "on purpose"}
    settled.run(job=job)
    assert settled.tick_until_quiet().count(BUILD) == builds


def test_figures_of_predictions_wait_for_them_and_the_others_for_the_warehouse(
    settled: Daemon, world: World
) -> None:
    lands(world)
    settled.run(*WAREHOUSE)
    assert settled.tick_conditions(DRAW) == {"figures/revenue_over_time"}
    settled.run("clv/predictions", "clv/segments")
    assert settled.tick_conditions(DRAW) == {"figures/gain_curve"}
    assert settled.tick_conditions(DRAW) == set()
    settled.run("clv/predictions", *FIGURES)
    assert settled.tick_conditions(DRAW) == set()


def test_a_build_that_changes_no_row_starts_nothing(settled: Daemon, world: World) -> None:
    settled.run(*WAREHOUSE)
    assert settled.tick_conditions(DRAW) == set()
    assert settled.tick_sensor() == []
    # A failed build between them changes nothing: the last good build counts.
    world.failing = {"warehouse/revenue_daily": "on purpose"}
    settled.run(*WAREHOUSE)
    world.failing = {}
    settled.run(*WAREHOUSE)
    assert settled.tick_sensor() == []
    lands(world)
    settled.run(*WAREHOUSE)
    assert [request.job_name for request in settled.tick_sensor()] == [REFRESH]


def test_new_rows_that_a_second_build_repeats_before_the_next_look_are_followed(
    settled: Daemon, world: World
) -> None:
    lands(world)
    settled.run(*WAREHOUSE)
    settled.run(*WAREHOUSE)
    assert [request.job_name for request in settled.tick_sensor()] == [REFRESH]
    assert settled.tick_sensor() == []


def test_a_run_that_failed_behind_its_features_starts_nothing(
    settled: Daemon, world: World
) -> None:
    lands(world, days=40)
    world.failing = {"clv/model": "on purpose"}
    settled.run()
    assert settled.tick_sensor() == []


def test_a_first_look_takes_the_latest_features_and_a_lost_cursor_asks_for_the_same_run(
    daemon: Daemon, world: World
) -> None:
    runs = [daemon.run(*STREAMS, *WAREHOUSE) for _ in range(3)]
    first = daemon.tick_sensor()
    daemon.sensor_cursors.clear()
    assert keys(first) == keys(daemon.tick_sensor()) == runs[-1:]
    assert daemon.tick_sensor() == []


def test_features_reported_by_hand_start_the_job_once(
    settled: Daemon, instance: DagsterInstance
) -> None:
    instance.report_runless_asset_event(AssetMaterialization(FEATURES))
    [request] = settled.tick_sensor()
    assert (request.run_key or "").startswith("reported-")
    assert settled.tick_sensor() == []


def test_date_and_horizon_are_handed_on_and_a_full_refresh_is_not(
    daemon: Daemon, world: World
) -> None:
    window = {"as_of": "2011-06-01", "horizon_days": 90, "full_refresh": True}
    daemon.run(*STREAMS, *WAREHOUSE, window=window)
    [request] = daemon.tick_sensor()
    handed = {"as_of": "2011-06-01", "horizon_days": 90}
    assert request.run_config == {"resources": {"run_window": {"config": handed}}}


def test_a_passed_horizon_is_filled_in_once_and_after_a_downtime_too(
    settled: Daemon, world: World, instance: DagsterInstance
) -> None:
    def requested_runs(daemon: Daemon) -> list[tuple[str | None, str | None]]:
        requests = daemon.tick_sensor(Starter.REALISED_AFTER_HORIZON)
        return [(request.job_name, request.run_key) for request in requests]

    settled.run("clv/predictions", window={"horizon_days": 30})
    assert requested_runs(settled) == []
    lands(world, days=29)
    settled.run(*STREAMS, *WAREHOUSE)
    assert requested_runs(settled) == []
    lands(world, days=5)
    settled.run(*STREAMS)
    assert requested_runs(settled) == [], "the warehouse is not built on it yet"
    settled.run(*WAREHOUSE)
    restarted = Daemon(world, instance, sensor_cursors=settled.sensor_cursors)
    assert requested_runs(restarted) == [("realised", "realised-1-2024-06-10-30")]
    assert requested_runs(restarted) == []
    lands(world, days=146)
    settled.run(*STREAMS, *WAREHOUSE)
    assert requested_runs(restarted) == [("realised", "realised-1-2024-06-10-180")]


def test_predictions_of_data_that_was_rebuilt_never_come_due(settled: Daemon, world: World) -> None:
    world.generation += 1
    lands(world, days=400)
    settled.run(*STREAMS, *WAREHOUSE)
    assert settled.tick_sensor(Starter.REALISED_AFTER_HORIZON) == []
