"""Segments: for decisions by value and activity, for communication the named RFM segments.

Value tiers are deciles of predicted value within the population; activity is the probability of a
purchase. The ten RFM segments are the warehouse's (`customer_rfm`); their rule is repeated here for
dates that the mart does not hold. What segments are worth, and who changes them, is counted here.
"""

from collections.abc import Callable
from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.evaluation.metrics import groups_by_rank
from retail_pipeline.clv.models.btyd import Array

ACTIVITY_DAYS: Final = 180
"""Activity is named for half a year, whatever the horizon: over one week nobody would be active."""

HIGH_FROM_DECILE: Final = 9
MEDIUM_FROM_DECILE: Final = 5
ACTIVE_FROM: Final = 0.5
FADING_FROM: Final = 0.2

SEGMENTS: Final = tuple(
    f"{value} value, {activity}"
    for value in ("high", "medium", "low")
    for activity in ("active", "fading", "dormant")
)
"""Best first: high value is deciles 9-10, medium 5-8, low 1-4; active is a probability of a
purchase within half a year of .5 or more, fading of .2 or more, dormant below."""


def assign(predictions: pd.DataFrame, horizon_days: int) -> pd.DataFrame:
    """Return the predictions with `clv_decile` and `segment`.

    Args:
        predictions: `predicted_value` and `probability_active` of the whole population.
        horizon_days: The horizon that the probability is for.

    Returns:
        A copy; `clv_decile` is 10 for the best tenth, 1 for the lowest, ties together.
    """
    deciles = groups_by_rank(predictions["predicted_value"].to_numpy(float))
    active = _half_year(predictions["probability_active"].to_numpy(float), horizon_days)
    value = np.select([deciles >= HIGH_FROM_DECILE, deciles >= MEDIUM_FROM_DECILE], [0, 1], 2)
    activity = np.select([active >= ACTIVE_FROM, active >= FADING_FROM], [0, 1], 2)
    names = np.array(SEGMENTS, dtype=object)[3 * value + activity]
    return predictions.assign(clv_decile=deciles, segment=names)


