"""Models fitted at one date, abstentions included, and what they say of everyone there.

Nothing here measures, calibrates or chooses; many dates at a time are in `parallel`.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date

import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import intervals
from retail_pipeline.clv.models.btyd import Array
from retail_pipeline.clv.models.registry import (
    MODELS,
    PREDICTED,
    AbstainError,
    ValueModel,
)


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
class AtCutoff:
    """All models at one cut-off, before any outcome is looked at.

    Attributes:
        candidates: The models, abstentions included.
        predicted: What each fitted model predicts for everyone (`PREDICTED`), by its name.
        drawn: The ends of the model's own intervals, by its name, where they were asked for.
    """

    candidates: list[Candidate]
    predicted: dict[str, pd.DataFrame]
    drawn: dict[str, tuple[Array, Array]] = field(default_factory=dict)


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
    return _fit_all(dataset.learning_frame(labelled, today), horizon_days, names)


def fit_at_cutoff(
    features: pd.DataFrame, entries: pd.DataFrame, cutoff: date, horizon_days: int, *, drawn: bool
) -> AtCutoff:
    """Fit every model as it would have been fitted at a past cut-off.

    Args:
        features: Prepared features up to the cut-off, at least at all month firsts.
        entries: The prepared ledger; nothing known on or after the cut-off counts.
        cutoff: The date.
        horizon_days: Length of the outcome.
        drawn: Whether the models' own intervals are wanted.
    """
    today = dataset.at_date(features, cutoff)
    frame = dataset.learning_frame(
        dataset.training_set(features, entries, cutoff, horizon_days), today
    )
    candidates = _fit_all(frame, horizon_days, MODELS)
    models = [candidate.model for candidate in candidates if candidate.model is not None]
    return AtCutoff(
        candidates,
        {model.name: model.predict(today)[PREDICTED] for model in models},
        {model.name: intervals.from_model(model, today) for model in models} if drawn else {},
    )


def _fit_all(frame: pd.DataFrame, horizon_days: int, names: Collection[str]) -> list[Candidate]:
    return [_fit(MODELS[name](horizon_days), frame) for name in MODELS if name in names]


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
