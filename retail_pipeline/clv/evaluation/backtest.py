"""Out-of-time tests: each model's predictions at past cut-offs beside the actual outcomes.

A test at cut-off c uses only what a run at c could have used: features at c, models trained on
cut-offs up to c - h with outcomes known before c, and intervals calibrated on earlier predictions
whose outcome was complete at c. Only the metrics use outcomes as known today.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import pandas as pd

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import intervals, metrics, next_order
from retail_pipeline.clv.models.base import PREDICTED, ValueModel
from retail_pipeline.clv.models.candidates import fit_candidates
from retail_pipeline.clv.models.registry import Candidate

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
    "value_shape",
    "actual_value",
]

_ROW: Final = [
    *("model_name", "cutoff_date", "horizon_days", "customers", "training_rows", "fit_seconds")
]


@dataclass(frozen=True)
class Backtest:
    """The results of all models at the past cut-offs.

    Attributes:
        predictions: One row per model, cut-off and customer (`PREDICTION_COLUMNS`).
        metrics: One row per model and cut-off: `metrics.METRICS`, `next_order.COLUMNS`,
            `customers`, `training_rows`, `fit_seconds`.
        abstentions: By cut-off and model name, the reason why a model could not be fitted.
    """

    predictions: pd.DataFrame
    metrics: pd.DataFrame
    abstentions: dict[date, dict[str, str]]


def run(
    features: pd.DataFrame,
    entries: pd.DataFrame,
    as_of: date,
    horizon_days: int,
    cutoffs: Sequence[date] | None = None,
) -> Backtest:
    """Return the results of every model at the past cut-offs.

    Args:
        features: Prepared features, at least at all month starts before `as_of`.
        entries: The prepared customer-day entries.
        as_of: Outcomes are taken as known before this date.
        horizon_days: Length of the outcome.
        cutoffs: The cut-offs to test; by default all whose outcome is complete.
    """
    due = dataset.training_cutoffs(dataset.feature_dates(features), as_of, horizon_days)
    wanted = due if cutoffs is None else [cutoff for cutoff in due if cutoff in set(cutoffs)]
    horizon = timedelta(days=horizon_days)
    past: dict[date, dict[str, pd.DataFrame]] = {}
    rows, abstentions = [], {}
    for cutoff in due:
        if cutoff not in wanted and not any(cutoff + horizon <= later for later in wanted):
            continue
        today, candidates = _fitted(features, entries, cutoff, horizon_days)
        actual = dataset.outcomes(entries, today["customer_id"], cutoff, horizon_days, as_of)
        first = dataset.first_orders(entries, today["customer_id"], cutoff, horizon_days, as_of)
        known = [
            _as_known_at(predictions, entries, earlier, horizon_days, cutoff)
            for earlier, predictions in past.items()
            if earlier + horizon <= cutoff
        ]
        past[cutoff] = {}
        for candidate in candidates:
            if candidate.model is not None:
                name = candidate.model_name
                own = [predictions[name] for predictions in known if name in predictions]
                tested = _tested(candidate.model, today, own, actual, cutoff)
                past[cutoff][name] = tested[PREDICTION_COLUMNS]
                row = next_order.evaluate(candidate.model, today, first)
                rows.append(_row(candidate, tested) | row)
        abstentions[cutoff] = {c.model_name: c.abstention for c in candidates if c.abstention}
    return _reported(past, rows, abstentions, wanted)


def calibration_of(
    predictions: pd.DataFrame, model_name: str, cutoffs: Collection[date], as_of: date
) -> intervals.Calibration:
    """Return the calibration of a model's intervals, from its predictions at some cut-offs."""
    wanted = predictions["cutoff_date"].isin([pd.Timestamp(cutoff) for cutoff in cutoffs])
    own = predictions[wanted & (predictions["model_name"] == model_name)]
    return intervals.calibrate(own.sort_values(["cutoff_date", "customer_id"]), as_of)


def _fitted(
    features: pd.DataFrame, entries: pd.DataFrame, cutoff: date, horizon_days: int
) -> tuple[pd.DataFrame, list[Candidate]]:
    """Return the population at a past cut-off, and the models fitted on what was known then."""
    # Features are in the order of dates, so this slice is a view and copies nothing.
    known = features.iloc[: features["as_of_date"].searchsorted(pd.Timestamp(cutoff), side="right")]
    today = dataset.at_date(known, cutoff)
    labeled = dataset.training_set(known, entries, cutoff, horizon_days)
    return today, fit_candidates(labeled, today, horizon_days)


def _as_known_at(
    past: Mapping[str, pd.DataFrame],
    entries: pd.DataFrame,
    earlier: date,
    horizon_days: int,
    cutoff: date,
) -> dict[str, pd.DataFrame]:
    """Return an earlier cut-off's predictions by model, with outcomes as known at `cutoff`."""
    if not past:
        return {}
    customers = next(iter(past.values()))["customer_id"]
    labels = dataset.outcomes(entries, customers, earlier, horizon_days, cutoff)
    value = labels["future_value"].to_numpy()
    return {
        name: predictions[["cutoff_date", *intervals.COLUMNS]].assign(actual_value=value)
        for name, predictions in past.items()
    }


def _tested(
    model: ValueModel,
    today: pd.DataFrame,
    own: Sequence[pd.DataFrame],
    actual: pd.DataFrame,
    cutoff: date,
) -> pd.DataFrame:
    """Return a model's predictions with intervals beside the outcomes.

    Args:
        model: The model fitted at the cut-off.
        today: The population at the cut-off.
        own: The model's predictions at earlier cut-offs, with outcomes as known at this one. If
            they are few, the intervals are not calibrated.
        actual: The outcomes.
        cutoff: The cut-off.
    """
    predicted = model.predict(today)[PREDICTED]
    calibration = intervals.calibrate(pd.concat(own), cutoff) if own else intervals.UNCALIBRATED
    lower, upper = calibration.apply(predicted)
    return pd.concat([today[["customer_id"]], predicted], axis=1).assign(
        model_name=model.name,
        cutoff_date=pd.Timestamp(cutoff),
        horizon_days=model.horizon_days,
        lower_80=lower,
        upper_80=upper,
        actual_value=actual["future_value"],
        actual_orders=actual["future_orders"],
    )


def _row(candidate: Candidate, tested: pd.DataFrame) -> dict[str, Any]:
    """Return a model's row of metrics at a cut-off."""
    value, orders = (tested[name].to_numpy(float) for name in ("actual_value", "actual_orders"))
    return {
        **tested[["model_name", "cutoff_date", "horizon_days"]].iloc[0],
        "customers": len(tested),
        **metrics.evaluate(tested, value, orders),
        "training_rows": candidate.training_rows,
        "fit_seconds": candidate.seconds,
    }


def _reported(
    past: Mapping[date, Mapping[str, pd.DataFrame]],
    rows: list[dict[str, Any]],
    abstentions: Mapping[date, dict[str, str]],
    wanted: Sequence[date],
) -> Backtest:
    found = [predictions for cutoff in wanted for predictions in past[cutoff].values()]
    measures = [*metrics.METRICS, *next_order.LOSSES, *next_order.ERRORS]
    table = pd.DataFrame(rows, columns=[*_ROW, *measures, "next_order_pit"]).astype(
        {
            "cutoff_date": "datetime64[ns]",
            **dict.fromkeys(measures, float),
            "next_order_pit": "string",
        }
    )
    return Backtest(
        pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=PREDICTION_COLUMNS),
        table[table["cutoff_date"].dt.date.isin(wanted)].reset_index(drop=True),
        {cutoff: abstentions[cutoff] for cutoff in wanted},
    )
