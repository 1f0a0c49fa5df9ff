"""The limits of segments: deciles 9 and 5, probabilities .5 and .2 in half a year."""

import numpy as np
import pandas as pd
import pytest

from retail_pipeline.clv.serving import segments


def assigned(probability: float, horizon_days: int) -> pd.DataFrame:
    """Return ten customers, one per decile of value, all equally active."""
    frame = pd.DataFrame({"predicted_value": np.arange(1.0, 11), "probability_active": probability})
    return segments.assign(frame, horizon_days)


def test_high_value_starts_at_decile_nine_and_medium_at_five() -> None:
    found = assigned(0.9, segments.ACTIVITY_DAYS)
    tiers = found["segment"].str.split(" ").str[0]
    assert dict(zip(found["clv_decile"], tiers, strict=True)) == {
        **dict.fromkeys(range(1, 5), "low"),
        **dict.fromkeys(range(5, 9), "medium"),
        **dict.fromkeys((9, 10), "high"),
    }


@pytest.mark.parametrize(
    ("probability", "activity"),
    [
        *((0.501, "active"), (0.499, "fading"), (0.299, "fading")),
        *((0.201, "fading"), (0.199, "dormant"), (0.0, "dormant")),
    ],
)
def test_activity_changes_its_name_at_a_half_and_at_a_fifth(
    probability: float, activity: str
) -> None:
    named = assigned(probability, 180)["segment"].str.split(", ").str[1]
    assert named.unique().tolist() == [activity]


@pytest.mark.parametrize(
    ("horizon_days", "probability", "activity"),
    [
        # 1 - .89 ** 6 = .503 and 1 - .9 ** 6 = .469; 1 - .96 ** 6 = .217 and 1 - .97 ** 6 = .167
        *((30, 0.11, "active"), (30, 0.10, "fading"), (30, 0.04, "fading"), (30, 0.03, "dormant")),
        # 1 - .24 ** .5 = .510 and 1 - .26 ** .5 = .490
        *((360, 0.76, "active"), (360, 0.74, "fading")),
    ],
)
def test_a_probability_is_carried_to_half_a_year_whatever_the_horizon(
    horizon_days: int, probability: float, activity: str
) -> None:
    named = assigned(probability, horizon_days)["segment"].str.split(", ").str[1]
    assert named.unique().tolist() == [activity]


def test_shares_of_segments_without_value_are_zero() -> None:
    counted = pd.DataFrame({"segment": ["a", "b"], "customers": [3, 1], "predicted_value": 0.0})
    found = segments.with_shares(counted)
    assert found["share_of_customers"].tolist() == [0.75, 0.25]
    assert found["share_of_value"].tolist() == found["mean_predicted_value"].tolist() == [0, 0]
    worth = segments.with_shares(counted.assign(predicted_value=[30.0, 90.0]))
    assert worth["share_of_value"].tolist() == [0.25, 0.75]
    assert worth["mean_predicted_value"].tolist() == [10, 90]
