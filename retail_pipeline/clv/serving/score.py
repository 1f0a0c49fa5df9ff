"""Served predictions: a model's values with intervals, deciles and segments for all customers.

Customers are scored in parts on all cores. A worker reads its own part and returns a few numbers
per customer, so memory holds at most one part per core. What depends on all customers (intervals,
deciles, segments, margins) follows in a second pass from the numbers of `population_of`. On Spark,
both passes run on the cluster.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from retail_pipeline import cores
from retail_pipeline.clv.data import dataset, sampling, tables
from retail_pipeline.clv.evaluation import backtest, intervals
from retail_pipeline.clv.evaluation.metrics import group_ends
from retail_pipeline.clv.models.base import PREDICTED, Array, ValueModel
from retail_pipeline.clv.serving import discounting, margin, segments
from retail_pipeline.postgres import Database

PREDICTION_COLUMNS: Final = [
    "customer_id",
    "as_of_date",
    "horizon_days",
    "predicted_value",
    "lower_80",
    "upper_80",
    "expected_orders",
    "probability_active",
    "clv_decile",
    "segment",
    "model_name",
]

PAST_COLUMNS: Final = [
    *("model_name", "cutoff_date", "horizon_days", "customer_id"),
    *(*intervals.COLUMNS, "actual_value"),
]
"""Columns of the backtest's predictions that the calibration of intervals reads."""


POPULATION_COLUMNS: Final = ["expected_orders", "predicted_value"]
SALES_COLUMNS: Final = ["products", "net_amount", "cost_of_goods", "squared_margin_over_net"]


class Scored(NamedTuple):
    """The scored customers of a part.

    Attributes:
        predictions: `customer_id`, the model's predictions, `discount_rate`, `discounted_value`,
            and the columns of the next order.
        sales: Result of `tables.costed_sales` for the part.
    """

    predictions: pd.DataFrame
    sales: pd.DataFrame


class Population(NamedTuple):
    """The numbers over all customers that the second pass needs.

    Attributes:
        calibration: The correction of intervals.
        ends_of_orders: The `group_ends` of expected orders, for the calibration.
        ends_of_values: The `group_ends` of predicted values, for the deciles.
        portfolio: The portfolio of margins; None if no cost is known.
    """

    calibration: intervals.Calibration
    ends_of_orders: Array
    ends_of_values: Array
    portfolio: margin.Portfolio | None


def score(
    model: ValueModel, today: pd.DataFrame, backtest_predictions: pd.DataFrame, as_of: date
) -> pd.DataFrame:
    """Return a fitted model's predictions with intervals, deciles and segments.

    Args:
        model: A model fitted at `as_of` or before.
        today: The population at `as_of`.
        backtest_predictions: Out-of-time predictions for the calibration (`PAST_COLUMNS`); those
            whose outcome is not complete at `as_of` are left out.
        as_of: The as-of date.
    """
    calibration = calibration_for(model, backtest_predictions, as_of)
    parts = [_predicted(model, part) for part in sampling.parts(today)]
    predicted = pd.concat(parts, ignore_index=True).sort_values("customer_id", ignore_index=True)
    population = population_of(calibration, [predicted], [])
    return _ranked(model, predicted, population, as_of)[PREDICTION_COLUMNS]


def score_tables(
    database: Database, model: ValueModel, as_of: date, discount_rate: float
) -> Iterator[pd.DataFrame]:
    """Yield the predictions for all customers in the tables, in parts in the order of ids.

    Args:
        database: The database, with the scientist's role.
        model: A model fitted at `as_of` or before.
        as_of: The as-of date.
        discount_rate: Share per year, from 0 to below 1.

    Yields:
        The columns of `served_part`.

    Raises:
        PipelineError: No customer has a purchase before `as_of`.
    """
    parts = scored_parts(database, model, as_of, discount_rate)
    calibration = calibration_in(database, model, as_of)
    population = population_of(
        calibration, [part.predictions for part in parts], [part.sales for part in parts]
    )
    for part in parts:
        yield served_part(model, part, population, as_of)


def population_of(
    calibration: intervals.Calibration,
    predicted: Iterable[pd.DataFrame],
    sales: Iterable[pd.DataFrame],
) -> Population:
    """Return the numbers over all customers that the second pass needs.

    One number per customer is in memory at a time.

    Args:
        calibration: The correction of intervals.
        predicted: `POPULATION_COLUMNS` of all customers in parts, in any order. Both iterables are
            read several times.
        sales: The columns `SALES_COLUMNS` of `tables.costed_sales` of all customers, likewise.
    """

    def of_all(name: str) -> Array:
        return np.concatenate([part[name].to_numpy(float) for part in predicted])

    return Population(
        calibration,
        calibration.ends_of_groups(of_all("expected_orders")),
        group_ends(of_all("predicted_value")),
        margin.portfolio_of(sales),
    )


