"""What the assets of this room read and write: typed frames in, exact decimals out, digests kept.

No modelling, no Dagster. Models and decisions are in `store`, the backtest's tables in `cutoffs`.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Final

import pandas as pd
import pyarrow as pa

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.data.sampling import (
    Buckets,
    count_parts,
)
from retail_pipeline.postgres import Database

WORTH: Final = ("predicted_value", "discounted_value", "predicted_margin", "discounted_margin")
"""What the columns of `clv.predictions` say in money, intervals aside."""

Ids = tuple[str | None, str | None]
"""A range of customers: from an id on, and the id that it ends before; None where it is open."""


def as_of_dates(database: Database) -> list[date]:
    """Return the dates that the features hold."""
    dates = database.query("select distinct as_of_date from warehouse.customer_features")
    return [pd.Timestamp(day).date() for day in dates["as_of_date"]]


def buckets(database: Database, as_of: date) -> Buckets:
    """Return the buckets of the population at a date."""
    return Buckets.of(_customers(database, as_of))


def features(database: Database, dates: Sequence[date], buckets: Buckets) -> pd.DataFrame:
    """Return the prepared features at some dates of the customers that models learn from."""
    return dataset.prepare_features(
        database.read(
            "warehouse.customer_features",
            where=f"as_of_date = any(%s) and {_in_bucket(buckets)}",
            params=[list(dates)],
        )
    )


def parts(database: Database, as_of: date) -> list[Ids]:
    """Return the parts in which everybody at a date is scored, in the order of ids.

    Raises:
        PipelineError: There is nobody.
    """
    found = database.query(
        "select min(customer_id) as first_id from ("
        "select customer_id, ntile(%s) over (order by customer_id) as part "
        "from warehouse.customer_features where as_of_date = %s"
        ") as numbered group by part order by part",
        [count_parts(_customers(database, as_of)), as_of],
    )
    if found.empty:
        raise dataset.nobody(as_of)
    starts = [None, *found["first_id"].astype(str)[1:], None]
    return list(pairwise(starts))


def features_of_part(database: Database, as_of: date, ids: Ids) -> pd.DataFrame:
    """Return the prepared features at a date of the customers in a part: neighbours on disk."""
    return dataset.prepare_features(
        database.read(
            "warehouse.customer_features",
            where=f"as_of_date = %(as_of)s and {_RANGE}",
            params={"as_of": as_of, "start": ids[0], "end": ids[1]},
        )
    )


_RANGE: Final = (
    "(%(start)s::text is null or customer_id >= %(start)s) "
    "and (%(end)s::text is null or customer_id < %(end)s)"
)
"""A condition that is bound before it is sent: the planner sees what is left of it."""


def entries(database: Database, as_of: date, buckets: Buckets) -> pd.DataFrame:
    """Return the prepared ledger, as it was known at a date, of those that models learn from."""
    return dataset.prepare_entries(
        database.read(
            "warehouse.customer_day_entries",
            dataset.ENTRY_COLUMNS,
            where=f"date_day < %s and known_date < %s and {_in_bucket(buckets)}",
            params=[as_of, as_of],
        )
    )


def _customers(database: Database, as_of: date) -> int:
    found = database.query(
        "select count(*) as customers from warehouse.customer_features where as_of_date = %s",
        [as_of],
    )
    return int(found["customers"].iloc[0])


def _in_bucket(buckets: Buckets) -> str:
    """Return a condition on customers that their tables' indexes answer, beyond one bucket."""
    if buckets.count == 1:
        return "true"
    dimension = "select customer_id from warehouse.dim_customers"
    return f"customer_id in ({dimension} where {buckets.condition()})"


_COSTED_SALES = """
with costed_lines as (
    select
        items.customer_id,
        items.product_id,
        items.net_amount,
        items.quantity * costs.cost as cost_of_goods
    from warehouse.fct_transaction_items as items
    inner join warehouse.product_costs as costs on items.product_id = costs.product_id
        and costs.known_from < %(as_of)s
        and coalesce((items.transacted_at at time zone 'UTC')::date >= costs.sold_from, true)
        and coalesce((items.transacted_at at time zone 'UTC')::date < costs.sold_until, true)
    where {range}
        and greatest(items.transacted_at, items.recorded_at)
        < %(as_of)s::timestamp at time zone 'UTC'
        and not items.is_excluded
        and items.customer_id is not null
        and items.quantity is not null
    -- Sorted, they are added up as they come; hashed, more products than were expected go to disk.
    order by items.customer_id, items.product_id
),

products as (
    select
        customer_id,
        sum(net_amount) as net_amount,
        sum(cost_of_goods) as cost_of_goods
    from costed_lines
    group by customer_id, product_id
)

select
    customer_id,
    count(*) as products,
    sum(net_amount) as net_amount,
    sum(cost_of_goods) as cost_of_goods,
    sum((net_amount - cost_of_goods) * (net_amount - cost_of_goods) / net_amount)
        as squared_margin_over_net
from products
where net_amount > 0
group by customer_id
order by customer_id
"""


