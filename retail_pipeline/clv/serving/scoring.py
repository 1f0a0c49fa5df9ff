"""Everybody's bare predictions, a part at a time, on all cores.

Each worker reads its own parts and returns a few numbers per customer; no more than a part per
core is in memory. What ranks over everybody give (intervals, deciles, segments) is `valuation`'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import pandas as pd

from retail_pipeline.clv import processes
from retail_pipeline.clv.data import tables
from retail_pipeline.clv.evaluation import intervals
from retail_pipeline.clv.models.base import ValueModel
from retail_pipeline.clv.models.registry import PREDICTED
from retail_pipeline.clv.serving import (
    discounting,
    segments,
)
from retail_pipeline.postgres import Database


def of_part(model: ValueModel, part: pd.DataFrame, *, draws: bool) -> pd.DataFrame:
    """Return a model's predictions for some customers of a population.

    Args:
        model: Fitted.
        part: Feature rows of one date.
        draws: Whether the model itself draws the intervals, as nothing calibrates them.

    Returns:
        `customer_id` and the three predictions, with draws also `lower_80` and `upper_80`.
    """
    frame = pd.concat([part[["customer_id"]], model.predict(part)[PREDICTED]], axis=1)
    if not draws:
        return frame
    lower, upper = intervals.from_model(model, part)
    return frame.assign(lower_80=lower, upper_80=upper)


class Scored(NamedTuple):
    """A part of a population: what is predicted for it, and what it has bought at known costs.

    Attributes:
        predictions: The columns of `of_part`, `discount_rate` and `discounted_value`.
        sales: `tables.costed_sales` of the part.
    """

    predictions: pd.DataFrame
    sales: pd.DataFrame


def predicted(
    database: Database, model: ValueModel, as_of: date, discount_rate: float, *, draws: bool
) -> list[Scored]:
    """Return what is predicted for everybody, part by part in the order of ids.

    Args:
        database: As the scientist.
        model: Fitted, at `as_of` or before.
        as_of: The date.
        discount_rate: Share per year, from 0 to below 1.
        draws: As for `of_part`.

    Raises:
        PipelineError: Nobody has a purchase before `as_of`.
    """
    return _by_part(database, as_of, _Worth(model, discount_rate, draws))


def labelled(database: Database, model: ValueModel, as_of: date) -> pd.DataFrame:
    """Return `segments.labelled` of everybody at a date, in the order of ids.

    Raises:
        PipelineError: Nobody has a purchase before `as_of`.
    """
    found = _by_part(database, as_of, _Labels(model))
    return pd.concat(found, ignore_index=True).sort_values("customer_id", ignore_index=True)


@dataclass(frozen=True)
class _Worth:
    model: ValueModel
    discount_rate: float
    draws: bool

    def __call__(self, database: Database, as_of: date, ids: tables.Ids) -> Scored:
        part = tables.features_of_part(database, as_of, ids)
        found = of_part(self.model, part, draws=self.draws)
        worth = discounting.discounted(found, self.model, part, self.discount_rate)
        return Scored(worth, tables.costed_sales(database, as_of, ids))


@dataclass(frozen=True)
class _Labels:
    model: ValueModel

    def __call__(self, database: Database, as_of: date, ids: tables.Ids) -> pd.DataFrame:
        part = tables.features_of_part(database, as_of, ids)
        return segments.labelled(part, self.model.predict)


@dataclass(frozen=True)
class _Parts:
    """What a process is handed: which parts there are, and what is made of each."""

    url: str
    as_of: date
    parts: Sequence[tables.Ids]
    make: Callable[[Database, date, tables.Ids], Any]

    @property
    def pieces(self) -> int:
        return len(self.parts)

    def begin(self) -> None:
        """Nothing is needed by all parts."""

    def at(self, number: int) -> Any:
        return self.make(Database(self.url), self.as_of, self.parts[number])


def _by_part(
    database: Database, as_of: date, make: Callable[[Database, date, tables.Ids], Any]
) -> list[Any]:
    work = _Parts(database.url, as_of, tables.parts(database, as_of), make)
    if work.pieces == 1 or processes.cores() == 1:
        return [work.at(number) for number in range(work.pieces)]
    return processes.on_all_cores("scoring", lambda: work)
