"""Out-of-time tests: what each model would have said at past cut-offs, and what came.

At a cut-off c everything is as a run at c would have had it: features of c, models trained on
cut-offs up to c - h with outcomes known before c, intervals calibrated on earlier predictions whose
outcome was complete at c. Only the judgement uses what is known today. No choice is made here.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from retail_pipeline.clv import dataset, intervals, metrics
from retail_pipeline.clv.estimators import MODELS, PREDICTED, AbstainError, ValueModel

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


@dataclass(frozen=True)
class Abstention:
    """A model that could not be fitted, and why."""

    model_name: str
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Candidate:
    """A model fitted at one date, or the reason why it was not.

    Attributes:
        model_name: Its name.
        model: The fitted model; None for an abstention.
        abstention: Why it was not fitted, or None.
        training_rows: Rows it learned from.
        seconds: Time the fit took.
    """

    model_name: str
    model: ValueModel | None
    abstention: Abstention | None
    training_rows: int
    seconds: float


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


def fit_candidates(
    labelled: pd.DataFrame,
    today: pd.DataFrame,
    horizon_days: int,
    names: Collection[str] = tuple(MODELS),
) -> list[Candidate]:
    """Fit every model on past outcomes and today's population; abstentions are results too.

    Args:
        labelled: `dataset.training_set`, perhaps empty.
        today: The population at the date of the fit.
        horizon_days: Length of the outcome.
        names: The models wanted.
    """
    frame = dataset.learning_frame(labelled, today)
    return [_fit(MODELS[name](horizon_days), frame) for name in MODELS if name in names]


def predict(
    model: ValueModel, today: pd.DataFrame, calibration: intervals.Calibration | None
) -> pd.DataFrame:
    """Return a model's predictions for one population, with intervals.

    Args:
        model: Fitted.
        today: The whole population of one date: interval groups are ranks within it.
        calibration: From backtest predictions; None lets the model itself draw the intervals.

    Returns:
        `customer_id`, the three predictions, `lower_80` and `upper_80`.
    """
    frame = pd.concat([today[["customer_id"]], model.predict(today)[PREDICTED]], axis=1)
    predicted = frame["predicted_value"].to_numpy(float)
    lower, upper = (
        calibration.apply(predicted) if calibration else intervals.from_model(model, today)
    )
    return frame.assign(lower_80=lower, upper_80=upper)


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
    past, rows = _no_predictions(), []
    abstentions: dict[date, list[Abstention]] = {}
    for cutoff in needed:
        today = dataset.at_date(features, cutoff)
        labelled = dataset.training_set(features, entries, cutoff, horizon_days)
        candidates = fit_candidates(labelled, today, horizon_days)
        known = _as_known_at(past, entries, cutoff, horizon_days)
        actual = dataset.outcomes(entries, today["customer_id"], cutoff, horizon_days, as_of)
        tested = [
            _test(candidate, candidate.model, today, known, actual, cutoff)
            for candidate in candidates
            if candidate.model is not None
        ]
        found = [predictions for predictions, _ in tested]
        past = pd.concat([past, *found] if len(past) else found, ignore_index=True)
        rows += [row for _, row in tested]
        abstentions[cutoff] = [c.abstention for c in candidates if c.abstention]
    return _reported(past, rows, abstentions, wanted)


def calibration_of(
    predictions: pd.DataFrame, model_name: str, cutoffs: Collection[date], as_of: date
) -> intervals.Calibration | None:
    """Return a model's calibration for a date from its backtest predictions at cut-offs."""
    wanted = predictions["cutoff_date"].isin([pd.Timestamp(cutoff) for cutoff in cutoffs])
    own = predictions[wanted & (predictions["model_name"] == model_name)]
    return intervals.calibrate(own.sort_values(["cutoff_date", "customer_id"]), as_of)


def _fit(model: ValueModel, frame: pd.DataFrame) -> Candidate:
    """Fit in one thread, linear algebra and boosting alike.

    The problems are small: threads would wait for each other 100 times longer than they work, and
    how they share a sum could change its last bit.
    """
    started = time.perf_counter()
    try:
        with threadpool_limits(limits=1):
            model.fit(frame)
    except AbstainError as error:
        abstention = Abstention(model.name, str(error))
        return Candidate(model.name, None, abstention, 0, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    return Candidate(model.name, model, None, model.training_rows_, seconds)


def _test(
    candidate: Candidate,
    model: ValueModel,
    today: pd.DataFrame,
    known: pd.DataFrame,
    actual: pd.DataFrame,
    cutoff: date,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    calibration = intervals.calibrate(known[known["model_name"] == candidate.model_name], cutoff)
    predicted = predict(model, today, calibration)
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
    past: pd.DataFrame, entries: pd.DataFrame, cutoff: date, horizon_days: int
) -> pd.DataFrame:
    """Return the earlier predictions whose outcome was complete at a cut-off, as known then."""
    latest = pd.Timestamp(cutoff) - pd.Timedelta(days=horizon_days)
    known = past[past["cutoff_date"] <= latest].copy()
    for earlier, rows in known.groupby("cutoff_date"):
        day = pd.Timestamp(earlier).date()  # type: ignore[arg-type]
        labels = dataset.outcomes(entries, rows["customer_id"], day, horizon_days, cutoff)
        known.loc[rows.index, "actual_value"] = labels["future_value"]
    return known


def _reported(
    past: pd.DataFrame,
    rows: list[dict[str, Any]],
    abstentions: dict[date, list[Abstention]],
    wanted: set[date],
) -> Backtest:
    dates = [pd.Timestamp(cutoff) for cutoff in sorted(wanted)]
    columns = ["model_name", "cutoff_date", "horizon_days", "customers", *metrics.METRICS]
    table = pd.DataFrame(rows, columns=[*columns, "training_rows", "fit_seconds"])
    table["cutoff_date"] = table["cutoff_date"].astype("datetime64[ns]")
    table[list(metrics.METRICS)] = table[list(metrics.METRICS)].astype(float)
    return Backtest(
        past[past["cutoff_date"].isin(dates)].reset_index(drop=True),
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
