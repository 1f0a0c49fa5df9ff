"""Drift: the distribution of each feature and prediction beside that of a reference.

The comparison of two distributions is in `stability`.
"""

import json
from typing import Final

import pandas as pd

from retail_pipeline.clv.monitoring import stability

COLUMNS: Final = [
    *("quantity", "is_prediction", "customers", "reference_customers", "stability_index"),
    *("chance_95", "mean_value", "reference_mean_value", "bins"),
]
_NO_QUANTITIES: Final = ("customer_id", "as_of_date", "horizon_days")


def compared(
    current: pd.DataFrame, reference: pd.DataFrame, *, is_prediction: bool = False
) -> pd.DataFrame:
    """Return one row per column that both frames have: numbers and texts; dates are passed over.

    Args:
        current: Customers now.
        reference: Customers, or customers at several dates, that they are compared with.
        is_prediction: Whether the columns are predictions.

    Returns:
        `COLUMNS`, `bins` as JSON text; empty where one of the frames is.
    """
    rows = []
    for name in current.columns.intersection(reference.columns, sort=False):
        if name in _NO_QUANTITIES or not len(current) or not len(reference):
            continue
        now, then = current[name], reference[name]
        if pd.api.types.is_datetime64_any_dtype(now):
            continue
        if pd.api.types.is_numeric_dtype(now):
            found = stability.of_numbers(now.to_numpy(float), then.to_numpy(float))
            means = float(now.mean()), float(then.mean())
        else:
            found, means = stability.of_texts(now, then), (float("nan"), float("nan"))
        rows.append(
            (
                *(name, is_prediction, len(current), len(reference), found.index),
                *(found.chance, *means, json.dumps(found.bins)),
            )
        )
    return pd.DataFrame(rows, columns=COLUMNS)
