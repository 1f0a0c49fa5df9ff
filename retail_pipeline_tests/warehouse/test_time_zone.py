"""Days, months and as-of dates of a shop's time zone, across changes of its clocks."""

import random
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from retail_pipeline.business_day import local_day, midnight
from retail_pipeline.postgres import Database
from retail_pipeline.retail_api import default_as_of, open_dataset
from retail_pipeline.settings import FileSource
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import land, line, transaction

# Clocks change at 01:00 UTC on 31 March, and at 06:00 UTC on 3 November 2024.
CHANGES = {"Europe/Berlin": date(2024, 3, 31), "America/New_York": date(2024, 11, 3)}


def sales(around: date) -> pd.DataFrame:
    """Return sales of nine customers at each hour of some days, and of earlier months."""
    dice = random.Random(5)
    start = datetime.combine(around, datetime.min.time()) - timedelta(days=2)
    times = [start + timedelta(minutes=30 * step) for step in range(4 * 48)]
    times += [start - timedelta(hours=dice.randrange(150 * 24)) for _ in range(60)]
    return pd.DataFrame(
        {
            "at": pd.to_datetime(times).tz_localize("UTC"),
            "customer_id": [f"K{dice.randrange(9)}" for _ in times],
            "amount": [dice.randrange(1, 999) / 100 for _ in times],
        }
    )


def landed(database: Database, frame: pd.DataFrame) -> None:
    database.execute("truncate transactional.transactions")
    land(
        database,
        "transactions",
        [
            transaction(f"T{row.Index}", row.customer_id, row.at.isoformat(), [line(row.amount)])
            for row in frame.itertuples()
        ],
    )


def features(database: Database) -> pd.DataFrame:
    order = "true order by customer_id, as_of_date"
    return database.read("warehouse.customer_features", where=order)


@pytest.mark.parametrize("zone", CHANGES)
def test_days_months_and_as_of_dates_are_those_of_pandas(
    database: Database, dbt: DbtWorker, zone: str
) -> None:
    as_of = CHANGES[zone] + timedelta(days=1)
    frame = sales(CHANGES[zone])
    landed(database, frame)
    dbt.build(as_of, tests=True, time_zone=zone)
    all_features = features(database)

    local = frame.assign(day=frame["at"].dt.tz_convert(zone).dt.date)
    known = local[local["at"] < pd.Timestamp(as_of, tz=zone)]
    assert 0 < len(known) < len(frame)
    days = known.groupby(["customer_id", "day"])["amount"].sum().round(2)
    found = database.read("warehouse.customer_days")
    found = found.set_index(["customer_id", pd.to_datetime(found["date_day"]).dt.date])
    assert found["net_amount"].astype(float).round(2).to_dict() == days.to_dict()

    revenue = database.read("warehouse.revenue_daily").set_index("date_day")["net_amount"]
    by_day = known.groupby("day")["amount"].sum().round(2)
    bought = {day.date(): float(amount) for day, amount in revenue.items() if float(amount)}
    assert {day: round(amount, 2) for day, amount in bought.items()} == by_day.to_dict()

    months = known.assign(month=[day.replace(day=1) for day in known["day"]])
    cohorts = months.groupby("customer_id")["month"].min().value_counts().to_dict()
    retention = database.read("warehouse.cohort_retention", where="months_since = 0")
    sizes = zip(retention["cohort_month"], retention["cohort_customers"], strict=True)
    assert {month.date(): size for month, size in sizes if size} == cohorts

    now = all_features[all_features["as_of_date"] == pd.Timestamp(as_of)]
    last = known.groupby("customer_id")["day"].max()
    recency = {customer: (as_of - day).days for customer, day in last.items()}
    assert now.set_index("customer_id")["recency_days"].to_dict() == recency

    # Nothing from the local midnight on changes what was known before it.
    landed(database, frame.loc[known.index])
    dbt.build(as_of, time_zone=zone)
    pd.testing.assert_frame_equal(features(database), all_features)


@pytest.mark.parametrize("zone", [*CHANGES, "America/Sao_Paulo", "America/Havana", "UTC"])
def test_a_day_begins_at_its_first_instant(zone: str) -> None:
    for number in range(366 * 2):
        day = date(2017, 7, 1) + timedelta(days=number)
        first = midnight(day, zone)
        assert local_day(first, zone) == day
        assert local_day(first - timedelta(seconds=1), zone) == day - timedelta(days=1)


@pytest.mark.parametrize("zone", CHANGES)
def test_a_file_is_cut_at_the_local_midnight(zone: str, tmp_path: Path) -> None:
    change = CHANGES[zone]
    frame = sales(change)
    path = tmp_path / "sales.csv"
    columns: dict[str, Any] = {"at": "ts"}
    frame.rename(columns=columns).to_csv(path, index=False)
    source = FileSource(path)
    last = frame["at"].max().tz_convert(zone).date()
    assert default_as_of(source, zone) == last + timedelta(days=1)
    records = open_dataset(source, change, zone).records
    known = frame[frame["at"] < pd.Timestamp(change, tz=zone)]
    assert len(records.items) == len(known)
    assert len(open_dataset(source, change).records.items) != len(known)
