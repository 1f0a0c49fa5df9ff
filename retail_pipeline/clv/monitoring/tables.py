"""Inputs of monitoring: samples of bounded size, and past predictions with their outcomes.

A digest of the id decides whether a customer is in a sample, so it is the same in every run.
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

# Other digits than those of the training sample, so that the two samples are independent.
_SAMPLED = "mod(('x' || substr(md5(customer_id), 1, 7))::bit(28)::integer, %(one_in)s) = 0"

SECOND_LOOK_DAYS = 30
"""Days after the end of a horizon when its outcome is computed again, as returns are recorded
late."""

COMPARED_ROWS = 5_000
"""Most rows of each side of a comparison; with so many the index is about .007 by chance."""

_JUDGED_CUTOFFS = 4
"""Latest cut-offs of the backtest that are compared with their outcome: about a season."""

_CHUNK = 20_000
_JUDGED = ["predicted_value", "lower_80", "upper_80", "probability_active"]


def sample(
    database: Database,
    table: str,
    where: str,
    params: Mapping[str, object],
    *,
    most: int = COMPARED_ROWS,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a table's rows for a sample of customers, about `most` rows.

    Args:
        database: The database, with the scientist's role.
        table: A table with a column `customer_id`.
        where: A condition with named placeholders.
        params: Values of the placeholders.
        most: Approximate limit of rows; a smaller table is read in full.
        columns: Names of the columns; all by default.
    """
    counted = database.query(f"select count(*) as rows from {table} where {where}", params)
    one_in = -(-int(counted["rows"].iloc[0]) // most)
    if one_in > 1:
        where, params = f"({where}) and {_SAMPLED}", {**params, "one_in": one_in}
    return database.read(table, columns, where=where, params=params)


def features(
    database: Database, dates: Sequence[date], *, most: int = COMPARED_ROWS
) -> pd.DataFrame:
    """Return the prepared features of some dates, for a sample of customers (`sample`)."""
    where = "as_of_date = any(%(dates)s)"
    params = {"dates": list(dates)}
    return dataset.prepare_features(
        sample(database, "warehouse.customer_features", where, params, most=most)
    )


def entries_of(database: Database, customer_ids: pd.Series, before: date) -> pd.DataFrame:
    """Return the prepared entries of some customers as known before a date."""
    return dataset.prepare_entries(
        database.read(
            "warehouse.customer_day_entries",
            dataset.ENTRY_COLUMNS,
            where="date_day < %s and known_date < %s and customer_id = any(%s)",
            params=[before, before, customer_ids.unique().tolist()],
        )
    )


def best_customers(
    database: Database, as_of: date, horizon_days: int, most: int
) -> Iterator[pd.DataFrame]:
    """Yield the prepared features of the `most` customers with the highest predicted value.

    Yields chunks of customers in the order of ids.
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
    """Return the served dates whose predictions are to be compared with their outcome now.

    This happens once after the end of the horizon, and again `SECOND_LOOK_DAYS` later.
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
    return [day.date() for day in found["as_of_date"]]


def served_with_outcome(
    database: Database, served: date, horizon_days: int, known_before: date
) -> pd.DataFrame:
    """Return the predictions served at a date, with `actual_value`."""
    predictions = database.read(
        "clv.predictions",
        ["customer_id", "as_of_date", "clv_decile", "model_name", *_JUDGED],
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
    return predictions.assign(actual_value=outcome["future_value"], origin="served")


def latest_backtests(database: Database, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return the served model's predictions at the latest past cut-offs, with `clv_decile`."""
    due = dataset.training_cutoffs(inputs.as_of_dates(database), as_of, horizon_days)
    past = database.read(
        "clv.backtest_predictions",
        ["cutoff_date", "model_name", "actual_value", *_JUDGED],
        where="model_name = %s and cutoff_date = any(%s) and horizon_days = %s",
        params=[
            promotion.load_serving(database, as_of, horizon_days).model.name,
            due[-_JUDGED_CUTOFFS:],
            horizon_days,
        ],
    )
    deciles = past.groupby("cutoff_date")["predicted_value"].transform(
        lambda values: groups_by_rank(values.to_numpy(float))
    )
    return past.assign(clv_decile=deciles, origin="backtest", as_of_date=past["cutoff_date"])


def comparisons(
    database: Database, as_of: date, horizon_days: int
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield the name of each reference, the present rows, and the reference's rows.

    Features are compared with the training set and with the month start before, predictions with
    the backtest's latest cut-off and with those served before. A reference may have no rows.
    """
    window = {"as_of": as_of, "horizon": horizon_days}

    def rows(table: str, where: str, *columns: str) -> pd.DataFrame:
        return sample(database, table, where, window, columns=columns or None)

    mart = "warehouse.customer_features"
    now = rows(mart, "as_of_date = %(as_of)s")
    yield "training", now, rows("clv.training_set", _OF_HORIZON)
    yield "previous", now, rows(mart, _MONTH_BEFORE)
    columns = ("customer_id", "as_of_date", *PREDICTED[:3])
    now = rows("clv.predictions", f"{_OF_HORIZON} and as_of_date = %(as_of)s", *columns)
    tested = rows("clv.backtest_predictions", _LATEST_TEST, "cutoff_date", *PREDICTED[:3])
    yield "training", now, tested.rename(columns={"cutoff_date": "as_of_date"})
    yield "previous", now, rows("clv.predictions", _SERVED_BEFORE, *columns)


_OF_HORIZON = "horizon_days = %(horizon)s"
_MONTH_BEFORE = (
    "as_of_date = (select max(as_of_date) from warehouse.customer_features "
    "where as_of_date < %(as_of)s and extract(day from as_of_date) = 1)"
)
_LATEST_TEST = (
    f"{_OF_HORIZON} and model_name = (select model_name from clv.predictions "
    f"where {_OF_HORIZON} and as_of_date = %(as_of)s limit 1) and cutoff_date = ("
    "select max(cutoff_date) from clv.backtest_predictions "
    f"where {_OF_HORIZON} and cutoff_date + %(horizon)s <= %(as_of)s)"
)
_SERVED_BEFORE = (
    f"{_OF_HORIZON} and as_of_date = (select max(as_of_date) from clv.predictions "
    f"where {_OF_HORIZON} and as_of_date < %(as_of)s)"
)
