"""Scoring on Spark: two passes of the workers over parts of the customers.

The first pass scores feature rows of the lake, with the model sent as JSON. From a few columns of
its results the driver takes the numbers over all customers (`score.population_of`). The second pass
adds what depends on them. A lost worker's parts are computed again by another one, and only
complete parts count.
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
from retail_pipeline.lake import Build
from retail_pipeline.postgres import Database
from retail_pipeline.spark.session import parts_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ROWS_AT_ONCE: Final = 100_000
"""The rows that the driver reads at once."""

_SCORED: Final = ", ".join(
    [
        "customer_id string",
        *(f"{name} double" for name in PREDICTED),
        "probability_alive double, next_order_median_date timestamp_ntz, days_overdue double",
        "discount_rate double, discounted_value double, executor string",
    ]
)
_SERVED: Final = (
    f"{_SCORED}, lower_80 double, upper_80 double, clv_decile int, segment string, "
    "as_of_date timestamp_ntz, horizon_days int, model_name string"
)
_MARGINS: Final = ", predicted_margin double, discounted_margin double"

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


def scorer(spark: "SparkSession", build: Build, executors: dict[str, int]) -> Scorer:
    """Return a function that scores all customers of the lake, as `score.score_tables` does.

    Args:
        spark: The session.
        build: The build of the warehouse.
        executors: Is filled with the number of customers that each executor has scored.
    """

    def scored(
        database: Database, model: ValueModel, as_of: date, discount_rate: float
    ) -> Iterator[pd.DataFrame]:
        lake = build.lake
        with lake.scored(f"{as_of}-{model.horizon_days}") as folder:
            first, sales, second = (f"{folder}/{name}" for name in ("first", "sales", "second"))
            content = json.dumps(content_of(model, as_of))
            found = _first_pass(spark, build, content, as_of, discount_rate)
            found.write.parquet(lake.uri(first))
            _costed_sales(spark, build, as_of).write.parquet(lake.uri(sales))
            if not lake.read(first).count_rows():
                raise dataset.no_customers(as_of)
            population = score.population_of(
                score.calibration_in(database, model, as_of),
                lake.parts(first, _ROWS_AT_ONCE, score.POPULATION_COLUMNS),
                lake.parts(sales, _ROWS_AT_ONCE, score.SALES_COLUMNS),
            )
            both = spark.read.parquet(lake.uri(first)).join(
                spark.read.parquet(lake.uri(sales)), "customer_id", "left"
            )
            _second_pass(both, content, population, as_of).write.parquet(lake.uri(second))
            for part in lake.parts(second, _ROWS_AT_ONCE):
                for name, customers in part.pop("executor").value_counts().items():
                    executors[str(name)] = executors.get(str(name), 0) + int(customers)
                yield part

    return scored


def _first_pass(
    spark: "SparkSession", build: Build, content: str, as_of: date, discount_rate: float
) -> "DataFrame":
    def scored(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        model = restore(json.loads(content))
        for part in parts:
            rows = dataset.prepare_features(part)
            found = score.scored_part(model, rows, as_of, discount_rate)
            yield found.assign(executor=_executor())

    features = spark.read.parquet(build.uri("customer_features"))
    decimals = [name for name, kind in features.dtypes if kind.startswith("decimal")]
    today = features.where(features.as_of_date == as_of).withColumns(
        {name: features[name].cast("double") for name in decimals}
    )
    return today.repartition(parts_of(spark), "customer_id").mapInPandas(scored, _SCORED)


def _second_pass(
    both: "DataFrame", content: str, population: score.Population, as_of: date
) -> "DataFrame":
    """Return the served predictions of the first pass's rows, which have the sales beside them."""
    margins = _MARGINS if population.portfolio else ""

    def served(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        model = restore(json.loads(content))
        for part in parts:
            sold = part[["customer_id", *score.SALES_COLUMNS]].dropna()
            predictions = part.drop(columns=score.SALES_COLUMNS)
            yield score.served_part(model, score.Scored(predictions, sold), population, as_of)

    return both.mapInPandas(served, _SERVED + margins)


def _executor() -> str:
    """Return the name of this worker's executor: the parent of its process is the daemon of one."""
    return f"{socket.gethostname()}:{os.getppid()}"


def _costed_sales(spark: "SparkSession", build: Build, as_of: date) -> "DataFrame":
    statement = _COSTED_SALES.format(
        items=f"parquet.`{build.uri('fct_transaction_items')}`",
        costs=f"parquet.`{build.uri('product_costs')}`",
        as_of=f"date'{as_of}'",
    )
    return spark.sql(statement)