def costed_sales(database: Database, as_of: date, ids: Ids = (None, None)) -> pd.DataFrame:
    """Return what each customer has bought at a known cost, as it was known at a date.

    Returns are deducted, goods and cost, product by product; what came back entirely is left out.

    Args:
        database: As the scientist.
        as_of: The date.
        ids: The customers wanted; by default all.

    Returns:
        One row per customer: `customer_id`, `products` (how many), `net_amount` (more than 0) and
        `cost_of_goods` of them, `squared_margin_over_net` (summed over the products). No row where
        no product that was sold has a known cost.
    """
    wanted = _RANGE.replace("customer_id", "items.customer_id")
    params = {"as_of": as_of, "start": ids[0], "end": ids[1]}
    return database.query(_COSTED_SALES.format(range=wanted), params)


def backtest_metrics(database: Database, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return the metrics at the cut-offs that are due at this date; older rows do not vote."""
    frame = database.read(
        "clv.backtest_metrics",
        where="horizon_days = %s order by cutoff_date, model_name",
        params=[horizon_days],
    )
    due = dataset.training_cutoffs(as_of_dates(database), as_of, horizon_days)
    return frame[frame["cutoff_date"].isin([pd.Timestamp(day) for day in due])]


def publish_training_set(database: Database, frame: pd.DataFrame, horizon_days: int) -> int:
    """Replace the training set of a horizon; its columns follow the features."""
    days = [name for name in (*dataset.DATES, "as_of_date") if name in frame]
    texts = [name for name in dataset.TEXTS if name in frame]
    typed = frame.assign(
        **{name: frame[name].dt.date for name in days},
        **{name: frame[name].astype("string") for name in texts},
    )
    # Of one horizon the table holds one training set: what earlier dates were given is gone.
    database.execute(
        "delete from clv.input_digests where asset_name = 'training_set' and horizon_days = %s",
        [horizon_days],
    )
    return database.publish(
        "clv.training_set",
        exact(typed, "future_value"),
        ["customer_id", "as_of_date", "horizon_days"],
        replace_where=f"horizon_days = {horizon_days}",
        create=True,
    )


def publish_sizes(
    database: Database, name: str, label: str, table: pd.DataFrame, as_of: date, horizon_days: int
) -> int:
    """Replace the sizes and values of segments at a date and horizon (`clv.<name>`)."""
    dated = table.assign(as_of_date=pd.Timestamp(as_of), horizon_days=horizon_days)
    return database.publish(
        f"clv.{name}",
        exact(dated, "predicted_value", "mean_predicted_value"),
        ["as_of_date", "horizon_days", label],
        replace_where=f"as_of_date = '{as_of}' and horizon_days = {horizon_days}",
    )


def exact(frame: pd.DataFrame, *money: str) -> pd.DataFrame:
    """Return the frame with money as shortest exact decimals.

    PostgreSQL casts a double to numeric by 15 digits, so a value would not come back as it went.
    """
    texts = pa.string()
    decimals = {name: pa.array(frame[name].to_numpy(float)).cast(texts) for name in money}
    return frame.assign(
        **{
            name: pd.Series(text, frame.index, pd.ArrowDtype(texts))
            for name, text in decimals.items()
        }
    )


def digests(database: Database, asset_name: str, horizon_days: int) -> dict[date, str]:
    """Return what an asset's kept results were computed from, by their date."""
    rows = database.query(
        "select for_date, digest from clv.input_digests "
        "where asset_name = %s and horizon_days = %s",
        [asset_name, horizon_days],
    )
    return {pd.Timestamp(row["for_date"]).date(): row["digest"] for row in rows.to_dict("records")}


def forget_digests(
    database: Database, asset_name: str, horizon_days: int, dates: Sequence[date]
) -> None:
    """Declare results out of date before they are written anew: a half-written one is not kept."""
    database.execute(
        "delete from clv.input_digests "
        "where asset_name = %s and horizon_days = %s and for_date = any(%s)",
        [asset_name, horizon_days, list(dates)],
    )


def keep_digests(
    database: Database, asset_name: str, horizon_days: int, digests: Mapping[date, str]
) -> None:
    """Declare results up to date, once they are written."""
    frame = pd.DataFrame(
        {
            "asset_name": asset_name,
            "for_date": list(digests),
            "horizon_days": horizon_days,
            "digest": list(digests.values()),
            "made_at": pd.Timestamp.now("UTC"),
        }
    )
    if len(frame):
        database.publish("clv.input_digests", frame, ["asset_name", "for_date", "horizon_days"])
