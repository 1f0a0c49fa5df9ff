"""Out-of-time tests: each model's predictions at past cut-offs beside the actual outcomes.

At a cut-off c everything is as a run at c would have had it: features of c, models trained on
cut-offs up to c - h with outcomes known before c, intervals calibrated on earlier predictions whose
outcome was complete at c. Only the metrics use outcomes as known today.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import pandas as pd

from retail_pipeline import cores
from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import intervals, metrics
from retail_pipeline.clv.models import btyd
from retail_pipeline.clv.models.base import PREDICTED, Array, ValueModel
from retail_pipeline.clv.models.candidates import fit_candidates
from retail_pipeline.clv.models.registry import Candidate

FEWEST_ROWS: Final = 30_000
"""Customers at all cut-offs together; fewer are fitted before worker processes have started."""

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
        abstentions: Per cut-off, the reasons of the models that could not be fitted, by their name.
    """

    predictions: pd.DataFrame
    metrics: pd.DataFrame
    abstentions: dict[date, dict[str, str]]


@dataclass(frozen=True)
class AtCutoff:
    """All models at one cut-off, before any outcome is used.

    Attributes:
        candidates: The models, abstentions included.
        predicted: Each fitted model's predictions for everyone (`PREDICTED`), by its name.
        drawn: The ends of the model's own intervals, by its name, where nothing calibrates them.
    """

    candidates: list[Candidate]
    predicted: dict[str, pd.DataFrame]
    drawn: dict[str, tuple[Array, Array]] = field(default_factory=dict)


def run(
    features: pd.DataFrame,
    entries: pd.DataFrame,
    as_of: date,
    horizon_days: int,
    cutoffs: Sequence[date] | None = None,
) -> Backtest:
    """Return the test of every model at the past cut-offs.

    Args:
        features: Prepared features, at least at all month starts before `as_of`.
        entries: The prepared customer-day entries.
        as_of: Outcomes count as they were known before this date.
        horizon_days: Length of the outcome.
        cutoffs: The cut-offs wanted; by default all whose outcome is complete.
    """
    due = dataset.training_cutoffs(dataset.feature_dates(features), as_of, horizon_days)
    wanted = set(due if cutoffs is None else cutoffs) & set(due)
    horizon = timedelta(days=horizon_days)
    needed = [c for c in due if c in wanted or any(c + horizon <= w for w in wanted)]
    # Where no earlier outcome is complete, nothing calibrates: the models draw their intervals.
    drawn = {cutoff: not any(c + horizon <= cutoff for c in needed) for cutoff in needed}
    fitted = _fit_at_cutoffs(features, entries, horizon_days, drawn)
    past: dict[date, _Past] = {}
    rows, abstentions = [], dict[date, dict[str, str]]()
    for cutoff, here in fitted.items():
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
        abstentions[cutoff] = {c.model_name: c.abstention for c in here.candidates if c.abstention}
    return _reported(past, rows, abstentions, wanted)


def calibration_of(
    predictions: pd.DataFrame, model_name: str, cutoffs: Collection[date], as_of: date
) -> intervals.Calibration | None:
    """Return a model's calibration for a date from its backtest predictions at cut-offs."""
    wanted = predictions["cutoff_date"].isin([pd.Timestamp(cutoff) for cutoff in cutoffs])
    own = predictions[wanted & (predictions["model_name"] == model_name)]
    return intervals.calibrate(own.sort_values(["cutoff_date", "customer_id"]), as_of)


def _fit_at_cutoffs(
    features: pd.DataFrame, entries: pd.DataFrame, horizon_days: int, drawn: Mapping[date, bool]
) -> dict[date, AtCutoff]:
    """Return every model fitted at each cut-off of `drawn`, on all cores where that pays.

    A Pareto/NBD fit that several cut-offs need is made once and handed to all of them.
    """
    cutoffs = list(drawn)
    rows = features["as_of_date"].isin([pd.Timestamp(cutoff) for cutoff in cutoffs]).sum()
    if len(cutoffs) < 2 or rows < FEWEST_ROWS or cores.count_cores() < 2:
        found = [
            _fit_at_cutoff(features, entries, c, horizon_days, draws) for c, draws in drawn.items()
        ]
        return dict(zip(cutoffs, found, strict=True))
    dates = dataset.feature_dates(features)
    learned = {d for c in cutoffs for d in dataset.training_cutoffs(dates, c, horizon_days)}
    fitted_on = features[["as_of_date", *btyd.HISTORY]]
    populations = [(dataset.at_date(fitted_on, day),) for day in sorted(learned, reverse=True)]
    fits: btyd.Fits = {}
    for fit in cores.on_all_cores(_pareto_nbd_fit, populations):
        fits |= fit
    # The latest cut-offs train on most rows: started last, they would be waited for.
    latest_first = cutoffs[::-1]
    inputs = _packed(features), _packed(entries)
    calls = [(*inputs, c, horizon_days, drawn[c], fits) for c in latest_first]
    found = cores.on_all_cores(_fit_at_cutoff_of_packed, calls)
    return dict(zip(cutoffs, found[::-1], strict=True))


def _pareto_nbd_fit(population: pd.DataFrame) -> btyd.Fits:
    return btyd.fits_of(btyd.ParetoNBD, population)


def _packed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose texts are categories: numbers alone are shared with workers at once."""
    return frame.astype(dict.fromkeys(frame.select_dtypes("object"), "category"), copy=False)


def _unpacked(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a packed frame with its texts; the numbers stay those that all workers share."""
    return frame.astype(dict.fromkeys(frame.select_dtypes("category"), object), copy=False)


def _fit_at_cutoff_of_packed(
    features: pd.DataFrame, entries: pd.DataFrame, *arguments: Any
) -> AtCutoff:
    return _fit_at_cutoff(_unpacked(features), _unpacked(entries), *arguments)


def _fit_at_cutoff(
    features: pd.DataFrame,
    entries: pd.DataFrame,
    cutoff: date,
    horizon_days: int,
    draws: bool,
    fits: btyd.Fits | None = None,
) -> AtCutoff:
    """Return every model as it would have been fitted at a past cut-off.

    Args:
        features: Prepared features, ordered by date.
        entries: The prepared entries; nothing known on or after the cut-off counts.
        cutoff: The date.
        horizon_days: Length of the outcome.
        draws: Whether the models' own intervals are wanted.
        fits: Fits that were made before, for the cache.
    """
    btyd.remember(fits or {})
    # By date, so that the features known then are the beginning of the frame: a view, no copy.
    known = features.iloc[: features["as_of_date"].searchsorted(pd.Timestamp(cutoff), side="right")]
    today = dataset.at_date(known, cutoff)
    labelled = dataset.training_set(known, entries, cutoff, horizon_days)
    candidates = fit_candidates(labelled, today, horizon_days)
    models = [candidate.model for candidate in candidates if candidate.model is not None]
    return AtCutoff(
        candidates,
        {model.name: model.predict(today)[PREDICTED] for model in models},
        {model.name: intervals.from_model(model, today) for model in models} if draws else {},
    )


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
    abstentions: dict[date, dict[str, str]],
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
