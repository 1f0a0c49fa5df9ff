"""The whole valuation on frames: contract, leakage, thin data, determinism, the real data."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import metrics
from retail_pipeline.clv.evaluation.selection import WITH_SEASON
from retail_pipeline.clv.models.baselines import LastWindow
from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.clv.serving.segments import SEGMENTS
from retail_pipeline.clv.serving.valuation import (
    Valuation,
    value_customers,
)
from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
from retail_pipeline_tests.clv import world

AS_OF = date(2021, 6, 1)
HORIZON = 90


@pytest.fixture(scope="module")
def entries() -> pd.DataFrame:
    return world.entries()


@pytest.fixture(scope="module")
def features(entries: pd.DataFrame) -> pd.DataFrame:
    return world.features(entries, world.month_starts(AS_OF))


@pytest.fixture(scope="module")
def valuation(features: pd.DataFrame, entries: pd.DataFrame) -> Valuation:
    return value_customers(features, entries, AS_OF, HORIZON)


def test_everyone_is_valued_soundly_by_every_model(valuation: Valuation) -> None:
    for name in MODELS:
        frame = valuation.predictions_of(name)
        assert frame is not None
        assert frame["customer_id"].tolist() == valuation.population["customer_id"].tolist()
        numbers = frame.select_dtypes("number")
        assert np.isfinite(numbers).all(axis=None) and (numbers >= 0).all(axis=None)
        assert (frame["lower_80"] <= frame["upper_80"]).all()
        assert frame["probability_active"].le(1).all()
    assert valuation.decision.validated
    assert valuation.predictions["clv_decile"].between(1, 10).all()
    assert valuation.predictions["segment"].isin(SEGMENTS).all()


def test_the_backtest_trains_on_complete_past_outcomes_only(valuation: Valuation) -> None:
    table = valuation.backtest.metrics
    first = dataset.feature_dates(valuation.training_set)[0]
    regression = table[table["model_name"] == "linear_regression"]
    assert regression["cutoff_date"].min() >= pd.Timestamp(first) + pd.Timedelta(days=HORIZON)
    pareto = table[table["model_name"] == "pareto_nbd_gamma_gamma"]
    assert pareto["cutoff_date"].max() <= pd.Timestamp(AS_OF) - pd.Timedelta(days=HORIZON)
    assert len(pareto) == dataset.TRAINING_CUTOFFS
    assert "complete outcome" in valuation.backtest.abstentions[first]["linear_regression"]


def test_part_of_the_backtest_equals_the_same_part_of_all_of_it(
    features: pd.DataFrame, entries: pd.DataFrame, valuation: Valuation
) -> None:
    from retail_pipeline.clv.evaluation import backtest

    chosen = dataset.feature_dates(valuation.training_set)[-1]
    part = backtest.run(
        dataset.prepare_features(features),
        dataset.prepare_entries(entries),
        AS_OF,
        HORIZON,
        [chosen],
    )
    whole = valuation.backtest.predictions
    expected = whole[whole["cutoff_date"] == pd.Timestamp(chosen)].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.predictions, expected, check_exact=True)


Small = tuple[pd.DataFrame, pd.DataFrame, Valuation]


@pytest.fixture(scope="module")
def small() -> Small:
    """Return features and entries of a small shop, and their valuation."""
    entries = world.entries(customers=60)
    features = world.features(entries, world.month_starts(AS_OF, months=8))
    return features, entries, value_customers(features, entries, AS_OF, HORIZON)


@settings(max_examples=3, deadline=None)
@given(
    amount=st.floats(-1e6, 1e6, allow_nan=False),
    day=st.dates(date(2020, 1, 1), date(2022, 6, 1)),
    late=st.integers(0, 400),
)
def test_what_becomes_known_on_or_after_the_date_changes_nothing(
    small: Small, amount: float, day: date, late: int
) -> None:
    features, entries, before = small
    known = max(day, AS_OF + pd.Timedelta(days=late))
    news = pd.DataFrame(
        {
            "customer_id": entries["customer_id"].unique(),
            "date_day": pd.Timestamp(day),
            "known_date": pd.Timestamp(known),
            "net_amount": amount,
        }
    )
    grown = pd.concat([entries, news], ignore_index=True)
    after = value_customers(features, grown, AS_OF, HORIZON)
    pd.testing.assert_frame_equal(after.predictions, before.predictions, check_exact=True)
    pd.testing.assert_frame_equal(
        after.backtest.predictions, before.backtest.predictions, check_exact=True
    )


def test_what_came_after_a_cutoff_changes_no_prediction_there(
    features: pd.DataFrame, entries: pd.DataFrame
) -> None:
    """No scaler, likelihood or tree is fitted to the outcome that it is tested on."""
    from retail_pipeline.clv.evaluation import backtest

    cutoff = date(2020, 12, 1)
    late = entries["date_day"] >= pd.Timestamp(cutoff)
    another = entries.assign(net_amount=entries["net_amount"].where(~late, 1e5))
    later = features["as_of_date"] > pd.Timestamp(cutoff)
    numbers = features.select_dtypes("number").columns
    other = features.copy()
    other[numbers] = other[numbers].astype(float)
    other.loc[later, numbers] *= 3
    found = [
        backtest.run(
            dataset.prepare_features(f), dataset.prepare_entries(e), AS_OF, HORIZON, [cutoff]
        ).predictions
        for f, e in ((features, entries), (other, another))
    ]
    # The history is too short for a season.
    assert set(found[0]["model_name"]) == set(MODELS) - set(WITH_SEASON.values())
    assert not np.array_equal(found[0]["actual_value"], found[1]["actual_value"])
    pd.testing.assert_frame_equal(
        *(frame.drop(columns="actual_value") for frame in found), check_exact=True
    )


def test_one_timers_and_the_silent_stay_in_training_test_and_service(
    entries: pd.DataFrame, valuation: Valuation
) -> None:
    """Dropping customers who never buy again filters on the outcome and flatters every metric."""
    first = entries[entries["net_amount"] > 0].groupby("customer_id")["date_day"].min()
    for cutoff, rows in valuation.training_set.groupby("as_of_date"):
        assert set(rows["customer_id"]) == set(first.index[first < cutoff])
    pareto = valuation.backtest.predictions.query("model_name == 'pareto_nbd_gamma_gamma'")
    for cutoff, rows in pareto.groupby("cutoff_date"):
        assert set(rows["customer_id"]) == set(first.index[first < cutoff])
    served = set(valuation.predictions["customer_id"])
    assert served == set(first.index[first < pd.Timestamp(AS_OF)])
    assert (valuation.population["purchase_days"] == 1).any()
    assert (valuation.training_set["future_value"] == 0).any()


def test_a_backtest_knows_no_outcome_that_was_late(entries: pd.DataFrame) -> None:
    """Returns recorded long after a cut-off count in the metrics there, not in the training."""
    cutoff, horizon_days = date(2021, 1, 1), HORIZON
    late = entries[entries["date_day"].between("2020-10-01", "2020-12-15")].assign(
        known_date=pd.Timestamp("2021-03-01"), net_amount=-1e5
    )
    both = dataset.prepare_entries(pd.concat([entries, late], ignore_index=True))
    features = dataset.prepare_features(world.features(entries, world.month_starts(AS_OF)))
    plain = dataset.training_set(features, dataset.prepare_entries(entries), cutoff, horizon_days)
    pd.testing.assert_frame_equal(dataset.training_set(features, both, cutoff, horizon_days), plain)
    later = dataset.training_set(features, both, AS_OF, horizon_days)
    assert (
        later["future_value"].sum()
        < dataset.training_set(features, dataset.prepare_entries(entries), AS_OF, horizon_days)[
            "future_value"
        ].sum()
    )


def test_outcomes_are_floored_and_count_purchase_days() -> None:
    day = pd.Timestamp("2021-06-01")
    rows = [
        ("a", day, day, 10.0),
        ("a", day, day + world.DAY, -10.0),  # the day nets to nothing: no purchase
        ("a", day + 2 * world.DAY, day + 2 * world.DAY, 5.0),
        ("a", day + HORIZON * world.DAY, day + HORIZON * world.DAY, 99.0),  # after the horizon
        ("b", day - world.DAY, day - world.DAY, 7.0),  # before the cut-off
        ("b", day, day, -3.0),
    ]
    shop_entries = dataset.prepare_entries(pd.DataFrame(rows, columns=dataset.ENTRY_COLUMNS))
    found = dataset.outcomes(shop_entries, pd.Series(["a", "b", "c"]), AS_OF, HORIZON)
    assert found["future_value"].tolist() == [5.0, 0.0, 0.0]
    assert found["future_orders"].tolist() == [1.0, 0.0, 0.0]


def test_the_cutoffs_are_the_latest_twelve_month_firsts_that_are_complete() -> None:
    days = [day.date() for day in pd.date_range("2019-01-01", "2021-06-01", freq="MS")]
    cutoffs = dataset.training_cutoffs([*days, date(2021, 2, 15)], AS_OF, 90)
    assert (cutoffs[0], cutoffs[-1], len(cutoffs)) == (date(2020, 4, 1), date(2021, 3, 1), 12)
    assert dataset.training_cutoffs(days, date(2019, 2, 1), 90) == []


@pytest.mark.parametrize(
    ("horizon_days", "expected"), [(7, 7.0), (18, 18.0), (90, 90.0), (365, 365.0), (600, 600.0)]
)
def test_last_window_interpolates_between_windows(horizon_days: int, expected: float) -> None:
    steady = pd.DataFrame(
        {
            **{f"net_amount_{days}d": [float(days)] for days in (7, 30, 60, 90, 180, 365)},
            **{f"purchase_days_{days}d": [float(days)] for days in (30, 90, 180, 365)},
            "total_net_amount": 700.0,
            "purchase_days": 700.0,
            "age_days": 700.0,
        }
    )
    found = LastWindow(horizon_days).predict(steady)
    assert found["predicted_value"].tolist() == pytest.approx([expected])
    assert found["expected_orders"].tolist() == pytest.approx([expected])


def some(entries: pd.DataFrame, customers: int) -> pd.DataFrame:
    return entries[entries["customer_id"].isin(entries["customer_id"].unique()[:customers])]


@pytest.mark.parametrize(
    ("case", "served"),
    [
        ("one customer, one purchase", "mean"),
        ("all one-timers", "mean"),
        ("30 customers", "pareto_nbd_gamma_gamma"),
        ("30 customers, long history", "pareto_nbd_gamma_gamma"),
        ("short history", "pareto_nbd_gamma_gamma"),
        ("long horizon", "pareto_nbd_gamma_gamma"),
        ("one amount, one day", "mean"),
    ],
)
def test_thin_data_is_served_and_says_so(entries: pd.DataFrame, case: str, served: str) -> None:
    first = entries.drop_duplicates("customer_id")
    shop_entries, horizon_days, as_of = {
        "one customer, one purchase": (first.iloc[:1], 90, AS_OF),
        "all one-timers": (first, 1095, AS_OF),
        "30 customers": (some(entries, 30), 180, date(2020, 9, 1)),
        "30 customers, long history": (some(entries, 30), 30, AS_OF),
        "short history": (entries, 180, date(2020, 2, 11)),
        "long horizon": (entries, 1095, AS_OF),
        "one amount, one day": (first.assign(date_day=world.START, net_amount=5.0), 400, AS_OF),
    }[case]
    dates = [as_of] if as_of < date(2020, 4, 1) else world.month_starts(as_of)
    dates = [day for day in dates if (shop_entries["date_day"] < pd.Timestamp(day)).any()]
    found = value_customers(world.features(shop_entries, dates), shop_entries, as_of, horizon_days)
    assert found.decision.model_name == served
    assert not found.decision.validated and "unvalidated" in found.decision.reason
    abstained = {c.model_name: str(c.abstention) for c in found.candidates if c.abstention}
    assert ("pareto_nbd_gamma_gamma" in abstained) == (served == "mean")
    assert all(abstained.values())
    numbers = found.predictions.select_dtypes("number")
    assert np.isfinite(numbers).all(axis=None) and len(found.predictions)


def test_the_two_errors() -> None:
    shop_entries = world.entries(customers=5)
    features = world.features(shop_entries, [AS_OF])
    with pytest.raises(UsageError, match="1095"):
        value_customers(features, shop_entries, AS_OF, 1096)
    with pytest.raises(PipelineError, match="before 2019-01-01"):
        value_customers(features, shop_entries, date(2019, 1, 1), 90)


@pytest.mark.slow
def test_the_real_data_meets_its_floors(online_retail_ii: Path) -> None:
    lines = pd.read_parquet(online_retail_ii, columns=["customer_id", "ts", "amount"])
    lines["date_day"] = lines["ts"].dt.normalize()
    shop_entries = lines.groupby(["customer_id", "date_day"], as_index=False)["amount"].sum()
    shop_entries = shop_entries.rename(columns={"amount": "net_amount"})
    shop_entries["known_date"] = shop_entries["date_day"]
    as_of, horizon_days = date(2011, 6, 1), 180
    months = pd.date_range("2010-03-01", "2010-12-01", freq="MS")
    features = world.features(shop_entries, [*(day.date() for day in months), as_of])
    found = value_customers(features, shop_entries, as_of, horizon_days)
    actual = dataset.outcomes(
        dataset.prepare_entries(shop_entries), found.population["customer_id"], as_of, horizon_days
    )
    measured = metrics.evaluate(found.predictions, actual["future_value"].to_numpy())
    assert found.decision.validated
    assert measured["normalized_gini"] >= 0.855  # type: ignore[operator]
    assert measured["r2"] >= 0.70  # type: ignore[operator]
    assert measured["mae_over_mean"] <= 0.75  # type: ignore[operator]
    assert 0.7 <= measured["coverage_80"] <= 0.9  # type: ignore[operator]
