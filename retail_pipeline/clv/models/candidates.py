"""Fits every model at a date and records those that abstain."""

import time
from collections.abc import Collection

import pandas as pd

from retail_pipeline import cores
from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.models.base import AbstainError, ValueModel
from retail_pipeline.clv.models.registry import MODELS, Candidate


def fit_candidates(
    labeled: pd.DataFrame,
    today: pd.DataFrame,
    horizon_days: int,
    names: Collection[str] = tuple(MODELS),
) -> list[Candidate]:
    """Return every model, fitted or abstaining.

    Args:
        labeled: Result of `dataset.training_set`; may be empty.
        today: The population at the date of the fit.
        horizon_days: Length of the outcome.
        names: The models to fit.
    """
    frame = dataset.learning_frame(labeled, today)
    return [_fit(MODELS[name](horizon_days), frame) for name in MODELS if name in names]


def _fit(model: ValueModel, frame: pd.DataFrame) -> Candidate:
    """Fit a model in one thread and return it as a candidate, or its abstention."""
    started = time.perf_counter()
    try:
        with cores.one_thread():
            model.fit(frame)
    except AbstainError as error:
        return Candidate(model.name, None, str(error), 0, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    return Candidate(model.name, model, None, model.training_rows_, seconds)
