"""The stored backtest: tests the cut-offs that are missing or stale and keeps the others.

Rows are in `clv.backtest_predictions`, `clv.backtest_metrics` and `clv.backtest_abstentions`, by
cut-off and horizon. The tests themselves are in `backtest`.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

import numpy as np
import pandas as pd

from retail_pipeline.clv.data import dataset, digests, tables
from retail_pipeline.clv.evaluation import backtest
from retail_pipeline.clv.evaluation.metrics import METRICS
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

_KEY = ["model_name", "cutoff_date", "horizon_days"]
_TABLES = ("backtest_predictions", "backtest_metrics", "backtest_abstentions")


@dataclass(frozen=True)
class Progress:
    """The result of an update of the stored backtest.

    Attributes:
        due: The cut-offs that count: the latest twelve whose outcome is complete.
        tested: Cut-offs that were tested now.
        kept: Cut-offs whose rows were kept, as their inputs have not changed.
        predictions: Number of rows written to `clv.backtest_predictions`.
    """

    due: Sequence[date]
    tested: Sequence[date]
    kept: Sequence[date]
    predictions: int


@dataclass(frozen=True)
class _Inputs:
    """The inputs of a backtest, and the cut-offs that are due."""

    features: pd.DataFrame
    entries: pd.DataFrame
    one_customer_in: int
    due: Sequence[date]
    as_of: date
    horizon_days: int

    @classmethod
    def read(cls, database: Database, as_of: date, horizon_days: int) -> Self:
        """Return the inputs from the tables, without the features of the as-of date itself."""
        dates = tables.as_of_dates(database)
        needed = dataset.dates_needed(dates, as_of, horizon_days)
        latest = as_of - timedelta(days=horizon_days)
        sample = tables.training_sample(database, as_of)
        return cls(
            tables.features(database, [day for day in needed if day <= latest], sample),
            tables.entries(database, as_of, sample),
            sample.one_customer_in,
            dataset.training_cutoffs(dates, as_of, horizon_days),
            as_of,
            horizon_days,
        )

    def digests(self) -> dict[date, str]:
        """Return, by cut-off, the digest of everything that its test may depend on.

        These are the code, the features up to the cut-off, the entries up to the end of its
        outcome, and the earlier cut-offs. A dependence on anything else would be leakage.
        """
        frames = (self.features, self.entries)
        features, entries = (pd.util.hash_pandas_object(f, index=False).to_numpy() for f in frames)
        as_of, days = self.features["as_of_date"].to_numpy(), self.entries["date_day"].to_numpy()
        horizon = timedelta(days=self.horizon_days)
        return {
            cutoff: digests.digest(
                {
                    "code": digests.code_version(),
                    "horizon_days": self.horizon_days,
                    "cutoffs": [day for day in sorted(self.due) if day <= cutoff],
                    "columns": [frame.dtypes.astype(str).to_dict() for frame in frames],
                    "features": features[as_of <= np.datetime64(cutoff)],
                    "entries": entries[days < np.datetime64(cutoff + horizon)],
                }
            )
            for cutoff in self.due
        }


def bring_up_to_date(
    database: Database, as_of: date, horizon_days: int, *, afresh: bool = False
) -> Progress:
    """Test every due cut-off that is missing or stale, and delete those no longer due.

    Args:
        database: The database, with the scientist's role.
        as_of: Outcomes are taken as known before this date.
        horizon_days: Length of the outcome.
        afresh: Test all due cut-offs, stale or not.
    """
    inputs = _Inputs.read(database, as_of, horizon_days)
    now, before = inputs.digests(), {} if afresh else _intact(database, horizon_days)
    kept = [cutoff for cutoff in inputs.due if before.get(cutoff) == now[cutoff]]
    stale = [cutoff for cutoff in inputs.due if cutoff not in kept]
    with database.connect() as connection:
        for table in _TABLES:
            connection.execute(
                f"delete from clv.{table} where horizon_days = %s and cutoff_date <> all(%s)",
                [horizon_days, inputs.due],
            )
    predictions = _test(database, inputs, stale, now) if stale else 0
    # A new test would give the same rows with this date, so the table equals a full refresh.
    database.execute(
        "update clv.backtest_metrics set as_of_date = %s "
        "where horizon_days = %s and cutoff_date = any(%s)",
        [as_of, horizon_days, kept],
    )
    return Progress(inputs.due, stale, kept, predictions)


def test(database: Database, as_of: date, horizon_days: int, cutoffs: Collection[date]) -> Progress:
    """Test the given cut-offs, stale or not; skip those whose outcome is not complete.

    Raises:
        PipelineError: The features have no rows at one of the dates.
    """
    dates = tables.as_of_dates(database)
    unknown = sorted(set(cutoffs) - set(dates))
    if unknown:
        raise PipelineError(
            f"{', '.join(map(str, unknown))}: no as-of date of warehouse.customer_features, so "
            "nothing can be tested; `clv/backtest_summary` lists the cut-offs"
        )
    due = dataset.training_cutoffs(dates, as_of, horizon_days)
    wanted = [cutoff for cutoff in due if cutoff in set(cutoffs)]
    if not wanted:
        return Progress(due, [], [], 0)
    inputs = _Inputs.read(database, as_of, horizon_days)
    return Progress(due, wanted, [], _test(database, inputs, wanted, inputs.digests()))


def abstentions(database: Database, horizon_days: int, cutoffs: Sequence[date]) -> pd.DataFrame:
    """Return the abstentions at some cut-offs: `cutoff_date, model_name, reason`."""
    return database.read(
        "clv.backtest_abstentions",
        ["cutoff_date", "model_name", "reason"],
        where="horizon_days = %s and cutoff_date = any(%s) order by 1, 2",
        params=[horizon_days, list(cutoffs)],
    )


def all_cutoffs(database: Database) -> set[date]:
    """Return every stored cut-off, of any horizon."""
    rows = database.query("select distinct cutoff_date from clv.backtest_metrics")
    return {pd.Timestamp(day).date() for day in rows["cutoff_date"]}


def summary(metrics: pd.DataFrame, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return the rows of `clv.backtest_summary`: each model's mean metrics over the cut-offs."""
    frame = pd.DataFrame(columns=_SUMMARY)
    for name, own in metrics.groupby("model_name"):
        days, means = own["cutoff_date"].dt.date, own[list(METRICS)].mean()
        known = {metric: None if pd.isna(mean) else float(mean) for metric, mean in means.items()}
        span = [len(days.unique()), days.min(), days.max()]
        frame.loc[len(frame)] = [name, horizon_days, as_of, *span, json.dumps(known)]
    return frame.astype({"horizon_days": int, "cutoffs": int}).astype(
        dict.fromkeys(["model_name", "as_of_date", *_SUMMARY[4:]], "string")
    )


