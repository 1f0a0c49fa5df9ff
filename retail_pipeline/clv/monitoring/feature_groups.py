"""Features in interpretable groups, and customers with some groups replaced by typical ones.

Features depend on each other: purchases of the last quarter cannot exceed all purchases, and the
last purchase cannot be before the first. So features are divided by the customer's own scale:
windows become shares of the total, amounts multiples of the mean purchase, recency a share of age.
Groups can then be exchanged between customers: multiplied by the scale again, the features still
describe a possible customer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.data import features
from retail_pipeline.clv.models.base import Array, ValueModel
from retail_pipeline.wording import counted, money, number, share

AGE, COUNT, UNIT = SCALES = ("age_days", "purchase_days", "mean_purchase_value")
"""The three scales of a customer: days since the first purchase, purchases, money per purchase."""

RETURNS: Final = "returns"
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
    """Features that explanations treat together.

    Attributes:
        name: Name of the group, as tables show it.
        columns: Columns of `warehouse.customer_features`; those missing in a frame are ignored.
        headline: The column whose value the sentence gives.
        sentence: The sentence, with braces for the value.
        kind: The way to write the value.
        part: Words after the value divided by the customer's own scale; empty for a headline that
            customers are compared by as it is.
    """

    name: str
    columns: tuple[str, ...]
    headline: str
    sentence: str
    kind: Kind
    part: str = ""

    def explained(self, own: Any, own_part: Any, typical: Any, currency: str) -> str:
        """Return the sentence with the customer's value and that of the typical customer.

        Example: `last bought 9 days ago, 12% of the time as a customer (typical: 60%)`.

        Args:
            own: The customer's value of the headline.
            own_part: The same divided by the customer's own scale.
            typical: The typical customer's value, divided in the same way.
            currency: Currency of amounts; may be empty.
        """
        sentence = self.sentence.format(self._value(own, currency))
        if not self.part:
            return f"{sentence} (typical: {self._value(typical, currency)})"
        write = number if self.kind is Kind.PRODUCTS else share
        return f"{sentence}, {write(own_part)} {self.part} (typical: {write(typical)})"

    def _value(self, headline: Any, currency: str) -> str:
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


_SENTENCES: Final[Mapping[str, tuple[str, str, Kind] | tuple[str, str, Kind, str]]] = {
    "lifetime": (AGE, "customer for {}", Kind.DAYS),
    "recency": (
        *("recency_days", "last bought {} ago", Kind.DAYS),
        "of the time as a customer",
    ),
    "frequency": (COUNT, "bought on {} in all", Kind.DAYS),
    "value per purchase": (UNIT, "spends {} per purchase", Kind.MONEY),
    "recent purchases": (
        *("purchase_days_365d", "bought on {} of the last 365", Kind.DAYS),
        "of all purchases",
    ),
    "same season a year ago": (
        *("net_amount_year_ago_180d", "spent {} in this half-year a year ago", Kind.MONEY),
        "of the amount in all",
    ),
    "rhythm": ("gap_mean_days", "time between purchases: {}", Kind.DAYS),
    "basket": ("distinct_products", "bought {}", Kind.PRODUCTS, "per purchase"),
    RETURNS: ("returns_rate", "returned {} of the value bought", Kind.SHARE),
    "place and time": ("country", "buys from {}", Kind.TEXT),
}
"""By group: the headline feature, the sentence, the way to write the value, and the words after its
part of the customer's own scale."""

GROUPS: Final = tuple(
    FeatureGroup(name, tuple(feature.name for feature in own), *_SENTENCES[name])
    for name, own in features.GROUPS.items()
)
"""Every group, in the order in which reports show them."""


def taken_apart(features: pd.DataFrame) -> pd.DataFrame:
    """Return feature rows divided by each customer's own scale; features without one stay."""
    return _scaled(features, np.divide)


def put_together(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the feature rows for parts of `taken_apart`, also after groups were exchanged.

    For a customer with one purchase, recency is the age, whatever share of it the parts hold.
    Results are rounded to six decimals, so that counts are whole numbers again and stay on the
    same side of a tree's threshold.
    """
    if "recency_days" in parts:
        once = parts[COUNT].to_numpy(float) < _TWICE
        parts = parts.assign(recency_days=np.where(once, 1.0, parts["recency_days"]))
    return _scaled(parts, lambda part, scale: np.round(part * scale, _DECIMALS))


def predicted_values(model: ValueModel, parts: pd.DataFrame) -> Array:
    """Return a model's predicted values for parts of `taken_apart`."""
    return model.predict(put_together(parts))["predicted_value"].to_numpy(float)


def typical(parts: pd.DataFrame) -> pd.Series:
    """Return the typical customer: the median of each number, the most frequent of each text."""
    values: dict[str, object] = {}
    for name in parts.columns:
        column = parts[name]
        if pd.api.types.is_numeric_dtype(column):
            values[name] = float(column.dropna().median())
        else:
            modes = column.mode()
            values[name] = modes.iloc[0] if len(modes) else None
    return pd.Series(values, dtype=object)


def groups_in(frame: pd.DataFrame) -> list[FeatureGroup]:
    """Return the groups with at least one column in the frame."""
    return [group for group in GROUPS if grouped_columns(group, frame)]


def grouped_columns(group: FeatureGroup, frame: pd.DataFrame) -> list[str]:
    """Return the columns of a group that are in the frame."""
    return [name for name in group.columns if name in frame]


def _scaled(
    frame: pd.DataFrame, operation: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> pd.DataFrame:
    """Return the frame with each scaled column divided by its scale, or multiplied by it."""
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
