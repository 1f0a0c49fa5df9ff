"""Totals of groups are sums of customers, and their intervals hold the actual totals."""

import numpy as np
import pandas as pd
import pytest

from retail_pipeline.clv.serving import totals

DAY = pd.Timestamp("2025-01-01")


def shop(customers: int = 1_500, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    active = random.beta(0.6, 1.2, customers)
    country = random.choice(["GB", "FR", None], customers, p=[0.7, 0.2, 0.1])
    return pd.DataFrame(
        {
            "predicted_value": active * random.lognormal(4, 1, customers),
            "expected_orders": active * 2,
            "probability_active": active,
            "value_shape": random.uniform(0.5, 4, customers),
            "actual_before": random.lognormal(3, 1, customers),
            "segment": random.choice(["high value, active", "low value, dormant"], customers),
            "clv_decile": random.integers(1, 11, customers),
            "country": country,
            "channel": "web",
            "cohort_year": random.choice([2023, 2024], customers),
        }
    )


def past_tests(bias: list[float], history_days: int = 700) -> pd.DataFrame:
    cutoffs = pd.date_range("2024-01-01", periods=len(bias), freq="MS")
    return pd.DataFrame(
        {
            "cutoff_date": cutoffs,
            "bias": bias,
            "predicted_value": 100.0 * np.array(bias),
            "actual_value": 100.0,
            "history_days": history_days,
        }
    )


def outcomes(customers: pd.DataFrame, seed: int) -> pd.Series:
    random = np.random.default_rng(seed)
    active, shape = customers["probability_active"], customers["value_shape"]
    value = random.gamma(shape, customers["predicted_value"] / active / shape)
    return pd.Series(np.where(random.random(len(customers)) < active, value, 0.0))


def test_each_grouping_adds_up_to_everybody() -> None:
    customers = shop()
    table = totals.group_totals([customers], np.ones(totals.DRAWS))
    whole = table.set_index("grouping").loc["all"]
    assert whole["predicted_value"] == pytest.approx(customers["predicted_value"].sum())
    assert whole["expected_buyers"] == pytest.approx(customers["probability_active"].sum())
    for grouping in ("segment", "clv_decile", "channel", "cohort_year"):
        sums = table[table["grouping"] == grouping].sum(numeric_only=True)
        for name in ("customers", "predicted_value", "expected_orders", "actual_before"):
            assert sums[name] == pytest.approx(whole[name]), (grouping, name)
    countries = table[table["grouping"] == "country"]
    assert sorted(countries["group_value"]) == ["FR", "GB"]
    assert countries["customers"].sum() == customers["country"].notna().sum()
    only = table[table["grouping"] == "channel"].iloc[0]
    assert (only["lower_80"], only["upper_80"]) == (whole["lower_80"], whole["upper_80"])


def test_totals_of_parts_are_those_of_the_whole() -> None:
    customers = shop().sort_values("country", ignore_index=True)
    levels = np.linspace(0.9, 1.1, totals.DRAWS)
    whole = totals.group_totals([customers], levels)
    in_parts = totals.group_totals([customers[:1_000], customers[1_000:]], levels)
    names = ["grouping", "group_value", "customers"]
    pd.testing.assert_frame_equal(in_parts[names], whole[names])
    sums = ["predicted_value", "expected_orders", "expected_buyers", "actual_before"]
    assert in_parts[sums].to_numpy() == pytest.approx(whole[sums].to_numpy())
    ends = ["lower_80", "upper_80"]
    assert in_parts[ends].to_numpy() == pytest.approx(whole[ends].to_numpy(), rel=0.1)


def test_eight_of_ten_totals_lie_inside() -> None:
    customers = shop()
    table = totals.group_totals([customers], np.ones(totals.DRAWS))
    for _, row in table[table["grouping"].isin(["all", "segment"])].iterrows():
        some = customers[(customers["segment"] == row["group_value"]) | (row["grouping"] == "all")]
        actual = np.array([outcomes(some.reset_index(), seed).sum() for seed in range(300)])
        inside = ((actual >= row["lower_80"]) & (actual <= row["upper_80"])).mean()
        assert inside == pytest.approx(0.8, abs=0.1), row["group_value"]


def test_levels_follow_the_tests_of_the_season() -> None:
    flat = totals.level_draws(past_tests([1.0] * 8), DAY, is_seasonal=True)
    assert np.median(flat) == pytest.approx(1, abs=0.01)
    high = totals.level_draws(past_tests([1.5, 1.2, 1.0, 0.9, 0.8, 0.8]), DAY, is_seasonal=False)
    assert np.median(high) < 0.9
    rough = totals.level_draws(past_tests([1.5, 0.6] * 4), DAY, is_seasonal=True)
    assert rough.std() > 2 * flat.std()
    untested = totals.level_draws(past_tests([]), DAY, is_seasonal=False)
    assert untested.std() == pytest.approx(0.1, rel=0.2)
    seasonal = totals.level_draws(past_tests([]), DAY, is_seasonal=True)
    assert seasonal.std() == pytest.approx(0.06, rel=0.2)
    assert np.array_equal(flat, totals.level_draws(past_tests([1.0] * 8), DAY, is_seasonal=True))


def test_errors_of_a_season_known_from_little_history_count_less() -> None:
    """The same errors, made with two years of history more, are the errors of today."""
    early, late = (
        past_tests([1.2, 0.8, 1.2]).assign(history_days=days) for days in (400, 400 + 730)
    )
    spreads = [totals.level_draws(tests, DAY, is_seasonal=True).std() for tests in (early, late)]
    assert spreads[0] < 0.6 * spreads[1]


def test_a_year_before_is_the_nearest_tested_cutoff() -> None:
    found = totals.year_before(past_tests([1.5, 1.2]), DAY)
    assert found == {"predicted_year_ago": 150.0, "actual_year_ago": 100.0}
    assert totals.year_before(past_tests([1.5]), pd.Timestamp("2025-03-01")) == {}
