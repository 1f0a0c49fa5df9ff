"""Expected weekly purchases are those of the model; histories have the model's probabilities."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from retail_pipeline.clv.evaluation.tracking import histories, weekly_purchases
from retail_pipeline.clv.models.pareto_nbd import ParetoNBD
from retail_pipeline.clv.models.purchases import Purchases

CDNOW = ParetoNBD(r=0.553, alpha=10.58 * 7, s=0.606, beta=11.67 * 7)
"""Fader, Hardie (2005); here in days."""

NEW = Purchases(np.zeros(1), np.zeros(1), np.zeros(1))


def days(**columns: list[int]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return frame.assign(date_day=pd.Timestamp("2021-01-01") + pd.to_timedelta(frame["day"], "D"))


def test_a_week_expects_the_purchases_of_each_customer_since_their_first_one() -> None:
    found = weekly_purchases(
        CDNOW,
        days(day=[0, 5, 14], acquired=[3, 0, 2], repeats=[0, 4, 1]),
        date(2021, 1, 15),
        date(2021, 2, 1),
    )
    # Day 31 begins a week that is not over at the as-of date.
    assert found["week_start"].dt.day.tolist() == [1, 8, 15, 22]
    assert found["actual_orders"].tolist() == [4, 0, 1, 0]
    assert set(found["customers"]) == {5}
    ends = np.array([7, 14, 21, 28])
    expected = [
        3 * CDNOW.expected_purchases(NEW, end)[0]
        + 2 * CDNOW.expected_purchases(NEW, max(end - 14, 0))[0]
        for end in ends
    ]
    np.testing.assert_allclose(found["expected_orders"].cumsum(), expected)


def test_weeks_are_counted_from_the_cutoff_however_early_the_first_purchase() -> None:
    one = days(day=[3], acquired=[1], repeats=[0])
    found = weekly_purchases(CDNOW, one, date(2021, 1, 15), date(2021, 1, 29))
    assert found["week_start"].dt.day.tolist() == [1, 8, 15, 22]
    assert found["expected_orders"].iloc[0] == pytest.approx(
        CDNOW.expected_purchases(NEW, 4.0)[0]
    ), "the days since the fourth"


@pytest.mark.parametrize(("age", "most"), [(0, 2), (1, 3), (400, 7), (4000, 500)])
def test_a_history_has_the_probability_and_orders_of_such_a_customer(age: int, most: int) -> None:
    found = histories(CDNOW, age, most, 90)
    assert not found.duplicated(["purchases", "days_since_last"]).any()
    assert (found["purchases"].min(), found["purchases"].max()) == (2, most)
    assert found["days_since_last"].max() == max(age - 1, 0)
    row = found.sample(random_state=1).iloc[0]
    repeats, since = row["purchases"] - 1, row["days_since_last"]
    customer = Purchases(*(np.array([float(n)]) for n in (repeats, age - since, age)))
    assert row["probability_alive"] == pytest.approx(CDNOW.probability_alive(customer)[0])
    assert row["expected_orders"] == pytest.approx(CDNOW.expected_purchases(customer, 90)[0])
