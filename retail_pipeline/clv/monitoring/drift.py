"""Drift: the distribution of each feature and prediction, compared with a reference.

The comparison of two distributions is in `stability`.
"""

import json
from typing import Final

import pandas as pd

from retail_pipeline.clv.models.base import PREDICTED
from retail_pipeline.clv.monitoring import stability

COLUMNS: Final = [
    *("reference", "reference_date", "quantity", "is_prediction", "customers"),
    *("reference_customers", "stability_index", "chance_95", "mean_value"),
    *("reference_mean_value", "bins"),
]
_NO_QUANTITIES: Final = ["customer_id", "as_of_date", "horizon_days"]


def compared(name: str, now: pd.DataFrame, then: pd.DataFrame) -> list[tuple]:
    """Return one row for each number or text column that both frames have.

    Args:
        name: Name of the reference.
        now: Rows of the customers now.
        then: Rows of the reference, at one date or several.

    Returns:
        Rows of `COLUMNS`, `bins` as JSON text; no rows if one of the frames is empty.
    """
    if now.empty or then.empty:
        return []
    rows = []
    quantities = now.select_dtypes(exclude="datetime").columns.difference(_NO_QUANTITIES)
    for quantity in quantities.intersection(then.columns):
        one, other = now[quantity], then[quantity]
        if pd.api.types.is_numeric_dtype(one):
            found = stability.of_numbers(one.to_numpy(float), other.to_numpy(float))
            means = _mean(one), _mean(other)
        else:
            found, means = stability.of_texts(one, other), (float("nan"), float("nan"))
        rows.append(
            (
                *(name, then["as_of_date"].max(), quantity, quantity in PREDICTED),
                *(len(now), len(then), found.index, found.chance, *means, json.dumps(found.bins)),
            )
        )
    return rows


def _mean(values: pd.Series) -> float:
    """Return the mean of the known values; the same to the bit in any order of the rows."""
    return float(values.sort_values().mean())
