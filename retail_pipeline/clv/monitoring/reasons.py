"""Reasons for a customer's prediction: the groups of features with the largest effects, in money.

Method: Shapley values against one reference, the typical customer, over groups of features
(Štrumbelj and Kononenko 2014; Lundberg and Lee 2017), estimated from one order of the groups and
its reverse (antithetic permutations: Mitchell, Cooper, Frank and Holmes 2022). Only predictions are
used, so any model can be explained. The effects of all groups add up exactly to the prediction less
that of the typical customer. Joint effects of two groups are divided exactly, those of three or
more approximately. An effect describes the model; it does not say what would happen if the customer
changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retail_pipeline.clv.models.base import Array, ValueModel
from retail_pipeline.clv.monitoring.feature_groups import (
    RETURNS,
    FeatureGroup,
    grouped_columns,
    groups_in,
    predicted_values,
    taken_apart,
    typical,
)
from retail_pipeline.wording import money

MOST_REASONS: Final = 3
LEAST_SHARE: Final = 0.05
"""Groups with a smaller share of a customer's absolute effects get no sentence."""

COLUMNS: Final = ["customer_id", "reason_rank", "feature_group", "effect", "explanation"]

_PROBED_ROWS: Final = 400


@dataclass(frozen=True)
class Reference:
    """The typical customer that all others are compared with.

    Attributes:
        parts: Features relative to the customer's scale, by column.
        prediction: The model's predicted value.
        groups: The groups that the model reads.
    """

    parts: pd.Series
    prediction: float
    groups: Sequence[FeatureGroup]

    def typical(self, position: int) -> Any:
        """Return the typical customer's value of a group's headline; NaN if it is not known."""
        return self.parts.get(self.groups[position].headline, np.nan)


def reference(model: ValueModel, population: pd.DataFrame) -> Reference:
    """Return the typical customer of a population or of a large sample of it.

    Args:
        model: A fitted model.
        population: Feature rows of one as-of date.
    """
    parts = taken_apart(population)
    grouped = [name for group in groups_in(parts) for name in grouped_columns(group, parts)]
    middle = typical(parts[grouped])
    row = parts.iloc[:1].assign(**{str(name): part for name, part in middle.items()})
    return Reference(middle, float(predicted_values(model, row)[0]), read(model, parts))


def read(model: ValueModel, parts: pd.DataFrame) -> list[FeatureGroup]:
    """Return the groups that a model reads: those whose exchange changes a prediction.

    Args:
        model: A fitted model.
        parts: Result of `taken_apart`; the first few hundred customers are used.
    """
    probed = parts.iloc[:_PROBED_ROWS]
    exchanged = probed.iloc[np.roll(np.arange(len(probed)), len(probed) // 2)]
    before = predicted_values(model, probed)
    found = []
    for group in groups_in(probed):
        names = grouped_columns(group, probed)
        mixed = probed.assign(**{name: exchanged[name].to_numpy() for name in names})
        if not np.array_equal(predicted_values(model, mixed), before):
            found.append(group)
    return found


def effects(model: ValueModel, features: pd.DataFrame, against: Reference) -> Array:
    """Return the effect of each group on each prediction, against the typical customer.

    Args:
        model: A fitted model.
        features: Feature rows.
        against: The typical customer.

    Returns:
        Amounts, one row per customer and one column per group of `against.groups`. A row's sum is
        the customer's prediction less that of the typical customer.
    """
    parts = taken_apart(features)
    grouped = [grouped_columns(group, parts) for group in against.groups]
    own = model.predict(features)["predicted_value"].to_numpy(float)
    found = np.zeros((len(parts), len(grouped)))
    for order in (range(len(grouped)), range(len(grouped) - 1, -1, -1)):
        mixed = parts.assign(**{name: against.parts[name] for names in grouped for name in names})
        before = np.full(len(parts), against.prediction)
        for step, position in enumerate(order, start=1):
            mixed = mixed.assign(**{name: parts[name] for name in grouped[position]})
            after = own if step == len(grouped) else predicted_values(model, mixed)
            found[:, position] += (after - before) / 2
            before = after
    return found


def explain(
    model: ValueModel, features: pd.DataFrame, against: Reference, currency: str
) -> pd.DataFrame:
    """Return the reasons for each customer's prediction, the strongest first.

    Args:
        model: A fitted model.
        features: Feature rows of customers.
        against: The typical customer.
        currency: Currency of the amounts; may be empty.

    Returns:
        `COLUMNS`, up to `MOST_REASONS` rows per customer.
    """
    moved = effects(model, features, against)
    weight = np.where(_misleading(features, against, moved), 0.0, np.abs(moved))
    strongest = np.argsort(-weight, axis=1, kind="stable")[:, :MOST_REASONS]
    sizes = np.take_along_axis(weight, strongest, axis=1)
    is_large = sizes > LEAST_SHARE * np.abs(moved).sum(axis=1, keepdims=True)
    rows, places = np.nonzero(is_large)
    chosen = strongest[rows, places]
    effect = moved[rows, chosen]
    names = np.array([group.name for group in against.groups], dtype=object)
    headlines = [group.headline for group in against.groups]
    own, part = (
        frame.reindex(columns=headlines).to_numpy(object)
        for frame in (features, taken_apart(features))
    )
    return pd.DataFrame(
        {
            "customer_id": features["customer_id"].to_numpy()[rows],
            "reason_rank": places + 1,
            "feature_group": names[chosen],
            "effect": effect,
            "explanation": [
                f"{money(amount, currency, sign='+')}: "
                + against.groups[at].explained(
                    own[row, at], part[row, at], against.typical(at), currency
                )
                for row, at, amount in zip(rows, chosen, effect, strict=True)
            ],
        },
        columns=COLUMNS,
    )


def _misleading(features: pd.DataFrame, against: Reference, moved: Array) -> NDArray[np.bool_]:
    """Return a mask of misleading effects: more returns that raise a prediction, and the reverse.

    A model can infer this effect, because those who buy often also return more. These effects get
    no sentence, because it would mean that a return increases revenue.
    """
    found = np.zeros(moved.shape, dtype=bool)
    for position, group in enumerate(against.groups):
        if group.name == RETURNS and group.headline in features:
            more = features[group.headline].to_numpy(float) - float(against.typical(position))
            found[:, position] = ~(moved[:, position] * more < 0)
    return found
