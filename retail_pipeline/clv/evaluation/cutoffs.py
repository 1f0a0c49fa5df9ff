"""The backtest in the tables: cut-offs that are missing or stale are tested, the rest is kept.

A cut-off's rows stand in `clv.backtest_predictions`, `clv.backtest_metrics` and
`clv.backtest_abstentions`, under the horizon. The tests themselves are in `backtest`; no Dagster.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from retail_pipeline.clv.data import (
    dataset,
    inputs,
    tables,
)
from retail_pipeline.clv.evaluation import backtest as backtesting
from retail_pipeline.clv.evaluation.metrics import METRICS
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

ASSET = "backtest"
"""The name that the cut-offs' digests are kept under."""

_METRICS_KEY = ["model_name", "cutoff_date", "horizon_days"]


@dataclass(frozen=True)
class Progress:
    """What was done about the cut-offs.

    Attributes:
        due: The cut-offs that vote: the latest whose outcome is complete.
        tested: Those that were tested now.
        kept: Those whose rows were kept, as nothing that they depend on has changed.
        predictions: Rows written to `clv.backtest_predictions`.
    """

    due: Sequence[date]
    tested: Sequence[date]
    kept: Sequence[date]
    predictions: int


def bring_up_to_date(
    database: Database, as_of: date, horizon_days: int, *, afresh: bool = False
) -> Progress:
    """Test every due cut-off that is missing or stale, and drop those that are no longer due.

    Args:
        database: As the scientist.
        as_of: Outcomes count as they were known before this date.
        horizon_days: Length of the outcome.
        afresh: Test all of them, whatever is there.
    """
    dates = tables.as_of_dates(database)
    due = dataset.training_cutoffs(dates, as_of, horizon_days)
    features, entries = _inputs(database, dates, as_of, horizon_days)
    now = inputs.of_cutoffs(features, entries, due, horizon_days)
    before = {} if afresh else _intact(database, horizon_days)
    kept = [cutoff for cutoff in due if before.get(cutoff) == now[cutoff]]
    stale = [cutoff for cutoff in due if cutoff not in kept]
    _drop_others(database, horizon_days, due)
    predictions = 0
    if stale:
        tested = backtesting.run(features, entries, as_of, horizon_days, stale)
        _replace(database, tested, as_of, horizon_days, stale, now)
        predictions = len(tested.predictions)
    # They were judged anew, with the same result: the table is that of a full refresh.
    database.execute(
        "update clv.backtest_metrics set as_of_date = %s "
        "where horizon_days = %s and cutoff_date = any(%s)",
        [as_of, horizon_days, kept],
    )
    return Progress(due, stale, kept, predictions)


def test(database: Database, as_of: date, horizon_days: int, cutoffs: Collection[date]) -> Progress:
    """Test the given cut-offs, whatever is there; those whose outcome is not complete get no rows.

    Raises:
        PipelineError: One of them is no as-of date of the features.
    """
    dates = tables.as_of_dates(database)
    unknown = sorted(set(cutoffs) - set(dates))
    if unknown:
        raise PipelineError(
            f"{', '.join(map(str, unknown))}: no as-of date of warehouse.customer_features, so "
            "there is nothing to test there; `clv/backtest_summary` lists the cut-offs"
        )
    due = dataset.training_cutoffs(dates, as_of, horizon_days)
    asked = [cutoff for cutoff in due if cutoff in set(cutoffs)]
    if not asked:
        return Progress(due, [], [], 0)
    features, entries = _inputs(database, dates, as_of, horizon_days)
    tested = backtesting.run(features, entries, as_of, horizon_days, asked)
    now = inputs.of_cutoffs(features, entries, due, horizon_days)
    _replace(database, tested, as_of, horizon_days, asked, now)
    return Progress(due, asked, [], len(tested.predictions))


def abstentions(database: Database, horizon_days: int, cutoffs: Sequence[date]) -> pd.DataFrame:
    """Return who abstained where and why: `cutoff_date, model_name, reason`."""
    return database.read(
        "clv.backtest_abstentions",
        ["cutoff_date", "model_name", "reason"],
        where="horizon_days = %s and cutoff_date = any(%s) order by 1, 2",
        params=[horizon_days, list(cutoffs)],
    )


def all_cutoffs(database: Database) -> set[date]:
    """Return every cut-off that the tables hold, at any horizon."""
    rows = database.query("select distinct cutoff_date from clv.backtest_metrics")
    return {pd.Timestamp(day).date() for day in rows["cutoff_date"]}


