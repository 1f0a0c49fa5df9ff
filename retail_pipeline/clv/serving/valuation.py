"""From features and ledger to served predictions: the one order of steps.

The Dagster assets run the same steps one by one with tables in between; `evaluate` runs them here
in one go. Both give the same numbers. No table, no file, no Dagster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import pandas as pd

from retail_pipeline.clv.data import (
    dataset,
)
from retail_pipeline.clv.data import (
    sampling as buckets,
)
from retail_pipeline.clv.evaluation import backtest as backtesting
from retail_pipeline.clv.evaluation import selection
from retail_pipeline.clv.evaluation.backtest import Backtest
from retail_pipeline.clv.evaluation.candidates import (
    Candidate,
    fit_candidates,
)
from retail_pipeline.clv.evaluation.intervals import Calibration
from retail_pipeline.clv.evaluation.selection import (
    INCUMBENT,
    Decision,
)
from retail_pipeline.clv.models.registry import ValueModel
from retail_pipeline.clv.serving import (
    scoring,
    segments,
)

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
    *("predicted_value", "actual_value"),
]
"""What is read of the backtest's predictions to serve a model."""


@dataclass(frozen=True)
class Valuation:
    """Everything one valuation found.

    Attributes:
        as_of: Its date.
        horizon_days: Its horizon.
        candidates: The models fitted at `as_of`, abstentions included.
        backtest: The out-of-time tests before it.
        decision: Who serves and why.
        predictions: The served predictions (`PREDICTION_COLUMNS`), one row per customer.
        segments: One row per segment.
        training_set: Past rows with outcomes, of the customers that models learn from.
        population: The feature rows of everybody at `as_of`.
    """

    as_of: date
    horizon_days: int
    candidates: list[Candidate]
    backtest: Backtest
    decision: Decision
    predictions: pd.DataFrame
    segments: pd.DataFrame
    training_set: pd.DataFrame
    population: pd.DataFrame

    @property
    def is_extrapolated(self) -> bool:
        """Whether the horizon is longer than any complete outcome in the data."""
        return self.training_set.empty

    def predictions_of(self, model_name: str) -> pd.DataFrame | None:
        """Return one model's predictions in the served form; None where it abstained."""
        for candidate in self.candidates:
            if candidate.model_name == model_name and candidate.model is not None:
                return score(
                    candidate.model, self.population, self.backtest.predictions, self.as_of
                )
        return None


def value_customers(
    features: pd.DataFrame,
    entries: pd.DataFrame,
    as_of: date,
    horizon_days: int,
    incumbent: str = INCUMBENT,
) -> Valuation:
    """Fit, test, choose and predict.

    Args:
        features: Rows of `warehouse.customer_features` at `as_of` and the month firsts before it.
        entries: Rows of `warehouse.customer_day_entries`; what happened or became known on or after
            `as_of` changes nothing.
        as_of: The date, meaning 00:00 UTC.
        horizon_days: Days ahead, 1-1095.
        incumbent: The model that a challenger must match in ranking.

    Raises:
        UsageError: The horizon is out of range.
        PipelineError: Nobody has a purchase before `as_of`.
    """
    dataset.check_horizon(horizon_days)
    features = dataset.prepare_features(features)
    entries = dataset.prepare_entries(entries)
    today = dataset.population(features, as_of)
    learned = buckets.Buckets.of(len(today))
    features, entries = learned.chosen(features), learned.chosen(entries)
    labelled = dataset.training_set(features, entries, as_of, horizon_days)
    candidates = fit_candidates(labelled, learned.chosen(today), horizon_days)
    backtest = backtesting.run(features, entries, as_of, horizon_days)
    fitted = {c.model_name: c.model for c in candidates if c.model is not None}
    decision = selection.choose(backtest.metrics, fitted, as_of, incumbent)
    served = score(fitted[decision.model_name], today, backtest.predictions, as_of)
    return Valuation(
        as_of=as_of,
        horizon_days=horizon_days,
        candidates=candidates,
        backtest=backtest,
        decision=decision,
        predictions=served,
        segments=segments.summarise(served),
        training_set=labelled,
        population=today,
    )


def score(
    model: ValueModel, today: pd.DataFrame, backtest_predictions: pd.DataFrame, as_of: date
) -> pd.DataFrame:
    """Return a fitted model's predictions with intervals, deciles and segments.

    Args:
        model: Fitted, at `as_of` or before.
        today: The population at `as_of`.
        backtest_predictions: Out-of-time predictions to calibrate on (`PAST_COLUMNS`); those whose
            outcome is not complete at `as_of` are left out.
        as_of: The date.
    """
    calibration = calibration_for(model, backtest_predictions, as_of)
    parts = [
        scoring.of_part(model, part, draws=calibration is None) for part in buckets.parts(today)
    ]
    return ranked(model, parts, calibration, as_of)[PREDICTION_COLUMNS]


def calibration_for(
    model: ValueModel, backtest_predictions: pd.DataFrame, as_of: date
) -> Calibration | None:
    """Return what a model's intervals at a date follow from; None where it has to draw them.

    Args:
        model: The model.
        backtest_predictions: As for `score`.
        as_of: The date.
    """
    past = backtest_predictions[backtest_predictions["horizon_days"] == model.horizon_days]
    cutoffs = dataset.training_cutoffs(past["cutoff_date"].unique(), as_of, model.horizon_days)
    return backtesting.calibration_of(past, model.name, cutoffs, as_of)


def ranked(
    model: ValueModel,
    parts: Sequence[pd.DataFrame],
    calibration: Calibration | None,
    as_of: date,
) -> pd.DataFrame:
    """Return the served predictions of a population from those of its parts.

    Args:
        model: The model that made them.
        parts: `scoring.of_part` of every part, in the order of ids: groups of intervals, deciles
            and segments are ranks over all of it.
        calibration: For the intervals; None where the parts bear them.
        as_of: The date.

    Returns:
        `PREDICTION_COLUMNS` and what else the parts bear, one row per customer.
    """
    predicted = pd.concat(parts, ignore_index=True).sort_values("customer_id", ignore_index=True)
    if calibration is not None:
        lower, upper = calibration.apply(predicted["predicted_value"].to_numpy(float))
        predicted = predicted.assign(lower_80=lower, upper_80=upper)
    return segments.assign(predicted, model.horizon_days).assign(
        as_of_date=pd.Timestamp(as_of),
        horizon_days=model.horizon_days,
        model_name=model.name,
    )
