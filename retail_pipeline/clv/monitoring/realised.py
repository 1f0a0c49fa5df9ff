"""Past predictions whose horizon has passed, compared with actual values by decile."""

from typing import Final

import pandas as pd

KEY: Final = ["as_of_date", "origin", "clv_decile"]
_SUMS: Final = [
    *("customers", "predicted_value", "realised_value"),
    *("inside_80", "expected_active", "realised_active"),
]


def by_decile(predictions: pd.DataFrame, one_customer_in: int = 1) -> pd.DataFrame:
    """Return one row per date, origin and decile.

    Args:
        predictions: `as_of_date`, `origin`, `model_name`, `clv_decile`, `predicted_value`,
            `lower_80`, `upper_80`, `probability_active`, and `actual_value`.
        one_customer_in: Number of customers that each row represents.

    Returns:
        Columns of `clv.realised_predictions`, the lowest decile first.
    """
    actual = predictions["actual_value"]
    counted = predictions.assign(
        clv_decile=predictions["clv_decile"].astype(int),
        customers=1,
        realised_value=actual,
        inside_80=actual.between(predictions["lower_80"], predictions["upper_80"]).astype(int),
        expected_active=predictions["probability_active"],
        realised_active=(actual > 0).astype(int),
    )
    sums = counted.groupby([*KEY, "model_name"])[_SUMS].sum() * one_customer_in
    return sums.reset_index()


def totals(known: pd.DataFrame) -> pd.DataFrame:
    """Return one row per date and origin: sums of its deciles, their ratio, the share in intervals.

    Args:
        known: Rows of `clv.realised_predictions` of one horizon.
    """
    sums = known.groupby(KEY[:2])[_SUMS].sum().sort_index(ascending=False)
    predicted = sums["predicted_value"]
    return sums.assign(
        realised_over_predicted=sums["realised_value"] / predicted.where(predicted > 0),
        share_inside_80=sums["inside_80"] / sums["customers"],
    ).reset_index()
