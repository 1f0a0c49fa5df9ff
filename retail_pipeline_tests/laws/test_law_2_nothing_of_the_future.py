"""Facts known on D or later change nothing as of D: no feature, prediction or cost of goods.

Each example goes from records to predictions by the steps of `evaluate`: land, dbt, value.

The records are those of the simulator and of the file that RETAIL_TEST_TRANSACTIONS names, if any.
CI tries two sets of changes for each; RETAIL_TEST_EXAMPLES=20 tries twenty.
"""

import os
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from retail_pipeline.clv.data import tables
from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.clv.serving.valuation import value_customers
from retail_pipeline.direct_landing import land_records
from retail_pipeline.postgres import Database
from retail_pipeline.retail_api import (
    default_as_of,
    open_dataset,
)
from retail_pipeline.retail_api.records import RetailRecords
from retail_pipeline.retail_api.simulator import simulate
from retail_pipeline.settings import FileSource
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker

EXAMPLES = int(os.environ.get("RETAIL_TEST_EXAMPLES", "2"))
FEATURES = ("--select", "+customer_features", "+customer_day_entries", "+product_costs")
HORIZON_DAYS = 60
STREAMS = {"transactions": "transaction_id", "products": "product_id", "users": "user_id"}
_SAVED = [
    *(f"transactional.{stream}" for stream in STREAMS),
    *("intermediate.product_versions", "intermediate.customer_versions"),
]
"""The tables that builds keep besides the marts, restored before each example."""

CHANGES = {
    "transactions": [
        # Also to a time before D, because it still became known later.
        "transacted_at = transacted_at - interval '200 days'",
        "user_id = (select min(user_id) from transactional.transactions)",
        "country = 'Atlantis', channel = 'owl', items = jsonb_build_array(jsonb_build_object("
        "'line_number', 1, 'product_id', 'new', 'quantity', 2, 'amount', 5000))",
        "type = 'return', items = jsonb_build_array(jsonb_build_object("
        "'line_number', 1, 'product_id', 'new', 'quantity', -1, 'amount', -1000))",
    ],
    "products": [
        "category = 'Atlantis', price = 999, cost = 1, updated_at = updated_at - interval '1 year'",
    ],
    "users": ["country = 'Atlantis', updated_at = updated_at - interval '1 year'"],
}
"""Possible changes of a record, by stream; `recorded_at` never changes."""

SURE = ("transactions", CHANGES["transactions"][2])
"""A change in every example, so that later features do change."""

change = st.one_of(
    st.tuples(st.just(stream), st.sampled_from([*changes, "delete", "add"]))
    for stream, changes in CHANGES.items()
)


def test_no_feature_and_no_prediction_of_the_simulator_knows_the_future(
    database: Database, dbt: DbtWorker
) -> None:
    as_of = date(2024, 1, 1)
    records = simulate(customers=120, seed=5, until=as_of).records
    _assert_no_leakage(database, dbt, records, as_of, predictions=True)


def test_no_feature_of_a_real_file_knows_the_future(database: Database, dbt: DbtWorker) -> None:
    path = os.environ.get("RETAIL_TEST_TRANSACTIONS")
    if not path:
        pytest.skip("RETAIL_TEST_TRANSACTIONS names no file")
    source = FileSource(Path(path))
    _assert_no_leakage(database, dbt, open_dataset(source).records, default_as_of(source))


def _assert_no_leakage(
    database: Database,
    dbt: DbtWorker,
    records: RetailRecords,
    as_of: date,
    *,
    predictions: bool = False,
) -> None:
    land_records(database, records)
    dbt.build(as_of, command="seed")
    dbt.build(as_of, *FEATURES)
    for table in _SAVED:
        database.execute(f"create table public.{table.split('.')[1]} as table {table}")
    for saved, table in (("features", "customer_features"), ("entries", "customer_day_entries")):
        database.execute(f"create table public.{saved} as table warehouse.{table}")
    dates = list(database.read("warehouse.customer_features")["as_of_date"].unique())
    sold = {day: tables.costed_sales(database, pd.Timestamp(day).date()) for day in dates}
    seen: list[int] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        turn=st.sampled_from(sorted(dates)[1:-1]),
        changes=st.lists(change, min_size=2, max_size=4),
        share=st.sampled_from([1, 2, 20]),
    )
    def check(turn: date, changes: list[tuple[str, str]], share: int) -> None:
        _restore(database)
        for number, (stream, what) in enumerate([SURE, *changes]):
            _apply(database, stream, what, turn, share, number)
        dbt.build(as_of, *FEATURES)
        assert _different(database, f"as_of_date <= '{turn}'") == 0, (turn, changes, share)
        costed = tables.costed_sales(database, pd.Timestamp(turn).date())
        pd.testing.assert_frame_equal(costed, sold[turn], check_exact=True)
        if predictions:
            before = _predictions(database, "public.features", "public.entries", turn)
            marts = ("warehouse.customer_features", "warehouse.customer_day_entries")
            now = _predictions(database, *marts, turn)
            pd.testing.assert_frame_equal(now, before, check_exact=True)
        seen.append(_different(database, f"as_of_date > '{turn}'"))

    check()
    assert not predictions or all(map(len, sold.values())), "nothing was sold at a known cost"
    assert max(seen) > 0, "no change has reached the later features: the test proves nothing"


def _predictions(database: Database, features: str, entries: str, turn: date) -> pd.DataFrame:
    """Return the predictions of every model at D from the marts, those of the served one first."""
    valuation = value_customers(
        database.read(features), database.read(entries), pd.Timestamp(turn).date(), HORIZON_DAYS
    )
    frames = [valuation.predictions, *map(valuation.predictions_of, sorted(MODELS))]
    return pd.concat([frame for frame in frames if frame is not None], ignore_index=True)


def _restore(database: Database) -> None:
    for table in _SAVED:
        database.execute(f"truncate {table}")
        database.execute(f"insert into {table} table public.{table.split('.')[1]}")


def _apply(database: Database, stream: str, what: str, turn: date, share: int, number: int) -> None:
    """Change, remove or copy every n-th record of the stream recorded on D or later."""
    key = STREAMS[stream]
    chosen = (
        f"recorded_at >= '{turn}'::timestamp at time zone 'UTC' "
        f"and abs(hashtext({key} || '{number}')) % {share} = 0"
    )
    table = f"transactional.{stream}"
    match what:
        case "delete":
            database.execute(f"delete from {table} where {chosen}")
        case "add":
            database.execute(
                f"create temporary table copies as select * from {table} where {chosen}; "
                f"update copies set {key} = {key} || '-copy{number}'; "
                f"insert into {table} table copies; drop table copies"
            )
        case _:
            database.execute(f"update {table} set {what} where {chosen}")


def _different(database: Database, where: str) -> int:
    """Return the number of feature rows that differ from those before, in either direction."""
    before = f"select * from public.features where {where}"
    now = f"select * from warehouse.customer_features where {where}"
    with database.connect() as connection:
        row = connection.execute(
            f"select (select count(*) from ({before} except all {now}) as lost) "
            f"+ (select count(*) from ({now} except all {before}) as found)"
        ).fetchone()
    return int(row[0]) if row else 0
