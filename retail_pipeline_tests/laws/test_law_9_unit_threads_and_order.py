"""A prediction does not depend on the unit of money, on the number of threads or on row order."""

from datetime import date

import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.clv.serving.valuation import Valuation, value_customers
from retail_pipeline_tests.clv import world

AS_OF = date(2021, 5, 1)
HORIZON_DAYS = 90
MONTHS = 14
"""Enough for a season: a cut-off of a year before is tested."""

UNITS = [1e-2, 1e3, 1e6]
MONEY = ["predicted_value", "lower_80", "upper_80"]


@pytest.fixture(scope="module")
def entries() -> pd.DataFrame:
    return world.entries(customers=120)


@pytest.fixture(scope="module")
def features(entries: pd.DataFrame) -> pd.DataFrame:
    return world.features(entries, world.month_starts(AS_OF, months=MONTHS))


@pytest.fixture(scope="module")
def valuation(features: pd.DataFrame, entries: pd.DataFrame) -> Valuation:
    with threadpool_limits(limits=1):
        return value_customers(features, entries, AS_OF, HORIZON_DAYS)


@pytest.fixture(scope="module", params=UNITS)
def unit(request: pytest.FixtureRequest) -> float:
    return request.param


@pytest.fixture(scope="module")
def in_unit(entries: pd.DataFrame, unit: float) -> Valuation:
    scaled = entries.assign(net_amount=entries["net_amount"] * unit)
    features = world.features(scaled, world.month_starts(AS_OF, months=MONTHS))
    return value_customers(features, scaled, AS_OF, HORIZON_DAYS)


def test_threads_and_row_order_change_no_bit(
    features: pd.DataFrame, entries: pd.DataFrame, valuation: Valuation
) -> None:
    """Both are varied at once: a difference of either is a difference of the result."""
    with threadpool_limits(limits=2):
        again = value_customers(
            features.sample(frac=1, random_state=1),
            entries.sample(frac=1, random_state=2),
            AS_OF,
            HORIZON_DAYS,
        )
    pd.testing.assert_frame_equal(again.predictions, valuation.predictions, check_exact=True)
    for name in sorted(MODELS):
        one, other = valuation.predictions_of(name), again.predictions_of(name)
        assert one is not None and other is not None, name
        pd.testing.assert_frame_equal(other, one, check_exact=True)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_unit_of_money_changes_no_prediction(
    valuation: Valuation, in_unit: Valuation, unit: float, name: str
) -> None:
    before, after = valuation.predictions_of(name), in_unit.predictions_of(name)
    assert before is not None and after is not None
    for column in [*MONEY, "expected_orders", "probability_active"]:
        scale = unit if column in MONEY else 1.0
        expected = before[column].to_numpy()
        assert after[column].to_numpy() / scale == pytest.approx(
            expected, rel=1e-9, abs=1e-9 * float(expected.mean())
        ), column