_SUMMARY = [
    *("model_name", "horizon_days", "as_of_date", "cutoffs"),
    *("first_cutoff_date", "last_cutoff_date", "metrics"),
]


def mean_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return each model's mean metrics over the cut-offs, the lowest deviance first."""
    means = metrics.groupby("model_name").agg(
        cutoffs=("cutoff_date", "nunique"), **{name: (name, "mean") for name in METRICS}
    )
    return means.round(3).sort_values("tweedie_deviance").reset_index()


def _intact(database: Database, horizon_days: int) -> dict[date, str]:
    """Return the digests of the cut-offs that have all their rows."""
    rows = database.query(
        "select m.cutoff_date, min(m.input_digest) as digest "
        "from clv.backtest_metrics as m left join ("
        "select model_name, cutoff_date, count(*) as customers from clv.backtest_predictions "
        "where horizon_days = %(horizon)s group by 1, 2) as p using (model_name, cutoff_date) "
        "where m.horizon_days = %(horizon)s group by 1 "
        "having bool_and(m.customers is not distinct from p.customers) "
        "and count(distinct m.input_digest) = 1 and bool_and(m.input_digest is not null)",
        {"horizon": horizon_days},
    )
    return dict(zip(rows["cutoff_date"].dt.date, rows["digest"], strict=True))


def _test(
    database: Database, inputs: _Inputs, cutoffs: Sequence[date], now: dict[date, str]
) -> int:
    """Test some cut-offs, replace their rows, and return the number of predictions written.

    Digests are removed first and written last, so that an interrupted replacement is repeated.
    """
    found = backtest.run(
        inputs.features, inputs.entries, inputs.as_of, inputs.horizon_days, cutoffs
    )
    listed = ", ".join(f"'{cutoff.isoformat()}'" for cutoff in cutoffs)
    stale = f"horizon_days = {inputs.horizon_days} and cutoff_date in ({listed})"
    database.execute(f"update clv.backtest_metrics set input_digest = null where {stale}")
    database.replace(
        "clv.backtest_predictions",
        # Sorted by the key, so that rows are appended to its index.
        found.predictions.sort_values("model_name", kind="stable"),
        stale,
    )
    abstained = [
        (name, cutoff.isoformat(), inputs.horizon_days, reason)
        for cutoff, reasons in found.abstentions.items()
        for name, reason in reasons.items()
    ]
    database.publish(
        "clv.backtest_abstentions",
        pd.DataFrame(abstained, columns=[*_KEY, "reason"]).astype("string"),
        _KEY,
        replace_where=stale,
    )
    database.publish(
        "clv.backtest_metrics",
        found.metrics.assign(
            as_of_date=pd.Timestamp(inputs.as_of),
            one_customer_in=inputs.one_customer_in,
            input_digest=found.metrics["cutoff_date"].dt.date.map(now).astype("string"),
        ),
        _KEY,
        replace_where=stale,
    )
    return len(found.predictions)
