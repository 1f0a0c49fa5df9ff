"""A full build in slices gives the rows of one that is not, however many processes there are."""

from datetime import timedelta

from retail_pipeline.postgres import Database
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import land, line, transaction
from retail_pipeline_tests.warehouse.schedules import Schedule


def test_slices_give_the_rows_of_one_build(database: Database, dbt: DbtWorker) -> None:
    """Of late, corrected and deleted records; and an increment goes on from the slices."""
    # Few enough parts that a dozen customers fill them.
    _set(database, "default_statistics_target", 6)
    _set(database, "max_parallel_workers_per_gather", 2)
    schedule = Schedule(database, seed=1)
    dbt.build(schedule.clock, command="seed")
    dbt.build(schedule.clock, rows_of_a_slice=1)
    assert _features(database) == []
    one = transaction("T0", "K0", f"{schedule.clock - timedelta(days=40)}T10:00:00Z", [line(9)])
    land(database, "transactions", [one])
    dbt.build(schedule.clock, "--full-refresh", rows_of_a_slice=1)
    assert len(_features(database)) > 0

    schedule.first_sync()
    for _ in range(4):
        schedule.next_sync()
    dbt.build(schedule.clock)
    whole = _features(database)
    assert len(whole) > 20
    assert _started_workers(database) == 0

    refresh = ["--full-refresh", "--select", "customer_features"]
    dbt.build(schedule.clock, *refresh, rows_of_a_slice=1)
    assert _features(database) == whole
    started = _started_workers(database)
    assert started > 0

    schedule.next_sync()
    dbt.build(schedule.clock, rows_of_a_slice=1)
    increment = _features(database)
    _set(database, "max_parallel_workers", 0)
    dbt.build(schedule.clock, *refresh, rows_of_a_slice=1)
    assert _features(database) == increment
    _set(database, "max_parallel_workers_per_gather", 0)
    dbt.build(schedule.clock, *refresh, rows_of_a_slice=1)
    assert _features(database) == increment
    assert _started_workers(database) == started


def _set(database: Database, name: str, value: int) -> None:
    """Let all later sessions in the database have a setting."""
    database.execute(
        f"do $$ begin execute format('alter database %I set {name} = {value}', "
        "current_database()); end $$"
    )


def _features(database: Database) -> list[str]:
    rows = database.query("select t::text as row from warehouse.customer_features as t order by 1")
    return list(rows["row"])


def _started_workers(database: Database) -> int:
    """How many processes have computed parts of queries, as PostgreSQL counts them from 18 on."""
    counted = database.query(
        "select parallel_workers_launched from pg_stat_database where datname = current_database()"
    )
    return int(counted["parallel_workers_launched"][0])
