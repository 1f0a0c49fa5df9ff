"""All steps of customer value on frames, from features and entries to served predictions.

`evaluate` and benchmarks call `value_customers`. The Dagster assets call the same functions one by
one, with tables in between, and give the same numbers.
"""

from dataclasses import dataclass
from datetime import date

import pandas as pd

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.data.sampling import TrainingSample
from retail_pipeline.clv.evaluation import backtest, selection
from retail_pipeline.clv.models.candidates import fit_candidates
from retail_pipeline.clv.models.registry import Candidate
from retail_pipeline.clv.serving.score import score


@dataclass(frozen=True)
class Valuation:
    """The results of all steps at one date.

    Attributes:
        as_of: The date.
        horizon_days: The horizon.
        candidates: The models fitted at `as_of`, abstentions included.
        backtest: The out-of-time tests before it.
        decision: The model that serves, and the reason.
        predictions: The served predictions (`score.PREDICTION_COLUMNS`), one row per customer.
        training_set: Past rows with outcomes, of the training sample.
        population: The feature rows of all customers at `as_of`.
    """

    as_of: date
    horizon_days: int
    candidates: list[Candidate]
    backtest: backtest.Backtest
    decision: selection.Decision
    predictions: pd.DataFrame
    training_set: pd.DataFrame
    population: pd.DataFrame

    @property
    def is_extrapolated(self) -> bool:
        """Whether the horizon is longer than any complete outcome in the data."""
        return self.training_set.empty

    def predictions_of(self, model_name: str) -> pd.DataFrame | None:
        """Return one model's predictions in the form of the served ones; None if it abstained."""
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
) -> Valuation:
    """Return the models fitted and tested at a date, the one that serves, and its predictions.

    Args:
        features: Rows of `warehouse.customer_features` at `as_of` and the month starts before it.
        entries: Rows of `warehouse.customer_day_entries`; only those known before `as_of` count.
        as_of: The date, meaning 00:00 UTC.
        horizon_days: Days ahead, 1-1095.

    Raises:
        UsageError: The horizon is out of range.
        PipelineError: No customer has a purchase before `as_of`.
    """
    dataset.check_horizon(horizon_days)
    features = dataset.prepare_features(features)
    entries = dataset.prepare_entries(entries)
    today = dataset.population(features, as_of)
    sample = TrainingSample.of(len(today))
    features, entries = sample.chosen(features), sample.chosen(entries)
    labeled = dataset.training_set(features, entries, as_of, horizon_days)
    candidates = fit_candidates(labeled, sample.chosen(today), horizon_days)
    tested = backtest.run(features, entries, as_of, horizon_days)
    fitted = {c.model_name: c.model for c in candidates if c.model is not None}
    decision = selection.choose(tested.metrics, fitted, as_of)
    served = score(fitted[decision.model_name], today, tested.predictions, as_of)
    return Valuation(
        as_of=as_of,
        horizon_days=horizon_days,
        candidates=candidates,
        backtest=tested,
        decision=decision,
        predictions=served,
        training_set=labeled,
        population=today,
    )
