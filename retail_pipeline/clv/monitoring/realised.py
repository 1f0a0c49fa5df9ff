"""Past predictions whose horizon has passed, beside the actual values, by decile."""

from datetime import date
from typing import Final

import numpy as np
import pandas as pd

COLUMNS: Final = [
    *("clv_decile", "customers", "predicted_value", "realised_value"),
    *("inside_80", "expected_active", "realised_active"),
]


def judged(
    past: pd.DataFrame, day: date, origin: str, as_of: date, one_customer_in: int = 1
) -> pd.DataFrame:
    """Return the deciles of predictions made at one date, in the columns of the table.

    Args:
        past: As for `by_decile`, with `model_name`.
        day: The date that they were made for.
        origin: `served` or `backtest`.
        as_of: The date that they are judged at.
        one_customer_in: How many customers each row stands for.
    """
    return by_decile(past, one_customer_in).assign(
        as_of_date=pd.Timestamp(day),
        origin=origin,
        model_name=past["model_name"].iloc[0],
        judged_at_date=pd.Timestamp(as_of),
    )


def totals(known: pd.DataFrame) -> pd.DataFrame:
    """Return one row per origin and date: `summary` of its deciles."""
    return pd.DataFrame(
        [
            {"origin": origin, "from": str(day)[:10]} | summary(rows)
            for (day, origin), rows in known.groupby(["as_of_date", "origin"], sort=False)
        ]
    )


def by_decile(predictions: pd.DataFrame, one_customer_in: int = 1) -> pd.DataFrame:
    """Return one row per decile of one population.

    Args:
        predictions: `clv_decile`, `predicted_value`, `lower_80`, `upper_80`, `probability_active`,
            and `actual_value`.
        one_customer_in: How many customers each row stands for.

    Returns:
        `COLUMNS`, the lowest decile first.
    """
    actual = predictions["actual_value"]
    inside = (predictions["lower_80"] <= actual) & (actual <= predictions["upper_80"])
    frame = pd.DataFrame(
        {
            "clv_decile": predictions["clv_decile"].astype(int),
            "customers": 1,
            "predicted_value": predictions["predicted_value"],
            "realised_value": actual,
            "inside_80": inside.astype(int),
            "expected_active": predictions["probability_active"],
            "realised_active": (actual > 0).astype(int),
        }
    )
    return (frame.groupby("clv_decile").sum() * one_customer_in).reset_index()[COLUMNS]


def summary(deciles: pd.DataFrame) -> dict[str, float]:
    """Return the totals of `by_decile`, their ratio, and the share inside the intervals.

    Args:
        deciles: Rows of one date and origin.
    """
    sums = deciles[[name for name in COLUMNS if name != "clv_decile"]].sum()
    predicted, realised = float(sums["predicted_value"]), float(sums["realised_value"])
    return {
        "customers": int(sums["customers"]),
        "predicted_value": predicted,
        "realised_value": realised,
        "realised_over_predicted": realised / predicted if predicted > 0 else np.nan,
        "share_inside_80": float(sums["inside_80"]) / max(float(sums["customers"]), 1.0),
        "expected_active": float(sums["expected_active"]),
        "realised_active": int(sums["realised_active"]),
    }