def summary(metrics: pd.DataFrame, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return the rows of `clv.backtest_summary`: each model's mean metrics over the cut-offs."""
    rows = [
        {
            "model_name": name,
            "horizon_days": horizon_days,
            "as_of_date": as_of.isoformat(),
            "cutoffs": int(own["cutoff_date"].nunique()),
            "first_cutoff_date": str(own["cutoff_date"].min().date()),
            "last_cutoff_date": str(own["cutoff_date"].max().date()),
            "metrics": json.dumps(
                {
                    metric: None if pd.isna(mean) else float(mean)
                    for metric, mean in own[list(METRICS)].mean().items()
                }
            ),
        }
        for name, own in metrics.groupby("model_name")
    ]
    columns = [
        *("model_name", "horizon_days", "as_of_date", "cutoffs"),
        *("first_cutoff_date", "last_cutoff_date", "metrics"),
    ]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"horizon_days": int, "cutoffs": int}) if rows else frame.astype("string")


def mean_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return each model's mean metrics over the cut-offs, the best deviance first, for people."""
    means = metrics.groupby("model_name").agg(
        cutoffs=("cutoff_date", "nunique"), **{name: (name, "mean") for name in METRICS}
    )
    return means.round(3).sort_values("tweedie_deviance").reset_index()


def _inputs(
    database: Database, dates: Sequence[date], as_of: date, horizon_days: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    needed = [d for d in dataset.dates_needed(dates, as_of, horizon_days) if d < as_of]
    latest = as_of - timedelta(days=horizon_days)
    learned = tables.buckets(database, as_of)
    return (
        tables.features(database, [day for day in needed if day <= latest], learned),
        tables.entries(database, as_of, learned),
    )


def _intact(database: Database, horizon_days: int) -> dict[date, str]:
    """Return the digests of the cut-offs whose rows are all there."""
    kept = tables.digests(database, ASSET, horizon_days)
    rows = database.query(
        "select m.cutoff_date from clv.backtest_metrics as m left join ("
        "select model_name, cutoff_date, count(*) as customers from clv.backtest_predictions "
        "where horizon_days = %(horizon)s group by 1, 2) as p using (model_name, cutoff_date) "
        "where m.horizon_days = %(horizon)s group by 1 "
        "having bool_and(m.customers is not distinct from p.customers)",
        {"horizon": horizon_days},
    )
    whole = {pd.Timestamp(day).date() for day in rows["cutoff_date"]}
    return {cutoff: digest for cutoff, digest in kept.items() if cutoff in whole}


def _drop_others(database: Database, horizon_days: int, due: Sequence[date]) -> None:
    condition = "horizon_days = %s and cutoff_date <> all(%s)"
    with database.connect() as connection:
        connection.execute(
            "delete from clv.input_digests where asset_name = %s and horizon_days = %s "
            "and for_date <> all(%s)",
            [ASSET, horizon_days, list(due)],
        )
        for table in ("backtest_predictions", "backtest_metrics", "backtest_abstentions"):
            connection.execute(
                f"delete from clv.{table} where {condition}", [horizon_days, list(due)]
            )


def _replace(
    database: Database,
    tested: backtesting.Backtest,
    as_of: date,
    horizon_days: int,
    cutoffs: Sequence[date],
    digests: dict[date, str],
) -> None:
    """Write the rows of some cut-offs; their digests go first and come back last."""
    tables.forget_digests(database, ASSET, horizon_days, cutoffs)
    listed = ", ".join(f"'{cutoff.isoformat()}'" for cutoff in cutoffs)
    stale = f"horizon_days = {horizon_days} and cutoff_date in ({listed})"
    database.replace(
        "clv.backtest_predictions",
        # In the order of the key: its index grows at one end.
        tested.predictions.sort_values("model_name", kind="stable"),
        stale,
    )
    database.publish(
        "clv.backtest_metrics",
        tested.metrics.assign(
            as_of_date=pd.Timestamp(as_of), one_customer_in=tables.buckets(database, as_of).count
        ),
        _METRICS_KEY,
        replace_where=stale,
    )
    abstained = [
        (who.model_name, cutoff.isoformat(), horizon_days, who.reason)
        for cutoff, those in tested.abstentions.items()
        for who in those
    ]
    columns = [*_METRICS_KEY, "reason"]
    database.publish(
        "clv.backtest_abstentions",
        pd.DataFrame(abstained, columns=columns).astype("string"),
        _METRICS_KEY,
        replace_where=stale,
    )
    tables.keep_digests(
        database, ASSET, horizon_days, {cutoff: digests[cutoff] for cutoff in cutoffs}
    )
