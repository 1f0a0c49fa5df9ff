"""From features and ledger to served predictions: the one order of steps.

The Dagster assets run the same steps one by one with tables in between; `evaluate` runs them here
in one go. Both give the same numbers. No table, no file, no Dagster.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

import pandas as pd

from retail_pipeline.clv import backtest as backtesting
from retail_pipeline.clv import dataset, segments, selection
from retail_pipeline.clv.backtest import Backtest
from retail_pipeline.clv.buckets import Buckets
from retail_pipeline.clv.candidates import Candidate, fit_candidates
from retail_pipeline.clv.estimators import ValueModel
from retail_pipeline.clv.selection import INCUMBENT, Decision

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
    buckets = Buckets.of(len(today))
    features, entries = buckets.chosen(features), buckets.chosen(entries)
    labelled = dataset.training_set(features, entries, as_of, horizon_days)
    candidates = fit_candidates(labelled, buckets.chosen(today), horizon_days)
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
    parts = Buckets.of(len(today)).parts(today)
    return score_parts(model, parts, backtest_predictions, as_of)


def score_parts(
    model: ValueModel,
    parts: Iterable[pd.DataFrame],
    backtest_predictions: pd.DataFrame,
    as_of: date,
) -> pd.DataFrame:
    """Return what `score` does for a population that comes in parts, one in memory at a time.

    Args:
        model: Fitted, at `as_of` or before.
        parts: The population at `as_of`; ranks are over all of it.
        backtest_predictions: As for `score`.
        as_of: The date.
    """
    past = backtest_predictions[backtest_predictions["horizon_days"] == model.horizon_days]
    cutoffs = dataset.training_cutoffs(past["cutoff_date"].unique(), as_of, model.horizon_days)
    calibration = backtesting.calibration_of(past, model.name, cutoffs, as_of)
    predicted = backtesting.predict(model, parts, calibration)
    named = segments.assign(predicted, model.horizon_days)
    return named.assign(
        as_of_date=pd.Timestamp(as_of),
        horizon_days=model.horizon_days,
        model_name=model.name,
    )[PREDICTION_COLUMNS]
