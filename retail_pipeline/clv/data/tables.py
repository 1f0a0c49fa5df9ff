"""Reads features, entries and costed sales as typed frames; writes money as exact decimals."""

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Final

import pandas as pd
import pyarrow as pa

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.data.sampling import (
    TrainingSample,
    count_parts,
)
from retail_pipeline.postgres import Database

MONEY: Final = ("predicted_value", "discounted_value", "predicted_margin", "discounted_margin")
"""The money columns of `clv.predictions` except the interval ends."""

Ids = tuple[str | None, str | None]
"""A range of customer ids: its first id, and the id that it ends before; None for an open end."""


def as_of_dates(database: Database) -> list[date]:
    """Return the as-of dates of the features."""
    dates = database.query("select distinct as_of_date from warehouse.customer_features")
    return [pd.Timestamp(day).date() for day in dates["as_of_date"]]


def training_sample(database: Database, as_of: date) -> TrainingSample:
    """Return the training sample of the population at a date."""
    return TrainingSample.of(_customers(database, as_of))


def features(database: Database, dates: Sequence[date], sample: TrainingSample) -> pd.DataFrame:
    """Return the prepared features of a training sample at some dates."""
    return dataset.prepare_features(
        database.read(
            "warehouse.customer_features",
            where=f"as_of_date = any(%s) and {_in_sample(sample)}",
            params=[list(dates)],
        )
    )


def parts(database: Database, as_of: date) -> list[Ids]:
    """Return the parts in which all customers of a date are scored, in the order of ids.

    Raises:
        PipelineError: There are no customers.
    """
    found = database.query(
        "select min(customer_id) as first_id from ("
        "select customer_id, ntile(%s) over (order by customer_id) as part "
        "from warehouse.customer_features where as_of_date = %s"
        ") as numbered group by part order by part",
        [count_parts(_customers(database, as_of)), as_of],
    )
    if found.empty:
        raise dataset.no_customers(as_of)
    starts = [None, *found["first_id"].astype(str)[1:], None]
    return list(pairwise(starts))


def features_of_part(database: Database, as_of: date, ids: Ids) -> pd.DataFrame:
    """Return the prepared features of the customers in a part at a date."""
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
"""Values are bound on the client, so the planner drops the comparison with an open end."""


def entries(database: Database, as_of: date, sample: TrainingSample) -> pd.DataFrame:
    """Return the prepared entries of a training sample as known before a date."""
    return dataset.prepare_entries(
        database.read(
            "warehouse.customer_day_entries",
            dataset.ENTRY_COLUMNS,
            where=f"date_day < %s and known_date < %s and {_in_sample(sample)}",
            params=[as_of, as_of],
        )
    )


def customers_of_part(database: Database, as_of: date, horizon_days: int, ids: Ids) -> pd.DataFrame:
    """Return what totals of groups need of the customers in a part, in the order of ids.

    Returns:
        `predicted_value, expected_orders, probability_active, value_shape` as served, the columns
        that totals are grouped by, and `actual_before` (net amount in the last `horizon_days` days
        before the date, as known then).
    """
    window = {"as_of": as_of, "horizon": horizon_days, "start": ids[0], "end": ids[1]}
    served = database.query(
        "select customer_id, segment, clv_decile, predicted_value, expected_orders, "
        "probability_active, value_shape from clv.predictions "
        # Without statistics PostgreSQL would read the whole date by its index: `+ 0` rules it out.
        f"where as_of_date + 0 = %(as_of)s and horizon_days = %(horizon)s and {_RANGE}",
        window,
    )
    traits = database.query(
        "select customer_id, country, channel, "
        "extract(year from cohort_month)::integer::text as cohort_year "
        f"from warehouse.customer_features where as_of_date = %(as_of)s and {_RANGE}",
        window,
    )
    spent = database.query(
        "select customer_id, sum(net_amount) as actual_before from warehouse.customer_day_entries "
        "where date_day >= %(as_of)s::date - %(horizon)s and date_day < %(as_of)s "
        f"and known_date < %(as_of)s and {_RANGE} group by customer_id",
        window,
    )
    found = served.merge(traits, "left", "customer_id", validate="one_to_one")
    found = found.merge(spent, "left", "customer_id", validate="one_to_one")
    return found.fillna({"actual_before": 0.0}).sort_values("customer_id", ignore_index=True)


