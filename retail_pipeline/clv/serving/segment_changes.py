"""Moves of customers between segments since an earlier date, with and without a purchase.

The fewer customers change their segment without a purchase, the steadier the segments are.
"""

from datetime import date

import pandas as pd

from retail_pipeline.clv.models.base import ValueModel
from retail_pipeline.clv.serving.score import labels
from retail_pipeline.postgres import Database

_RFM_MOVES = """
select
    previous_rfm_segment as label_before,
    rfm_segment as label_after,
    count(*) as customers,
    count(*) filter (where recency_days > as_of_date - previous_as_of_date)
        as customers_without_purchase
from warehouse.customer_rfm
where previous_rfm_segment is not null
group by 1, 2
order by 1, 2
"""

_SERVED = """
select customer_id, segment as label, last_purchase_date
from clv.predictions
inner join warehouse.customer_features using (customer_id, as_of_date)
where as_of_date = %s and horizon_days = %s
"""


def of_decisions(database: Database, model: ValueModel, since: date, as_of: date) -> pd.DataFrame:
    """Return the moves between segments of value and activity.

    Both dates are scored by one model, so a new model causes no moves.

    Args:
        database: The database, with the scientist's role.
        model: The model that made the predictions of the later date.
        since: The earlier date.
        as_of: The later date.

    Returns:
        `label_before`, `label_after`, `customers`, `customers_without_purchase`, for the customers
        of both dates. Customers who stay in a segment have a row with equal labels.
    """
    before = labels(database, model, since).rename(columns={"segment": "label"})
    after = database.query(_SERVED, [as_of, model.horizon_days])
    return moves(before, after, pd.Timestamp(since))


def of_rfm(database: Database) -> pd.DataFrame:
    """Return the moves between named RFM segments, in the columns of `of_decisions`."""
    return database.query(_RFM_MOVES)


def moves(before: pd.DataFrame, after: pd.DataFrame, since: pd.Timestamp) -> pd.DataFrame:
    """Return the number of customers per pair of labels, and how many of them bought nothing.

    Args:
        before: `customer_id`, `label` at the earlier date.
        after: `customer_id`, `label`, `last_purchase_date` at the later one.
        since: The earlier date; a purchase on or after it lies between the dates.
    """
    both = before.merge(after, on="customer_id", suffixes=("_before", "_after"))
    both["idle"] = both["last_purchase_date"] < since
    found = both.groupby(["label_before", "label_after"], as_index=False).agg(
        customers=("idle", "size"), customers_without_purchase=("idle", "sum")
    )
    return found.astype({"customers_without_purchase": int})


def idle_changes(moved: pd.DataFrame) -> dict[str, float]:
    """Return, per scheme, the number without a purchase and how many of them changed segment."""
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