def summarise(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one row per segment that has customers, best first.

    Args:
        predictions: `segment`, `predicted_value`, `probability_active`.
    """
    table = _sizes(predictions, "segment").set_index("segment")
    present = [name for name in SEGMENTS if name in table.index]
    return table.loc[present].reset_index()


def summarise_rfm(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one row per named RFM segment that has customers, the most valuable first.

    Args:
        predictions: `rfm_segment`, `predicted_value`, `probability_active`.
    """
    table = _sizes(predictions, "rfm_segment")
    return table.sort_values(["predicted_value", "rfm_segment"], ascending=[False, True])


def past_worth(past: pd.DataFrame, horizon_days: int) -> pd.DataFrame:
    """Return what the customers of each segment brought after the past cut-offs.

    Args:
        past: Backtest predictions of one model: `cutoff_date`, `predicted_value`,
            `probability_active`, `actual_value`.
        horizon_days: Their horizon.

    Returns:
        By segment `past_customers`, `past_mean_value`, `past_share_of_value`; a customer counts
        once per cut-off.
    """
    if past.empty:
        columns = ["past_customers", "past_mean_value", "past_share_of_value"]
        return pd.DataFrame(columns=columns, index=pd.Index([], name="segment"), dtype=float)
    named = pd.concat(
        [assign(rows, horizon_days) for _, rows in past.groupby("cutoff_date", sort=True)]
    )
    worth = named.groupby("segment")["actual_value"].agg(["size", "mean", "sum"])
    total = float(named["actual_value"].sum())
    return pd.DataFrame(
        {
            "past_customers": worth["size"],
            "past_mean_value": worth["mean"],
            "past_share_of_value": worth["sum"] / total if total > 0 else 0.0,
        }
    )


def worth(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return what the predictions of each segment come to, discounted and as margin.

    Args:
        predictions: `segment`, `discounted_value`, `predicted_margin`, `discounted_margin`; NaN
            where it is unknown.

    Returns:
        The sums by segment; NaN where nothing is known.
    """
    columns = ["discounted_value", "predicted_margin", "discounted_margin"]
    return predictions.groupby("segment")[columns].sum(min_count=1)


def rfm(features: pd.DataFrame) -> pd.Series:
    """Return the named RFM segment of each customer, by the rule of `warehouse.customer_rfm`.

    Args:
        features: The whole population at one date: `recency_days`, `purchase_days`,
            `total_net_amount`.
    """
    recent = _quintile(-features["recency_days"].to_numpy(float))
    frequent = _quintile(features["purchase_days"].to_numpy(float))
    cases = [
        ((recent == 5) & (frequent >= 4), "Champions"),
        ((recent >= 3) & (frequent >= 4), "Loyal customers"),
        ((recent <= 2) & (frequent == 5), "Cannot lose them"),
        ((recent <= 2) & (frequent >= 3), "At risk"),
        (recent <= 2, "Hibernating"),
        ((recent == 3) & (frequent == 3), "Need attention"),
        (recent == 3, "About to sleep"),
        (frequent >= 2, "Potential loyalists"),
        (recent == 5, "New customers"),
    ]
    names = np.select([rows for rows, _ in cases], [name for _, name in cases], "Promising")
    return pd.Series(names, index=features.index, name="rfm_segment", dtype=object)


def changes(before: pd.DataFrame, after: pd.DataFrame, since: pd.Timestamp) -> pd.DataFrame:
    """Return how many customers moved between which labels, and how many of them bought nothing.

    Args:
        before: `customer_id`, `label` at the earlier date.
        after: `customer_id`, `label`, `last_purchase_date` at the later one.
        since: The earlier date; a purchase on or after it is one in between.

    Returns:
        `label_before`, `label_after`, `customers`, `customers_without_purchase`; only customers of
        both dates, those who stayed included.
    """
    both = before.merge(after, on="customer_id", suffixes=("_before", "_after"))
    both["idle"] = both["last_purchase_date"] < since
    moves = both.groupby(["label_before", "label_after"], as_index=False).agg(
        customers=("idle", "size"), customers_without_purchase=("idle", "sum")
    )
    return moves.astype({"customers_without_purchase": int})


def labelled(
    features: pd.DataFrame, predict: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    """Return what labels are given by: what a model predicts, and what RFM reads.

    Args:
        features: Prepared features of some customers at one date.
        predict: The model.
    """
    return features[_RFM_COLUMNS].join(predict(features))


_RFM_COLUMNS = [
    *("customer_id", "last_purchase_date", "recency_days"),
    *("purchase_days", "total_net_amount"),
]


def moves(
    before: pd.DataFrame, after: pd.DataFrame, since: date, horizon_days: int
) -> pd.DataFrame:
    """Return the changes of both schemes of labels between two dates.

    Args:
        before: `labelled` for everybody at the earlier date, by one model for both dates, so that
            a change is the customers' and not the model's.
        after: The same at the later date.
        since: The earlier date.
        horizon_days: The model's horizon.

    Returns:
        The columns of `changes` and `scheme` ("decision" or "rfm").
    """
    schemes: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        "decision": lambda those: assign(those, horizon_days)["segment"],
        "rfm": rfm,
    }
    found = []
    for scheme, label in schemes.items():
        then, now = (
            those[["customer_id", "last_purchase_date"]].assign(label=label(those))
            for those in (before, after)
        )
        earlier = then.drop(columns="last_purchase_date")
        found.append(changes(earlier, now, pd.Timestamp(since)).assign(scheme=scheme))
    return pd.concat(found, ignore_index=True)


def idle_changes(moved: pd.DataFrame) -> dict[str, float]:
    """Return, per scheme, how many bought nothing, and how many of them changed their label."""
    found: dict[str, float] = {}
    for scheme, rows in moved.groupby("scheme"):
        idle = int(rows["customers_without_purchase"].sum())
        elsewhere = rows[rows["label_before"] != rows["label_after"]]
        changed = int(elsewhere["customers_without_purchase"].sum())
        found |= {
            f"{scheme}_without_purchase": idle,
            f"{scheme}_changed_without_purchase": changed,
        }
        if idle:
            found[f"{scheme}_share_changed"] = round(changed / idle, 4)
    return found


def _sizes(predictions: pd.DataFrame, by: str) -> pd.DataFrame:
    table = predictions.groupby(by).agg(
        customers=("predicted_value", "size"),
        predicted_value=("predicted_value", "sum"),
        mean_predicted_value=("predicted_value", "mean"),
        mean_probability_active=("probability_active", "mean"),
    )
    table["share_of_customers"] = table["customers"] / len(predictions)
    total = table["predicted_value"].sum()
    table["share_of_value"] = table["predicted_value"] / total if total > 0 else 0.0
    return table.reset_index()


def _quintile(values: Array) -> np.ndarray:
    """Return scores 1 to 5 by rank, equal values together, as the macro `quintile` does."""
    below = np.searchsorted(np.sort(values), values, side="left")
    share = below / max(len(values) - 1, 1)
    return np.minimum(5, 1 + np.floor(5 * share)).astype(int)


def _half_year(probability: Array, horizon_days: int) -> Array:
    """Return probabilities carried from the horizon to half a year at an even hazard."""
    power = ACTIVITY_DAYS / horizon_days
    return -np.expm1(power * np.log1p(-np.minimum(probability, 1 - 1e-12)))
