"""A prediction does not depend on the unit of money, on the number of threads or on row order."""

from datetime import date

import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.clv.serving.valuation import Valuation, value_customers
from retail_pipeline_tests.clv import world

AS_OF = date(2021, 3, 1)
HORIZON_DAYS = 90
CENTS = 100.0
MONEY = ["predicted_value", "lower_80", "upper_80"]

SCALED_BY_ABSOLUTE_MONEY = {"linear_regression", "random_forest"}
"""Models that are not scale-free today: they add 1 before a logarithm, or stop splitting at an
absolute gain."""


@pytest.fixture(scope="module")
def entries() -> pd.DataFrame:
    return world.ledger(customers=120)


@pytest.fixture(scope="module")
def features(entries: pd.DataFrame) -> pd.DataFrame:
    return world.features(entries, world.month_firsts(AS_OF, months=7))


@pytest.fixture(scope="module")
def valuation(features: pd.DataFrame, entries: pd.DataFrame) -> Valuation:
    with threadpool_limits(limits=1):
        return value_customers(features, entries, AS_OF, HORIZON_DAYS)


@pytest.fixture(scope="module")
def in_cents(entries: pd.DataFrame) -> Valuation:
    scaled = entries.assign(net_amount=entries["net_amount"] * CENTS)
    features = world.features(scaled, world.month_firsts(AS_OF, months=7))
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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.xfail(
                name in SCALED_BY_ABSOLUTE_MONEY,
                reason="this model scales by absolute money",
                strict=True,
            ),
        )
        for name in sorted(MODELS)
    ],
)
def test_the_unit_of_money_changes_no_prediction(
    valuation: Valuation, in_cents: Valuation, name: str
) -> None:
    pounds, cents = valuation.predictions_of(name), in_cents.predictions_of(name)
    assert pounds is not None and cents is not None
    for column in MONEY:
        assert cents[column].to_numpy() / CENTS == pytest.approx(
            pounds[column].to_numpy(), rel=1e-4, abs=1e-4
        ), column
    assert cents["probability_active"].to_numpy() == pytest.approx(
        pounds["probability_active"].to_numpy(), abs=1e-6
    )
