"""One source and one as-of date: a run continues from the stored layers or rebuilds them."""

from datetime import date

import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import (
    PipelineState,
    Transition,
    begin,
    landed_as_of,
    landed_state,
    note_landed,
    read_state,
)
from retail_pipeline.postgres import Database


def enter(
    database: Database, source: str, day: int, run: str, full_refresh: bool = False
) -> Transition:
    as_of = date(2024, 1, day)
    return begin(database, source_id=source, as_of=as_of, run_id=run, full_refresh=full_refresh)


def enter_streams(database: Database, day: int, run: str) -> PipelineState:
    as_of = date(2024, 1, day)
    return begin(
        database, source_id="file:a", as_of=as_of, run_id=run, streams=["users", "orders"]
    ).state


def land_a_customer(database: Database) -> None:
    database.execute("create table if not exists warehouse.dim_customers (customer_id text)")
    database.execute("insert into warehouse.dim_customers values ('c1')")


def customers(database: Database) -> int:
    return len(database.read("warehouse.dim_customers"))


def test_a_later_date_keeps_what_is_there(database: Database) -> None:
    enter(database, "file:a", 1, "run-1")
    land_a_customer(database)
    transition = enter(database, "file:a", 31, "run-2")
    assert (transition.rebuilt, transition.message, customers(database)) == (False, None, 1)
    assert read_state(database) == PipelineState("file:a", date(2024, 1, 31), 1)


@pytest.mark.parametrize(
    ("source", "day", "reason"),
    [("file:b", 10, "source changed from file:a to file:b"), ("file:a", 9, "lies before")],
)
def test_another_source_or_an_earlier_date_empties_every_layer_and_says_so(
    database: Database, source: str, day: int, reason: str
) -> None:
    enter(database, "file:a", 10, "run-1")
    land_a_customer(database)
    transition = enter(database, source, day, "run-2")
    assert transition.rebuilt
    assert transition.message is not None
    assert reason in transition.message
    assert customers(database) == 0
    assert read_state(database).generation == 2


def test_a_full_refresh_happens_once_in_a_run(database: Database) -> None:
    enter(database, "file:a", 10, "run-1")
    land_a_customer(database)
    assert enter(database, "file:a", 10, "run-2", full_refresh=True).rebuilt
    land_a_customer(database)
    assert not enter(database, "file:a", 10, "run-2", full_refresh=True).rebuilt
    assert customers(database) == 1


def test_without_any_ingestion_the_state_says_what_to_do(database: Database) -> None:
    with pytest.raises(PipelineError, match="retail-pipeline run"):
        read_state(database)


def test_a_date_that_not_all_streams_have_reached_is_not_handed_on(database: Database) -> None:
    first = enter_streams(database, 1, "run-1")
    for stream in ("users", "orders"):
        note_landed(database, stream=stream, state=first, run_id="run-1")
    assert landed_state(database) == first

    second = enter_streams(database, 31, "run-2")
    note_landed(database, stream="users", state=second, run_id="run-2")
    with pytest.raises(PipelineError, match="materialize transactional/orders"):
        landed_state(database)
    note_landed(database, stream="orders", state=second, run_id="run-2")
    assert landed_state(database) == second


def test_a_run_keeps_the_as_of_date_with_which_it_began(database: Database) -> None:
    assert landed_as_of(database, "run-1") is None
    enter_streams(database, 1, "run-1")
    assert landed_as_of(database, "run-1") == date(2024, 1, 1)
    enter_streams(database, 2, "run-2")
    assert landed_as_of(database, "run-1") == date(2024, 1, 1)


OTHERS = {
    "an earlier date": {"day": 5},
    "a later date": {"day": 20},
    "another source": {"source": "file:b"},
    "a full refresh": {"full_refresh": True},
}


@pytest.mark.parametrize("lands_too", [True, False], ids=["and lands", "and lands nothing yet"])
@pytest.mark.parametrize("other", OTHERS)
def test_a_run_whose_state_another_changed_between_two_syncs_fails_at_once(
    database: Database, other: str, lands_too: bool
) -> None:
    def start(run: str, source: str = "file:a", day: int = 10, **options: bool) -> PipelineState:
        streams = ["users", "orders"]
        as_of = date(2024, 1, day)
        return begin(
            database, source_id=source, as_of=as_of, run_id=run, streams=streams, **options
        ).state

    note_landed(database, stream="users", state=start("run-1"), run_id="run-1")
    state = start("run-2", **OTHERS[other])
    for stream in ("users", "orders") if lands_too else ():
        note_landed(database, stream=stream, state=state, run_id="run-2")

    with pytest.raises(PipelineError, match="another run changed source or as-of date"):
        start("run-1")
    with pytest.raises(PipelineError, match="another run changed source or as-of date"):
        landed_state(database, "run-1")
    assert read_state(database) == state, "the run that was refused has changed the state"
    assert start("run-2", **OTHERS[other]) == state
