"""The predictions step: the served model's predictions of all customers, in `clv.predictions`.

Scoring is the part that grows with the customers: it runs on this machine's cores
(`score.score_tables`) or on Spark (`spark.scoring`). The rest is the same for both.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date
from typing import Any, Self

import pandas as pd

from retail_pipeline.clv.data import dataset, tables
from retail_pipeline.clv.evaluation import promotion
from retail_pipeline.clv.models.base import ValueModel
from retail_pipeline.clv.serving.score import score_tables
from retail_pipeline.postgres import Database

Scorer = Callable[[Database, ValueModel, date, float], Iterable[pd.DataFrame]]
"""A function with the arguments and the results of `score.score_tables`."""


@dataclass(frozen=True)
class Prediction:
    """The arguments of the predictions step.

    Attributes:
        as_of: The as-of date of the landed data.
        horizon_days: The run's horizon.
        default_horizon_days: The horizon that `clv.current_predictions` shows.
        discount_rate: Share per year, from 0 to below 1.
    """

    as_of: date
    horizon_days: int
    default_horizon_days: int
    discount_rate: float

    def as_json(self) -> dict[str, Any]:
        """Return the arguments as JSON values."""
        return {**asdict(self), "as_of": self.as_of.isoformat()}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the arguments of a result of `as_json`, which may have other values beside."""
        own = {name: values[name] for name in cls.__dataclass_fields__}
        return cls(**{**own, "as_of": date.fromisoformat(values["as_of"])})


def predict(
    database: Database, wanted: Prediction, score: Scorer = score_tables
) -> tuple[int, dict[str, Any]]:
    """Replace the predictions at a date and horizon; return their number and the metadata.

    Args:
        database: The database, with the scientist's role.
        wanted: The arguments of the step.
        score: The function that scores all customers.

    Raises:
        PipelineError: No model serves, or no customer has a purchase before the date.
    """
    as_of, horizon_days = wanted.as_of, wanted.horizon_days
    serving = promotion.load_serving(database, as_of, horizon_days)
    cutoffs = dataset.training_cutoffs(tables.as_of_dates(database), as_of, horizon_days)
    shared: dict[str, Any] = {
        "is_extrapolated": not cutoffs,
        "model_version": serving.model_version,
        "predicted_at": pd.Timestamp.now(UTC),
    }

    def parts() -> Iterator[pd.DataFrame]:
        for part in score(database, serving.model, as_of, wanted.discount_rate):
            money = [name for name in tables.MONEY if name in part]
            yield tables.exact(part.assign(**shared), "lower_80", "upper_80", *money)

    own = f"as_of_date = '{as_of}' and horizon_days = {horizon_days}"
    rows = database.publish(
        "clv.predictions",
        parts(),
        ["customer_id", "as_of_date", "horizon_days"],
        replace_where=own,
    )
    database.execute(
        "insert into clv.default_horizon (horizon_days) values (%s) "
        "on conflict (is_only_row) do update set horizon_days = excluded.horizon_days",
        [wanted.default_horizon_days],
    )
    return rows, {
        "champion": serving.model.name,
        "model_version": serving.model_version,
        "discount_rate": wanted.discount_rate,
        "is_extrapolated": not cutoffs,
        **_sums(database, own),
    }


def _sums(database: Database, own: str) -> dict[str, float]:
    """Return the totals of the predictions; sums of decimals are exact in any order."""
    sums = ", ".join(f"sum({name})::float8 as {name}" for name in tables.MONEY)
    (found,) = database.query(f"select {sums} from clv.predictions where {own}").to_dict("records")
    known = {str(name): float(total) for name, total in found.items() if pd.notna(total)}
    return {"predicted_total": known.pop("predicted_value"), **known}
