"""Inputs of monitoring: bounded samples of customers, past predictions, the currency.

A sample is of customers, by a digest of their id: the same ones at each date and in each run.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

import pandas as pd

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.data import tables as inputs
from retail_pipeline.clv.evaluation import promotion
from retail_pipeline.clv.evaluation.metrics import groups_by_rank
from retail_pipeline.clv.models.base import PREDICTED
from retail_pipeline.postgres import Database

_SAMPLED = "mod(('x' || substr(md5(customer_id), 1, 7))::bit(28)::integer, %(one_in)s) = 0"
SECOND_LOOK_DAYS = 30
"""So long after a horizon's end its predictions are judged again: returns are recorded late."""

COMPARED_ROWS = 5_000
"""Rows of each side of a comparison: chance moves the stability index of so many by .007."""

_JUDGED_CUTOFFS = 4
"""Of the backtest, where no served date has come due: the latest, about a season."""

_CHUNK = 20_000

Comparison = tuple[str, date, pd.DataFrame, pd.DataFrame]
"""The reference's name and date, rows now, rows of the reference."""


def sample(
    database: Database,
    table: str,
    where: str,
    params: Mapping[str, object],
    *,
    most: int,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the rows of a table for about `most` rows' worth of customers, or all of them.

    Args:
        database: As the scientist.
        table: With a column `customer_id`.
        where: A condition with named placeholders.
        params: Their values.
        most: Rows wanted at most, about.
        columns: Their names; all by default.
    """
    counted = database.query(f"select count(*) as rows from {table} where {where}", params)
    one_in = -(-int(counted["rows"].iloc[0]) // most)
    if one_in > 1:
        where, params = f"({where}) and {_SAMPLED}", {**params, "one_in": one_in}
    return database.read(table, columns, where=where, params=params)


def features(
    database: Database, dates: Sequence[date], *, most: int = COMPARED_ROWS
) -> pd.DataFrame:
    """Return the prepared features of some dates, for a sample of customers where they are many."""
    return dataset.prepare_features(
        sample(
            database,
            "warehouse.customer_features",
            "as_of_date = any(%(dates)s)",
            {"dates": list(dates)},
            most=most,
        )
    )


def entries_of(database: Database, customer_ids: pd.Series, before: date) -> pd.DataFrame:
    """Return the prepared entries of some customers, as known before a date."""
    return dataset.prepare_entries(
        database.read(
            "warehouse.customer_day_entries",
            dataset.ENTRY_COLUMNS,
            where="date_day < %s and known_date < %s and customer_id = any(%s)",
            params=[before, before, customer_ids.unique().tolist()],
        )
    )


def currency(database: Database) -> str:
    """Return the ISO code of the amounts, or nothing where they are in none or in several."""
    found = database.query(
        "select distinct currency from warehouse.revenue_daily where currency is not null"
    )
    return str(found["currency"].iloc[0]) if len(found) == 1 else ""


def best_customers(
    database: Database, as_of: date, horizon_days: int, most: int
) -> Iterator[pd.DataFrame]:
    """Yield the prepared features of the `most` customers of the highest predicted value.

    They come in chunks, in the order of ids.
    """
    found = database.query(
        "select customer_id from (select customer_id from clv.predictions "
        "where as_of_date = %s and horizon_days = %s "
        "order by predicted_value desc, customer_id limit %s) as best order by customer_id",
        [as_of, horizon_days, most],
    )["customer_id"].tolist()
    for start in range(0, len(found), _CHUNK):
        yield dataset.prepare_features(
            database.read(
                "warehouse.customer_features",
                where="as_of_date = %s and customer_id = any(%s)",
                params=[as_of, found[start : start + _CHUNK]],
            )
        )


def dates_to_judge(database: Database, as_of: date, horizon_days: int) -> list[date]:
    """Return the served dates whose horizon has passed and that are to be judged now.

    Each is judged once its horizon has passed, and once more `SECOND_LOOK_DAYS` later.
    """
    found = database.query(
        "with served as (select distinct as_of_date from clv.predictions "
        "where horizon_days = %(horizon)s and as_of_date + %(horizon)s <= %(as_of)s), "
        "judged as (select as_of_date, max(judged_at_date) as judged_at_date "
        "from clv.realised_predictions where horizon_days = %(horizon)s and origin = 'served' "
        "group by 1) select as_of_date from served left join judged using (as_of_date) "
        "where judged_at_date is null or (judged_at_date < as_of_date + %(final)s "
        "and as_of_date + %(final)s <= %(as_of)s) order by 1",
        {"horizon": horizon_days, "as_of": as_of, "final": horizon_days + SECOND_LOOK_DAYS},
    )
    return [pd.Timestamp(day).date() for day in found["as_of_date"]]


def served_with_outcome(
    database: Database, served: date, horizon_days: int, known_before: date
) -> pd.DataFrame:
    """Return the predictions that were served at a date, with `actual_value`."""
    predictions = database.read(
        "clv.predictions",
        [
            *("customer_id", "clv_decile", "predicted_value", "lower_80", "upper_80"),
            *("probability_active", "model_name"),
        ],
        where="as_of_date = %s and horizon_days = %s order by customer_id",
        params=[served, horizon_days],
    )
    entries = dataset.prepare_entries(
        database.read(
            "warehouse.customer_day_entries",
            dataset.ENTRY_COLUMNS,
            where="date_day >= %s and date_day < %s and known_date < %s",
            params=[served, served + timedelta(days=horizon_days), known_before],
        )
    )
    outcome = dataset.outcomes(
        entries, predictions["customer_id"], served, horizon_days, known_before
    )
    return predictions.assign(actual_value=outcome["future_value"])


def latest_backtests(
    database: Database, as_of: date, horizon_days: int
) -> Iterator[tuple[date, pd.DataFrame, int]]:
    """Yield the served model's predictions at the latest past cut-offs, with `clv_decile`.

    With each the cut-off and how many customers a row stands for.
    """
    name = promotion.load_serving(database, as_of, horizon_days).model.name
    metrics = inputs.backtest_metrics(database, as_of, horizon_days)
    one_customer_in = inputs.training_sample(database, as_of).one_customer_in
    for cutoff in sorted(metrics["cutoff_date"].dt.date.unique())[-_JUDGED_CUTOFFS:]:
        past = database.read(
            "clv.backtest_predictions",
            ["predicted_value", "lower_80", "upper_80", "probability_active", "actual_value"],
            where="model_name = %s and cutoff_date = %s and horizon_days = %s",
            params=[name, cutoff, horizon_days],
        )
        if len(past):
            deciles = groups_by_rank(past["predicted_value"].to_numpy(float))
            yield cutoff, past.assign(clv_decile=deciles, model_name=name), one_customer_in


def compared_features(database: Database, as_of: date, horizon_days: int) -> list[Comparison]:
    """Return the features of now beside those trained on and those of the month start before."""
    now = features(database, [as_of])
    params = {"horizon": horizon_days}
    where = "horizon_days = %(horizon)s"
    trained = sample(database, "clv.training_set", where, params, most=COMPARED_ROWS)
    months = [day for day in inputs.as_of_dates(database) if day < as_of and day.day == 1]
    references = {
        "training": dataset.prepare_features(trained),
        "previous": features(database, [max(months)]) if months else trained.iloc[:0],
    }
    return [
        (name, frame["as_of_date"].max(), now, frame)
        for name, frame in references.items()
        if len(frame)
    ]


def compared_predictions(database: Database, as_of: date, horizon_days: int) -> list[Comparison]:
    """Return the predictions of now beside the backtest's latest and those served before."""

    def of(table: str, where: str, day: date) -> pd.DataFrame:
        return sample(
            database,
            table,
            f"{where} = %(day)s and horizon_days = %(horizon)s",
            {"day": day, "horizon": horizon_days, "as_of": as_of},
            most=COMPARED_ROWS,
            columns=["customer_id", *PREDICTED],
        )

    tested = (
        "model_name = (select model_name from clv.predictions where as_of_date = %(as_of)s "
        "and horizon_days = %(horizon)s limit 1) and cutoff_date"
    )
    now = of("clv.predictions", "as_of_date", as_of)
    found = []
    for name, day in reference_dates(database, as_of, horizon_days).items():
        before = (
            of("clv.predictions", "as_of_date", day)
            if name == "previous"
            else of("clv.backtest_predictions", tested, day)
        )
        if len(now) and len(before):
            found.append((name, day, now, before))
    return found


def reference_dates(database: Database, as_of: date, horizon_days: int) -> dict[str, date]:
    """Return the dates whose predictions today's are compared with, those that there are.

    `training` is the latest past cut-off whose outcome is complete, `previous` the as-of date
    served before.
    """
    found = database.query(
        "select (select max(cutoff_date) from clv.backtest_predictions "
        "where horizon_days = %(horizon)s and cutoff_date + %(horizon)s <= %(as_of)s) as training, "
        "(select max(as_of_date) from clv.predictions where horizon_days = %(horizon)s "
        "and as_of_date < %(as_of)s) as previous",
        {"horizon": horizon_days, "as_of": as_of},
    ).iloc[0]
    return {str(name): pd.Timestamp(day).date() for name, day in found.items() if pd.notna(day)}
