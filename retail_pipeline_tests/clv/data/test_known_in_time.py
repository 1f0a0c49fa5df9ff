"""Boundary dates: complete outcomes, and costs and lines known before the as-of date."""

from datetime import date

import pandas as pd
import pytest

from retail_pipeline.clv.data import dataset, tables
from retail_pipeline.postgres import Database
from retail_pipeline_tests.clv import world

HORIZON_DAYS = 90
AS_OF = date(2024, 7, 1)


@pytest.mark.parametrize(
    ("as_of", "latest"),
    [(date(2020, 12, 30), date(2020, 10, 1)), (date(2020, 12, 29), date(2020, 9, 1))],
)
def test_the_last_training_cutoff_is_a_whole_horizon_before_the_as_of_date(
    as_of: date, latest: date
) -> None:
    """From 1 October to 30 December there are 90 days, to 29 December 89."""
    entries = world.entries(customers=40)
    features = world.features(entries, world.month_starts(as_of))
    labeled = dataset.training_set(
        dataset.prepare_features(features), dataset.prepare_entries(entries), as_of, HORIZON_DAYS
    )
    assert labeled["as_of_date"].max() == pd.Timestamp(latest)


@pytest.mark.parametrize(
    ("known_from", "recorded_at", "counts"),
    [
        ("2024-06-30", "2024-06-30 23:59:59+00", True),
        ("2024-07-01", "2024-06-30 23:59:59+00", False),
        ("2024-06-30", "2024-07-01 00:00:00+00", False),
    ],
)
def test_a_cost_or_a_line_known_on_the_as_of_date_does_not_count(
    database: Database, known_from: str, recorded_at: str, counts: bool
) -> None:
    with database.connect() as connection:
        connection.execute(
            "create table warehouse.fct_transaction_items as select 'K1' as customer_id, "
            "'cup' as product_id, 1::numeric as quantity, 20::numeric as net_amount, "
            "false as is_excluded, '2024-06-01 10:00+00'::timestamptz as transacted_at, "
            "date '2024-06-01' as date_day, (greatest('2024-06-01 10:00+00'::timestamptz, "
            "%s::timestamptz) at time zone 'UTC')::date as known_date",
            [recorded_at],
        )
        connection.execute(
            "create table warehouse.product_costs as select 'cup' as product_id, "
            "4::numeric as cost, %s::date as known_from, null::date as sold_from, "
            "null::date as sold_until",
            [known_from],
        )
    assert len(tables.costed_sales(database, AS_OF)) == counts