def counted_by(database: Database, label: str, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return the number, mean probability and summed `MONEY` of the served customers of each label.

    Args:
        database: The database.
        label: `segment`, or `rfm_segment` of the latest `customer_rfm`.
        as_of: The date of the predictions.
        horizon_days: Their horizon.

    Returns:
        The label, `customers`, the `MONEY` and `mean_probability_active`, in the order of labels. A
        sum is null if all its amounts are.
    """
    named = "" if label == "segment" else "join warehouse.customer_rfm using (customer_id)"
    # Sums of decimals are exact: doubles in another order would differ in their last bits.
    sums = ", ".join(f"sum(served.{name}) as {name}" for name in MONEY)
    return database.query(
        f"select {label}, count(*) as customers, {sums}, avg(probability_active::numeric) "
        f"as mean_probability_active from clv.predictions as served {named} "
        "where served.as_of_date = %(as_of)s and horizon_days = %(horizon)s "
        "group by 1 order by 1",
        {"as_of": as_of, "horizon": horizon_days},
    )


def totals_tested(
    database: Database, as_of: date, horizon_days: int, model_name: str
) -> pd.DataFrame:
    """Return a model's totals at the past cut-offs whose outcome is complete, the latest first.

    Returns:
        `cutoff_date, predicted_value, actual_value, bias` (predicted over actual total),
        `history_days` (from the first purchase to the cut-off).
    """
    # Sums of decimals are exact: doubles in another order would differ in their last bits.
    found = database.query(
        "select cutoff_date, sum(predicted_value::numeric) as predicted_value, "
        "sum(actual_value::numeric) as actual_value, cutoff_date - ("
        "select min(date_day) from warehouse.customer_day_entries) as history_days "
        "from clv.backtest_predictions where model_name = %(model)s "
        "and horizon_days = %(horizon)s and cutoff_date + horizon_days <= %(as_of)s "
        "group by cutoff_date having sum(predicted_value) > 0 and sum(actual_value) > 0 "
        "order by cutoff_date desc",
        {"model": model_name, "horizon": horizon_days, "as_of": as_of},
    )
    return found.assign(
        cutoff_date=pd.to_datetime(found["cutoff_date"]),
        bias=found["predicted_value"] / found["actual_value"],
    )


def _customers(database: Database, as_of: date) -> int:
    found = database.query(
        "select count(*) as customers from warehouse.customer_features where as_of_date = %s",
        [as_of],
    )
    return int(found["customers"].iloc[0])


def _in_sample(sample: TrainingSample) -> str:
    """Return the condition that selects a sample by the index on `customer_id`."""
    if sample.one_customer_in == 1:
        return "true"
    dimension = "select customer_id from warehouse.dim_customers"
    return f"customer_id in ({dimension} where {sample.condition()})"


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
        and coalesce(items.date_day >= costs.sold_from, true)
        and coalesce(items.date_day < costs.sold_until, true)
    where {range}
        and items.known_date < %(as_of)s
        and not items.is_excluded
        and items.customer_id is not null
        and items.quantity is not null
    -- Sorted rows are aggregated in one pass; a hash aggregate of so many products spills to disk.
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
    """Return each customer's sales of products with a known cost, as known before a date.

    Returns are deducted, amount and cost, product by product. Products that were returned
    completely are left out.

    Args:
        database: The database, with the scientist's role.
        as_of: The date.
        ids: The customers; by default all.

    Returns:
        One row per customer: `customer_id`, `products` (their number), `net_amount` (more than 0)
        and `cost_of_goods` of these products, `squared_margin_over_net` (summed over products).
        Empty if no product that was sold has a known cost.
    """
    wanted = _RANGE.replace("customer_id", "items.customer_id")
    params = {"as_of": as_of, "start": ids[0], "end": ids[1]}
    return database.query(_COSTED_SALES.format(range=wanted), params)


def backtest_metrics(database: Database, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return the metrics at the cut-offs that count at this date; older rows are left out."""
    frame = database.read(
        "clv.backtest_metrics",
        where="horizon_days = %s order by cutoff_date, model_name",
        params=[horizon_days],
    )
    due = dataset.training_cutoffs(as_of_dates(database), as_of, horizon_days)
    return frame[frame["cutoff_date"].isin([pd.Timestamp(day) for day in due])]


def publish_training_set(database: Database, frame: pd.DataFrame, horizon_days: int) -> int:
    """Replace the training set of a horizon and return the number of rows.

    The table takes the columns of the features.
    """
    typed = frame.astype(dict.fromkeys(dataset.TEXTS, "string")).assign(
        **{name: frame[name].dt.date for name in (*dataset.DATES, "as_of_date")}
    )
    return database.publish(
        "clv.training_set",
        exact(typed, "future_value"),
        ["customer_id", "as_of_date", "horizon_days"],
        replace_where=f"horizon_days = {horizon_days}",
        create=True,
    )


def exact(frame: pd.DataFrame, *money: str) -> pd.DataFrame:
    """Return the frame with money columns as decimal text that restores the same double.

    PostgreSQL casts a double to numeric with 15 digits, which would change a value's last bits.
    """
    texts = pa.string()
    decimals = {name: pa.array(frame[name].to_numpy(float)).cast(texts) for name in money}
    return frame.assign(
        **{
            name: pd.Series(text, frame.index, pd.ArrowDtype(texts))
            for name, text in decimals.items()
        }
    )
