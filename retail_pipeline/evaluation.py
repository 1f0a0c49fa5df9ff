"""Evaluation of the pipeline on a file, without API, Airbyte and Dagster.

It uses the same records, dbt models and `clv` functions as a run, in a scratch database that is
dropped afterwards, so `run` and `evaluate` give equal predictions. Printing is part of `cli`.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import metrics
from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.clv.serving.valuation import Valuation, value_customers
from retail_pipeline.direct_landing import land_records
from retail_pipeline.errors import UsageError
from retail_pipeline.postgres import (
    Database,
    Role,
)
from retail_pipeline.postgres.scratch import scratch_database
from retail_pipeline.retail_api import (
    default_as_of,
    open_dataset,
)
from retail_pipeline.settings import (
    FileSource,
    Settings,
)
from retail_pipeline.shared_queries import excluded_lines, guest_sales
from retail_pipeline.warehouse.run import dbt_build

ALL_MODELS = "all"
FEATURES = ("customer_features", "customer_day_entries")
OUTPUT_COLUMNS = (
    *("customer_id", "model_name", "as_of_date", "horizon_days", "predicted_value"),
    *("lower_80", "upper_80", "expected_orders", "probability_active", "actual_value"),
)


@dataclass(frozen=True)
class Evaluation:
    """Predictions of the models at a cut-off of a file, with the actual outcomes.

    Attributes:
        valuation: The candidates, the backtest before the cut-off, and the decision.
        predictions: One row per customer and model (`OUTPUT_COLUMNS`), the served model's first.
        metrics: One row per model: `model_name`, `is_served`, `predicted_total`, `actual_total` and
            the metrics; empty if the file ends before the outcome does.
        rejected_lines: Number of rejected lines in the whole file, including the outcome's.
        losses: The lines and values of the whole file that are not used, by reason
            (`shared_queries.file_losses`).
        guests: The file's transactions without a customer (`shared_queries.guest_sales`).
        excluded: The file's lines that do not count, by reason (`shared_queries.excluded_lines`).
    """

    valuation: Valuation
    predictions: pd.DataFrame
    metrics: pd.DataFrame
    rejected_lines: int
    losses: list[dict[str, Any]]
    guests: dict[str, Any]
    excluded: list[dict[str, Any]]

    def draw(self, path: Path, file_name: str) -> None:
        """Write the figure of predicted against actual value, or of all models.

        Args:
            path: The file to write: `.png`, `.svg` or `.pdf`.
            file_name: Name of the evaluated file, shown as the source.
        """
        from retail_pipeline.figures.evaluation import draw_evaluation

        columns = ["model_name", "cutoff_date", *metrics.METRICS]
        dated = self.metrics.assign(cutoff_date=pd.Timestamp(self.valuation.as_of))
        draw_evaluation(
            path,
            self.predictions,
            dated.reindex(columns=columns),
            as_of=self.valuation.as_of,
            horizon_days=self.valuation.horizon_days,
            served=self.valuation.decision.model_name,
            validated=self.valuation.decision.validated,
            file_name=file_name,
        )


def evaluate_file(
    settings: Settings,
    source: FileSource,
    *,
    cutoff: date,
    horizon_days: int,
    model: str | None = None,
) -> Evaluation:
    """Return predictions for the customers of a file at a cut-off, with the actual outcomes.

    Args:
        settings: Settings with the PostgreSQL server of the scratch database.
        source: A transactions file.
        cutoff: The as-of date, 00:00 in RETAIL_TIME_ZONE; the models use only lines before it.
        horizon_days: Days of the outcome, 1 to 1095.
        model: The name of a model, `all`, or None for the model that the pipeline would serve.

    Raises:
        UsageError: The file, the cut-off, the horizon or the model's name is invalid.
        PipelineError: No customer has a purchase before the cut-off.
    """
    if model not in (None, ALL_MODELS, *MODELS):
        raise UsageError(f"there is no model {model!r}; the models are {', '.join(MODELS)}, all")
    file = open_dataset(source, time_zone=settings.time_zone)
    file.before(cutoff)  # raises an error for a date before the file's first line
    settings = settings.model_copy(update={"source": source})
    with scratch_database(settings) as scratch:
        # Lines after the cut-off are the outcome, and no feature uses them.
        land_records(scratch, file.records)
        features, entries = _features(scratch, cutoff, settings)
        scientist = scratch.as_role(Role.SCIENTIST)
        guests, excluded = guest_sales(scientist), excluded_lines(scientist)
    valuation = value_customers(features, entries, cutoff, horizon_days)
    predictions = _predictions(valuation, model)
    complete = default_as_of(source, settings.time_zone) >= cutoff + timedelta(days=horizon_days)
    outcomes = dataset.outcomes(
        dataset.prepare_entries(entries), predictions["customer_id"], cutoff, horizon_days
    )
    predictions["actual_value"] = outcomes["future_value"] if complete else np.nan
    return Evaluation(
        valuation=valuation,
        predictions=predictions[list(OUTPUT_COLUMNS)],
        metrics=(
            _metrics(predictions, outcomes["future_orders"], valuation.decision.model_name)
            if complete
            else pd.DataFrame()
        ),
        rejected_lines=len(file.rejected),
        losses=[loss.as_json() for loss in file.losses],
        guests=guests,
        excluded=excluded,
    )


def _features(
    database: Database, cutoff: date, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    dbt_build(
        database.url,
        select=[f"+{name}" for name in FEATURES],
        variables={"with_outcomes": True},
        as_of=cutoff,
        settings=settings,
    )
    reader = database.as_role(Role.SCIENTIST)
    features, entries = (reader.read(f"warehouse.{name}") for name in FEATURES)
    return features, entries


def _predictions(valuation: Valuation, model: str | None) -> pd.DataFrame:
    served = valuation.decision.model_name
    if model in (None, served):
        return valuation.predictions.copy()
    if model != ALL_MODELS:
        names, frames = [str(model)], []
    else:
        names = [c.model_name for c in valuation.candidates if c.model_name != served]
        frames = [valuation.predictions]
    frames += [f for f in map(valuation.predictions_of, names) if f is not None]
    if not frames:
        why = next(c.abstention for c in valuation.candidates if c.model_name == model)
        raise UsageError(f"the model {model} abstained: {why}")
    return pd.concat(frames, ignore_index=True)


def _metrics(predictions: pd.DataFrame, orders: pd.Series, served: str) -> pd.DataFrame:
    rows = []
    for name, group in predictions.groupby("model_name", sort=False):
        actual, days = (of.to_numpy(float) for of in (group["actual_value"], orders[group.index]))
        totals = {"predicted_total": group["predicted_value"].sum(), "actual_total": actual.sum()}
        tested = metrics.evaluate(group, actual, days)
        rows.append({"model_name": name, "is_served": name == served, **totals, **tested})
    return pd.DataFrame(rows)