def served_part(
    model: ValueModel, part: Scored, population: Population, as_of: date
) -> pd.DataFrame:
    """Return the served predictions of a part, with what follows from all customers together.

    Returns:
        `PREDICTION_COLUMNS`, `value_shape`, `probability_alive`, `next_order_median_date`,
        `days_overdue`, `discount_rate`, `discounted_value`; if costs are known also
        `predicted_margin`, `discounted_margin`. The rows are in the order of ids.
    """
    predicted = part.predictions.sort_values("customer_id", ignore_index=True)
    ranked = _ranked(model, predicted, population, as_of)
    return margin.with_margins(ranked, part.sales, population.portfolio)


def scored_parts(
    database: Database, model: ValueModel, as_of: date, discount_rate: float
) -> list[Scored]:
    """Return the predictions for all customers without ranks, in parts in the order of ids.

    Args:
        database: The database, with the scientist's role.
        model: A model fitted at `as_of` or before.
        as_of: The as-of date.
        discount_rate: Share per year, from 0 to below 1.

    Raises:
        PipelineError: No customer has a purchase before `as_of`.
    """
    return _by_part(database, as_of, _scored, model, discount_rate)


def scored_part(
    model: ValueModel, part: pd.DataFrame, as_of: date, discount_rate: float
) -> pd.DataFrame:
    """Return a part's predictions with their present value, without ranks.

    No value depends on another row of the part, so parts may be cut anywhere.

    Args:
        model: A model fitted at `as_of` or before.
        part: Prepared feature rows at `as_of`.
        as_of: The as-of date.
        discount_rate: Share per year, from 0 to below 1.
    """
    found = _with_next_order(_predicted(model, part), model.rhythm(part), part, as_of)
    return discounting.discounted(found, model, part, discount_rate)


def labels(database: Database, model: ValueModel, as_of: date) -> pd.DataFrame:
    """Return `customer_id` and `segment` of all customers at a date, in the order of ids.

    Raises:
        PipelineError: No customer has a purchase before `as_of`.
    """
    parts = _by_part(database, as_of, _predicted_of, model)
    found = pd.concat(parts, ignore_index=True).sort_values("customer_id", ignore_index=True)
    return segments.assign(found, model.horizon_days)[["customer_id", "segment"]]


def calibration_for(
    model: ValueModel, backtest_predictions: pd.DataFrame, as_of: date
) -> intervals.Calibration:
    """Return the calibration of a model's intervals at a date.

    Args:
        model: The model.
        backtest_predictions: Out-of-time predictions (`PAST_COLUMNS`).
        as_of: The as-of date.
    """
    past = backtest_predictions[backtest_predictions["horizon_days"] == model.horizon_days]
    cutoffs = dataset.training_cutoffs(past["cutoff_date"].unique(), as_of, model.horizon_days)
    return backtest.calibration_of(past, model.name, cutoffs, as_of)


def calibration_in(database: Database, model: ValueModel, as_of: date) -> intervals.Calibration:
    """Return the calibration from the backtest's predictions in the database."""
    past = database.read(
        "clv.backtest_predictions",
        PAST_COLUMNS,
        where="horizon_days = %s and model_name = %s",
        params=[model.horizon_days, model.name],
    )
    return calibration_for(model, past, as_of)


def _ranked(
    model: ValueModel, predicted: pd.DataFrame, population: Population, as_of: date
) -> pd.DataFrame:
    """Return predictions with intervals, deciles and segments."""
    lower, upper = population.calibration.apply(predicted, population.ends_of_orders)
    predicted = predicted.assign(lower_80=lower, upper_80=upper)
    return segments.assign(predicted, model.horizon_days, population.ends_of_values).assign(
        as_of_date=pd.Timestamp(as_of),
        horizon_days=model.horizon_days,
        model_name=model.name,
    )


def _predicted(model: ValueModel, part: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([part[["customer_id"]], model.predict(part)[PREDICTED]], axis=1)


def _by_part(
    database: Database, as_of: date, function: Callable[..., Any], *arguments: Any
) -> list[Any]:
    """Return the results of `function(url, as_of, ids, *arguments)` for every part."""
    parts = tables.parts(database, as_of)
    calls = [(database.url, as_of, ids, *arguments) for ids in parts]
    if len(calls) == 1:
        return [function(*calls[0])]
    return cores.on_all_cores(function, calls)


def _scored(
    url: str, as_of: date, ids: tables.Ids, model: ValueModel, discount_rate: float
) -> Scored:
    database = Database(url)
    part = tables.features_of_part(database, as_of, ids)
    scored = scored_part(model, part, as_of, discount_rate)
    return Scored(scored, tables.costed_sales(database, as_of, ids))


def _with_next_order(
    predictions: pd.DataFrame, rhythm: pd.DataFrame, part: pd.DataFrame, as_of: date
) -> pd.DataFrame:
    """Return the predictions with `probability_alive`, `next_order_median_date`, `days_overdue`."""
    next_order = pd.Timestamp(as_of) + pd.to_timedelta(np.floor(rhythm["next_order_days"]), "D")
    return predictions.assign(
        probability_alive=rhythm["probability_alive"],
        next_order_median_date=next_order,
        days_overdue=part["recency_days"] - rhythm["usual_gap_days"].round(),
    )


def _predicted_of(url: str, as_of: date, ids: tables.Ids, model: ValueModel) -> pd.DataFrame:
    return _predicted(model, tables.features_of_part(Database(url), as_of, ids))
