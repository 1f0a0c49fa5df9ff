"""Out-of-time tests: what each model would have said at past cut-offs, and what came.

At a cut-off c everything is as a run at c would have had it: features of c, models trained on
cut-offs up to c - h with outcomes known before c, intervals calibrated on earlier predictions whose
outcome was complete at c. Only the judgement uses what is known today. No choice is made here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import pandas as pd

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import (
    intervals,
    metrics,
    parallel,
)
from retail_pipeline.clv.evaluation.candidates import (
    Abstention,
    AtCutoff,
    Candidate,
)
from retail_pipeline.clv.models.btyd import Array
from retail_pipeline.clv.models.registry import ValueModel

PREDICTION_COLUMNS: Final = [
    "model_name",
    "cutoff_date",
    "horizon_days",
    "customer_id",
    "predicted_value",
    "lower_80",
    "upper_80",
    "expected_orders",
    "probability_active",
    "actual_value",
]


_Past = Mapping[str, pd.DataFrame]
"""Predictions for the customers of one cut-off, in their order, by the model's name."""


@dataclass(frozen=True)
class Backtest:
    """All models at all past cut-offs.

    Attributes:
        predictions: One row per model, cut-off and customer (`PREDICTION_COLUMNS`).
        metrics: One row per model and cut-off: the contract's metrics, `customers`,
            `training_rows`, `fit_seconds`.
        abstentions: Per cut-off, the models that could not be fitted there.
    """

    predictions: pd.DataFrame
    metrics: pd.DataFrame
    abstentions: dict[date, list[Abstention]]


def run(
    features: pd.DataFrame,
    entries: pd.DataFrame,
    as_of: date,
    horizon_days: int,
    cutoffs: Sequence[date] | None = None,
) -> Backtest:
    """Test every model at the past cut-offs.

    Args:
        features: Prepared features, at least at all month firsts before `as_of`.
        entries: The prepared ledger.
        as_of: Outcomes count as they were known before this date.
        horizon_days: Length of the outcome.
        cutoffs: The cut-offs wanted; by default all whose outcome is complete.
    """
    due = dataset.training_cutoffs(dataset.feature_dates(features), as_of, horizon_days)
    wanted = set(due if cutoffs is None else cutoffs) & set(due)
    horizon = timedelta(days=horizon_days)
    needed = [c for c in due if c in wanted or any(c + horizon <= w for w in wanted)]
    past: dict[date, _Past] = {}
    rows, abstentions = [], dict[date, list[Abstention]]()
    # Where no earlier outcome is complete, nothing calibrates: the models draw their intervals.
    drawn = [not any(c + horizon <= cutoff for c in needed) for cutoff in needed]
    fitted = parallel.fit_at_cutoffs(features, entries, needed, horizon_days, drawn)
    for cutoff, here in zip(needed, fitted, strict=True):
        today = dataset.at_date(features, cutoff)
        known = {
            earlier: _as_known_at(past[earlier], entries, earlier, horizon_days, cutoff)
            for earlier in needed
            if earlier + horizon <= cutoff
        }
        actual = dataset.outcomes(entries, today["customer_id"], cutoff, horizon_days, as_of)
        tested = {
            candidate.model_name: _test(
                candidate, candidate.model, here, today, known, actual, cutoff
            )
            for candidate in here.candidates
            if candidate.model is not None
        }
        past[cutoff] = {name: predictions for name, (predictions, _) in tested.items()}
        rows += [row for _, row in tested.values()]
        abstentions[cutoff] = [c.abstention for c in here.candidates if c.abstention]
    return _reported(past, rows, abstentions, wanted)


def calibration_of(
    predictions: pd.DataFrame, model_name: str, cutoffs: Collection[date], as_of: date
) -> intervals.Calibration | None:
    """Return a model's calibration for a date from its backtest predictions at cut-offs."""
    wanted = predictions["cutoff_date"].isin([pd.Timestamp(cutoff) for cutoff in cutoffs])
    own = predictions[wanted & (predictions["model_name"] == model_name)]
    return intervals.calibrate(own.sort_values(["cutoff_date", "customer_id"]), as_of)


def _with_intervals(
    model: ValueModel,
    today: pd.DataFrame,
    predicted: pd.DataFrame,
    calibration: intervals.Calibration | None,
    drawn: tuple[Array, Array] | None = None,
) -> pd.DataFrame:
    value = predicted["predicted_value"].to_numpy(float)
    if calibration is not None:
        lower, upper = calibration.apply(value)
    else:
        lower, upper = drawn or intervals.from_model(model, today)
    frame = pd.concat([today[["customer_id"]], predicted], axis=1)
    return frame.assign(lower_80=lower, upper_80=upper)


def _test(
    candidate: Candidate,
    model: ValueModel,
    here: AtCutoff,
    today: pd.DataFrame,
    known: Mapping[date, _Past],
    actual: pd.DataFrame,
    cutoff: date,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    own = [past[model.name] for past in known.values() if model.name in past]
    calibration = intervals.calibrate(pd.concat(own), cutoff) if own else None
    drawn = here.drawn.get(model.name)
    predicted = _with_intervals(model, today, here.predicted[model.name], calibration, drawn)
    key: dict[str, Any] = {
        "model_name": model.name,
        "cutoff_date": pd.Timestamp(cutoff),
        "horizon_days": model.horizon_days,
    }
    value, orders = (actual[name].to_numpy(float) for name in dataset.LABELS)
    predictions = predicted.assign(**key, actual_value=value)[PREDICTION_COLUMNS]
    measured = metrics.evaluate(predicted, value, orders)
    row = {
        **key,
        "customers": len(today),
        **measured,
        "training_rows": candidate.training_rows,
        "fit_seconds": candidate.seconds,
    }
    return predictions, row


def _as_known_at(
    past: _Past, entries: pd.DataFrame, earlier: date, horizon_days: int, cutoff: date
) -> _Past:
    """Return an earlier cut-off's predictions, their outcome as it was known at a later one."""
    if not past:
        return {}
    customers = next(iter(past.values()))["customer_id"]
    labels = dataset.outcomes(entries, customers, earlier, horizon_days, cutoff)
    value = labels["future_value"].to_numpy()
    return {
        name: predictions[["cutoff_date", "predicted_value"]].assign(actual_value=value)
        for name, predictions in past.items()
    }


def _reported(
    past: Mapping[date, _Past],
    rows: list[dict[str, Any]],
    abstentions: dict[date, list[Abstention]],
    wanted: set[date],
) -> Backtest:
    found = [frame for cutoff in sorted(wanted) for frame in past[cutoff].values()]
    dates = [pd.Timestamp(cutoff) for cutoff in sorted(wanted)]
    columns = ["model_name", "cutoff_date", "horizon_days", "customers", *metrics.METRICS]
    table = pd.DataFrame(rows, columns=[*columns, "training_rows", "fit_seconds"])
    table["cutoff_date"] = table["cutoff_date"].astype("datetime64[ns]")
    table[list(metrics.METRICS)] = table[list(metrics.METRICS)].astype(float)
    return Backtest(
        pd.concat(found, ignore_index=True) if found else _no_predictions(),
        table[table["cutoff_date"].isin(dates)].reset_index(drop=True),
        {cutoff: who for cutoff, who in abstentions.items() if cutoff in wanted},
    )


def _no_predictions() -> pd.DataFrame:
    frame = pd.DataFrame(columns=PREDICTION_COLUMNS).astype(float)
    return frame.astype(
        {
            "model_name": object,
            "customer_id": object,
            "cutoff_date": "datetime64[ns]",
            "horizon_days": int,
        }
    )
