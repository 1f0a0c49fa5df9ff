"""Features in groups that people understand, and customers who are typical in some of them.

Features hang together: nobody bought more often in the last quarter than ever, and nobody's last
purchase is older than the first. A customer is therefore taken apart on the own scale: windows as
shares of the total, money as multiples of the mean purchase, recency as a share of age. A group may
then be taken from somebody else, and what is put together again is still a possible customer. No
kind of model is known here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.data import features
from retail_pipeline.clv.models.base import Array, ValueModel
from retail_pipeline.wording import counted, money, share

AGE, COUNT, UNIT = SCALES = ("age_days", "purchase_days", "mean_purchase_value")
"""The three scales of a customer: days since the first purchase, purchases, money per purchase."""

_DECIMALS: Final = 6
_TWICE: Final = 1.5


class Kind(Enum):
    """How the value of a headline feature is written."""

    DAYS = "day"
    MONEY = "money"
    PRODUCTS = "different product"
    SHARE = "share"
    TEXT = "text"


@dataclass(frozen=True)
class FeatureGroup:
    """Features that are taken together.

    Attributes:
        name: Fit for a table.
        columns: Of `warehouse.customer_features`; those that a frame lacks are passed over.
        headline: The one of them that a sentence states.
        sentence: The sentence, with braces for the value.
        kind: How the value is written.
    """

    name: str
    columns: tuple[str, ...]
    headline: str
    sentence: str
    kind: Kind

    def value(self, headline: Any, currency: str) -> str:
        """Return the headline's value in words, such as `9 days`."""
        if pd.isna(headline):
            return "unknown"
        if self.kind is Kind.TEXT:
            return str(headline)
        if self.kind is Kind.SHARE:
            return share(headline)
        if self.kind is Kind.MONEY:
            return money(headline, currency)
        return counted(round(headline), self.kind.value)


_TOLD: Final[Mapping[str, tuple[str, str, Kind]]] = {
    "lifetime": (AGE, "customer for {}", Kind.DAYS),
    "recency": ("recency_days", "last bought {} ago", Kind.DAYS),
    "frequency": (COUNT, "bought on {} in all", Kind.DAYS),
    "value per purchase": (UNIT, "spends {} per purchase", Kind.MONEY),
    "recent purchases": ("purchase_days_365d", "bought on {} of the last 365", Kind.DAYS),
    "same season a year ago": (
        *("net_amount_year_ago_180d", "spent {} in this half-year a year ago", Kind.MONEY),
    ),
    "rhythm": ("gap_mean_days", "time between purchases: {}", Kind.DAYS),
    "basket": ("distinct_products", "bought {}", Kind.PRODUCTS),
    "returns": ("returns_rate", "returned {} of the value bought", Kind.SHARE),
    "place and time": ("country", "buys from {}", Kind.TEXT),
}
"""The feature of a group that a sentence states, the sentence, how the value is written."""

GROUPS: Final = tuple(
    FeatureGroup(name, tuple(feature.name for feature in own), *_TOLD[name])
    for name, own in features.GROUPS.items()
)
"""Every group, in the order in which a story would tell them."""


def taken_apart(features: pd.DataFrame) -> pd.DataFrame:
    """Return feature rows on the customers' own scale; what has no scale stays as it is."""
    return _scaled(features, np.divide)


def put_together(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the feature rows of parts that `taken_apart` made, perhaps mixed since.

    Who bought once did so on the first day: the share of age is not asked. Amounts are rounded far
    below a cent, so that a count is a whole number again and falls on the same side of a tree's
    threshold as it did.
    """
    if "recency_days" in parts:
        once = parts[COUNT].to_numpy(float) < _TWICE
        parts = parts.assign(recency_days=np.where(once, 1.0, parts["recency_days"]))
    return _scaled(parts, lambda part, scale: np.round(part * scale, _DECIMALS))


def predicted_values(model: ValueModel, parts: pd.DataFrame) -> Array:
    """Return what a model predicts for customers who were taken apart."""
    return model.predict(put_together(parts))["predicted_value"].to_numpy(float)


def typical(parts: pd.DataFrame) -> pd.Series:
    """Return the typical customer: of each part the median, of texts the most frequent."""
    values: dict[str, object] = {}
    for name in parts.columns:
        column = parts[name]
        if pd.api.types.is_numeric_dtype(column):
            values[name] = float(column.median())
        else:
            modes = column.mode()
            values[name] = modes.iloc[0] if len(modes) else None
    return pd.Series(values, dtype=object)


def groups_in(frame: pd.DataFrame) -> list[FeatureGroup]:
    """Return the groups of which a frame has a column."""
    return [group for group in GROUPS if grouped_columns(group, frame)]


def grouped_columns(group: FeatureGroup, frame: pd.DataFrame) -> list[str]:
    """Return the columns of a group that a frame has."""
    return [name for name in group.columns if name in frame]


def _scaled(
    frame: pd.DataFrame, operation: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> pd.DataFrame:
    """Return the frame with each scaled column divided by, or multiplied with, its scale."""
    age, count, unit = (
        np.maximum(np.nan_to_num(frame[name].to_numpy(float)), least)
        for name, least in ((AGE, 1.0), (COUNT, 1.0), (UNIT, 1e-9))
    )
    scales = {"age": age, "count": count, "unit": unit, "total": unit * count}
    changed = {
        feature.name: operation(frame[feature.name].to_numpy(float), scales[feature.scale])
        for feature in features.ALL
        if feature.scale and feature.name in frame
    }
    return frame.assign(**changed)
