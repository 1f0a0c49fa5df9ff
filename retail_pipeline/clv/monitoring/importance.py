"""Importance of feature groups: how much worse a model predicts, out of time, with one shuffled.

Permutation importance (Breiman 2001; Fisher, Rudin and Dominici 2019), measured by the Tweedie
deviance that models are selected by. A group's features are exchanged among customers together and
relative to each customer's scale, so that the rows stay possible customers. The outcomes come after
the data that the model is fitted to.
"""

from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation.metrics import normalized_gini, tweedie_deviance
from retail_pipeline.clv.models.base import Array, ValueModel
from retail_pipeline.clv.models.candidates import fit_candidates
from retail_pipeline.clv.monitoring.feature_groups import (
    grouped_columns,
    predicted_values,
    taken_apart,
)
from retail_pipeline.clv.monitoring.reasons import read

REPEATS: Final = 3
MOST_CUSTOMERS: Final = 2_000
"""Customers that are used; each is predicted some thirty times."""

MOST_TRAINING_ROWS: Final = 24_000
"""Rows that the champion's model is fitted to again, of all cut-offs together."""

COLUMNS: Final = ["feature_group", "deviance_increase", "deviance_increase_sd", "gini_loss"]
NOTHING: Final = pd.DataFrame(columns=COLUMNS, dtype=float)

_SEED: Final = 20_240


def at_cutoff(
    name: str,
    features: pd.DataFrame,
    entries: pd.DataFrame,
    cutoff: date,
    as_of: date,
    horizon_days: int,
) -> pd.DataFrame:
    """Return the importance of feature groups for a model fitted at a past cut-off.

    Args:
        name: Name of the model.
        features: Prepared features at the cut-off and at its own training cut-offs.
        entries: The prepared entries of these customers.
        cutoff: The date of the fit.
        as_of: Outcomes are taken as known before this date.
        horizon_days: Length of the outcome.

    Returns:
        `COLUMNS` and `model_name`, `cutoff_date`, `customers`, `repeats`; empty if the model
        abstains.
    """
    then = dataset.at_date(features, cutoff)
    labeled = dataset.training_set(features, entries, cutoff, horizon_days)
    model = fit_candidates(labeled, then, horizon_days, [name])[0].model
    if model is None:
        return NOTHING
    actual = dataset.outcomes(entries, then["customer_id"], cutoff, horizon_days, as_of)
    return importance(model, then, actual["future_value"].to_numpy(float)).assign(
        model_name=name,
        cutoff_date=pd.Timestamp(cutoff),
        customers=min(len(then), MOST_CUSTOMERS),
        repeats=REPEATS,
    )


def importance(model: ValueModel, features: pd.DataFrame, actual: Array) -> pd.DataFrame:
    """Return how much worse a model predicts when a group is exchanged among customers.

    Args:
        model: A model fitted on data known at the cut-off.
        features: Feature rows of the cut-off.
        actual: Outcomes after it, in the same order.

    Returns:
        `COLUMNS`, the most important group first: the relative increase of the Tweedie deviance,
        its standard deviation over the repeats, and the loss of normalized Gini. Groups that the
        model does not read are left out; empty if the deviance is 0 or undefined.
    """
    random = np.random.default_rng(_SEED)
    if len(features) > MOST_CUSTOMERS:
        chosen = np.sort(random.choice(len(features), MOST_CUSTOMERS, replace=False))
        features, actual = features.iloc[chosen], actual[chosen]
    parts = taken_apart(features)
    (deviance_before,), (gini_before,) = _measured(model, parts, actual)
    if not deviance_before > 0 or not np.isfinite([deviance_before, gini_before]).all():
        return NOTHING
    # One call for all repeats, as the time of a call hardly depends on the number of rows.
    repeated = pd.concat([parts] * REPEATS, ignore_index=True)
    rows = []
    for group in read(model, parts):
        names = grouped_columns(group, parts)
        others = np.concatenate([random.permutation(len(parts)) for _ in range(REPEATS)])
        exchanged = {name: parts[name].to_numpy()[others] for name in names}
        deviance, gini = _measured(model, repeated.assign(**exchanged), actual)
        increase = deviance / deviance_before - 1
        rows.append((group.name, increase.mean(), increase.std(ddof=1), gini_before - gini.mean()))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("deviance_increase", ascending=False, ignore_index=True)


def _measured(model: ValueModel, parts: pd.DataFrame, actual: Array) -> tuple[Array, Array]:
    """Return deviance and Gini of the predictions, for each repeat of the customers in `parts`."""
    repeats = predicted_values(model, parts).reshape(-1, len(actual))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (
            np.array([tweedie_deviance(each, actual) for each in repeats]),
            np.array([normalized_gini(each, actual) for each in repeats]),
        )
