"""Scoring on Spark: the workers score parts of feature rows, the driver ranks all customers.

The model is sent to the workers as JSON. A worker's part is some thousand rows of the features in
the lake; its results, a few numbers per customer, are written to the lake, from where the driver
reads them. A lost worker's parts are computed again by another one, and only complete parts count.
"""

import json
import os
import socket
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Final

import pandas as pd

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.models.base import PREDICTED, ValueModel
from retail_pipeline.clv.models.registry import content_of, restore
from retail_pipeline.clv.serving import score
from retail_pipeline.clv.serving.predicting import Scorer
from retail_pipeline.lake import Lake, read_parquet
from retail_pipeline.postgres import Database

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PARTS_PER_CORE: Final = 4
"""The fewer, the more is computed again after a lost worker."""

_SCHEMA: Final = ", ".join(
    [
        "customer_id string",
        *(f"{name} double" for name in PREDICTED),
        "probability_alive double, next_order_median_date timestamp_ntz, days_overdue double",
        "discount_rate double, discounted_value double, executor string",
    ]
)

_COSTED_SALES: Final = """
with products as (
    select
        items.customer_id,
        sum(items.net_amount) as net_amount,
        -- Decimals of this size are multiplied and added exactly.
        sum(cast(items.quantity as decimal(18, 9)) * cast(costs.cost as decimal(19, 9)))
            as cost_of_goods
    from {items} as items
    inner join {costs} as costs on items.product_id = costs.product_id
        and costs.known_from < {as_of}
        and coalesce(items.date_day >= costs.sold_from, true)
        and coalesce(items.date_day < costs.sold_until, true)
    where items.known_date < {as_of}
        and not items.is_excluded
        and items.customer_id is not null
        and items.quantity is not null
    group by items.customer_id, items.product_id
)

select
    customer_id,
    count(*) as products,
    cast(sum(net_amount) as double) as net_amount,
    cast(sum(cost_of_goods) as double) as cost_of_goods,
    -- In the order of size, so that the last bits do not depend on the order of arrival.
    aggregate(
        array_sort(collect_list(
            power(cast(net_amount as double) - cast(cost_of_goods as double), 2)
            / cast(net_amount as double)
        )),
        cast(0 as double),
        (total, each) -> total + each
    ) as squared_margin_over_net
from products
where net_amount > 0
group by customer_id
"""
"""The columns of `tables.costed_sales`, by the same rules."""


def scorer(spark: "SparkSession", lake: Lake, executors: dict[str, int]) -> Scorer:
    """Return a function that scores all customers of the lake, as `score.score_tables` does.

    Args:
        spark: The session.
        lake: The lake with the tables of the warehouse.
        executors: Is filled with the number of customers that each executor has scored.
    """

    def scored(
        database: Database, model: ValueModel, as_of: date, discount_rate: float
    ) -> pd.DataFrame:
        with lake.scored(f"{as_of}-{model.horizon_days}") as folder:
            predictions, sales = folder / "predictions", folder / "sales"
            _scored(spark, lake, model, as_of, discount_rate).write.parquet(str(predictions))
            _costed_sales(spark, lake, as_of).write.parquet(str(sales))
            found, sold = read_parquet(predictions), read_parquet(sales)
        if found.empty:
            raise dataset.no_customers(as_of)
        executors.update(
            (str(name), int(n)) for name, n in found["executor"].value_counts().items()
        )
        sold = sold.sort_values("customer_id", ignore_index=True)
        return score.served(database, model, as_of, found.drop(columns="executor"), sold)

    return scored


def _scored(
    spark: "SparkSession", lake: Lake, model: ValueModel, as_of: date, discount_rate: float
) -> "DataFrame":
    content = spark.sparkContext.broadcast(json.dumps(content_of(model, as_of)))

    def scored_parts(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        own = restore(json.loads(content.value))
        # The parent of a worker's process is the daemon of its executor.
        executor = f"{socket.gethostname()}:{os.getppid()}"
        for part in parts:
            rows = dataset.prepare_features(part)
            yield score.scored_part(own, rows, as_of, discount_rate).assign(executor=executor)

    features = spark.read.parquet(str(lake.mart("customer_features")))
    decimals = [name for name, kind in features.dtypes if kind.startswith("decimal")]
    today = features.where(features.as_of_date == as_of).withColumns(
        {name: features[name].cast("double") for name in decimals}
    )
    parts = _PARTS_PER_CORE * spark.sparkContext.defaultParallelism
    return today.repartition(parts, "customer_id").mapInPandas(scored_parts, _SCHEMA)


def _costed_sales(spark: "SparkSession", lake: Lake, as_of: date) -> "DataFrame":
    statement = _COSTED_SALES.format(
        items=f"parquet.`{lake.mart('fct_transaction_items')}`",
        costs=f"parquet.`{lake.mart('product_costs')}`",
        as_of=f"date'{as_of}'",
    )
    return spark.sql(statement)
