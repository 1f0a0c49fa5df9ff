"""The models by name, and their versions in the database.

A stored model is JSON parameters for a class in `MODELS`, so loading it runs no stored code. To
add a model, write its class and add it to `MODELS`. `evaluation` decides which version serves.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import pandas as pd
import psycopg
from psycopg.types.json import Jsonb

from retail_pipeline.clv.models.base import ValueModel
from retail_pipeline.clv.models.baselines import LastWindow, Mean
from retail_pipeline.clv.models.boosted import BoostedParetoNBD
from retail_pipeline.clv.models.btyd import BGNBDGammaGamma, ParetoNBDGammaGamma
from retail_pipeline.clv.models.linear import LinearRegression
from retail_pipeline.clv.models.seasonal import SeasonalBoosted, SeasonalParetoNBD
from retail_pipeline.clv.models.terms import TERM_COLUMNS, terms
from retail_pipeline.clv.models.trees import DecisionTree, GradientBoosting, RandomForest
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

MODELS: Final[dict[str, type[ValueModel]]] = {
    model.name: model
    for model in (
        Mean,
        LastWindow,
        LinearRegression,
        DecisionTree,
        RandomForest,
        GradientBoosting,
        BGNBDGammaGamma,
        ParetoNBDGammaGamma,
        BoostedParetoNBD,
        SeasonalParetoNBD,
        SeasonalBoosted,
    )
}
"""Every model by name, the simplest first."""


@dataclass(frozen=True)
class Candidate:
    """A model fitted at one date, or the reason why it abstained.

    Attributes:
        model_name: Name of the model.
        model: The fitted model; None for an abstention.
        abstention: Why it was not fitted; None for a fitted model.
        training_rows: Rows that the fit used.
        seconds: Time that the fit took.
    """

    model_name: str
    model: ValueModel | None
    abstention: str | None
    training_rows: int
    seconds: float


@dataclass(frozen=True)
class Training:
    """Properties of a training, shared by all of its versions.

    Attributes:
        as_of: The date of the fit.
        horizon_days: Length of the outcome.
        data_version: Source, as-of date and generation of the data.
        trained_at: Time of the fit.
        code_version: Digest of the modeling code and its libraries.
        is_extrapolated: Whether no past cut-off has a complete outcome of the horizon's length.
        one_customer_in: Denominator of the training sample; 1 if it is all customers.
    """

    as_of: date
    horizon_days: int
    data_version: str
    trained_at: datetime
    code_version: str = ""
    is_extrapolated: bool = False
    one_customer_in: int = 1


def content_of(model: ValueModel, as_of: date) -> dict[str, Any]:
    """Return the whole definition of a fitted model, as JSON values."""
    return {
        "model_name": model.name,
        "horizon_days": model.horizon_days,
        "as_of_date": as_of.isoformat(),
        "parameters": model.parameters(),
    }


def version_of(content: Mapping[str, Any]) -> str:
    """Return the version of a model's content: the model's name and a digest.

    Raises:
        ValueError: A parameter is not a finite number.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{content['model_name']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def restore(content: Mapping[str, Any]) -> ValueModel:
    """Return the model of a stored content; its predictions equal the original's to the bit.

    Raises:
        PipelineError: This release has no model of that name, or another form of its parameters.
    """
    name = content["model_name"]
    if name not in MODELS:
        raise PipelineError(
            f"the stored model {name!r} is not known here: materialize clv/candidates and clv/model"
        )
    try:
        model = MODELS[name](int(content["horizon_days"])).restore(content["parameters"])
        # Trees refer to features by position, so another list would give wrong predictions.
        if model.parameters().get("features") != content["parameters"].get("features"):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise PipelineError(
            f"the stored model {version_of(content)} is of another release of the project and "
            "cannot be loaded: `retail-pipeline run` trains new ones; if it is pinned, unpin it "
            "first (`retail-pipeline model unpin`)"
        ) from None
    return model


def save_candidates(database: Database, candidates: list[Candidate], training: Training) -> None:
    """Store the candidates in one transaction; a new version starts as a challenger."""
    key = [training.as_of, training.horizon_days]
    with database.connect() as connection:
        connection.execute(
            "delete from clv.abstentions where as_of_date = %s and horizon_days = %s", key
        )
        for candidate in candidates:
            if candidate.model is not None:
                _save_version(connection, candidate, candidate.model, training)
            else:
                connection.execute(
                    "insert into clv.abstentions (as_of_date, horizon_days, model_name, reason) "
                    "values (%s, %s, %s, %s)",
                    [*key, candidate.model_name, candidate.abstention],
                )


def candidate_versions(database: Database, as_of: date, horizon_days: int) -> dict[str, str]:
    """Return the versions of the latest training at a date and horizon, by model name.

    Raises:
        PipelineError: No model was trained.
    """
    fitted = training_report(database, as_of, horizon_days).dropna(subset="version")
    if fitted.empty:
        raise PipelineError(
            f"no model is trained as of {as_of} for {horizon_days} days: "
            "materialize clv/candidates first"
        )
    return dict(zip(fitted["model"], fitted["version"], strict=True))


def abstentions_at(database: Database, as_of: date, horizon_days: int) -> dict[str, str]:
    """Return the models that could not be fitted at a date and horizon, with the reasons."""
    abstained = training_report(database, as_of, horizon_days).dropna(subset="abstained")
    return dict(zip(abstained["model"], abstained["abstained"], strict=True))


def training_report(database: Database, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return one row per model of the latest training, abstentions included.

    Returns:
        `model`, `version` (null for an abstention), `training rows`, `fit seconds`, `KiB` (of its
        JSON), `abstained` (the reason).
    """
    return database.query(
        "with versions as (select *, max(trained_at) over () as latest from clv.model_versions "
        "where as_of_date = %(as_of)s and horizon_days = %(horizon)s) "
        'select model_name as model, model_version as version, training_rows as "training rows", '
        'fit_seconds as "fit seconds", artifact_bytes / 1024.0::float8 as "KiB", '
        "null as abstained from versions where trained_at = latest "
        "union all select model_name, null, null, null, null, reason from clv.abstentions "
        "where as_of_date = %(as_of)s and horizon_days = %(horizon)s order by model",
        {"as_of": as_of, "horizon": horizon_days},
    )


def _save_version(
    connection: psycopg.Connection, candidate: Candidate, model: ValueModel, training: Training
) -> None:
    content = content_of(model, training.as_of)
    version = version_of(content)
    connection.execute(
        "insert into clv.model_artifacts (model_version, model_name, content) "
        "values (%s, %s, %s) on conflict (model_version) do nothing",
        [version, model.name, Jsonb(content)],
    )
    values = {
        "trained_at": training.trained_at,
        "training_rows": candidate.training_rows,
        "data_version": training.data_version,
        "fit_seconds": candidate.seconds,
        "artifact_bytes": len(json.dumps(content)),
        "code_version": training.code_version,
        "is_extrapolated": training.is_extrapolated,
        "one_customer_in": training.one_customer_in,
    }
    updates = ", ".join(f"{name} = excluded.{name}" for name in values)
    # The status stays on conflict: an equal version that serves keeps serving.
    connection.execute(
        "insert into clv.model_versions (model_version, model_name, status, as_of_date, "
        f"horizon_days, {', '.join(values)}) "
        f"values (%s, %s, 'challenger', %s, %s, {', '.join(['%s'] * len(values))}) "
        f"on conflict (model_version) do update set {updates}",
        [version, model.name, training.as_of, training.horizon_days, *values.values()],
    )
    rows = terms(model).astype(object).replace({float("nan"): None})
    names = ", ".join(["model_version", "model_name", *TERM_COLUMNS])
    marks = ", ".join(["%s"] * (len(TERM_COLUMNS) + 2))
    connection.cursor().executemany(
        f"insert into clv.model_terms ({names}) values ({marks}) on conflict do nothing",
        [[version, model.name, *row] for row in rows.to_numpy().tolist()],
    )
