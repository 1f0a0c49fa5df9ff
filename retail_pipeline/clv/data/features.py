"""The features that models and explanations use: one table.

A feature is named here, in the dbt model `customer_features` and in that model's `.yml`. A stored
model identifies a feature by its position in the design matrix, so a new feature takes the next
free number; models stored with other positions cannot be loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Scale = Literal["", "age", "count", "unit", "total"]
"""The customer's own quantity by which explanations divide a feature: days since the first purchase
(`age`), purchases (`count`), money per purchase (`unit`), or money in all (`total`)."""

Ratio = Literal[
    "raw",
    "known",
    "log",
    "log_raw",
    "over_unit",
    "log_over_unit",
    "relative",
    "over_expected_orders",
    "over_expected_value",
    "per_month",
    "per_purchase",
    "per_line",
]
"""The transformations of `models.boosted`."""


@dataclass(frozen=True)
class Feature:
    """A column of `warehouse.customer_features`.

    Attributes:
        name: Name of the column.
        scale: The quantity that explanations divide it by; empty for none.
        trees: Position among the columns of the trees; the single tree uses the first ten.
        log: Position among the logarithms of the regression.
        root: Position among the square roots of the regression.
        ratio: Positions in the design matrix of the boosted model, with the transformation there.
        is_calendar: Whether it changes with the calendar or the age of the shop alone.
    """

    name: str
    scale: Scale = ""
    trees: int = 0
    log: int = 0
    root: int = 0
    ratio: Mapping[int, Ratio] = field(default_factory=dict)
    is_calendar: bool = False


GROUPS: Final[Mapping[str, tuple[Feature, ...]]] = {
    "lifetime": (
        Feature("age_days", trees=3, log=6, is_calendar=True),
        Feature("days_since_registration", is_calendar=True),
    ),
    "recency": (
        Feature("recency_days", "age", trees=2, log=5),
        Feature("recency_over_gap", trees=22, ratio={18: "log_raw"}),
    ),
    "frequency": (
        Feature("purchase_days", trees=1, log=1),
        Feature(
            "active_months", "count", trees=23, log=14, ratio={20: "per_month"}, is_calendar=True
        ),
    ),
    "value per purchase": (
        Feature("mean_purchase_value", trees=5, log=3),
        Feature("sd_purchase_value", "unit", trees=11, ratio={13: "over_unit"}),
        Feature("max_purchase_value", "unit", trees=12, log=4, ratio={14: "log_over_unit"}),
        Feature("first_purchase_value", "unit", ratio={15: "log_over_unit"}),
        Feature("last_purchase_value", "unit", trees=13, ratio={16: "log_over_unit"}),
        Feature("total_net_amount", "total", trees=4, log=2, root=1),
        Feature("purchase_amount", "total"),
    ),
    "recent purchases": (
        Feature("purchase_days_30d", "count", trees=15, ratio={1: "over_expected_orders"}),
        Feature("purchase_days_90d", "count", trees=9, log=11, ratio={2: "over_expected_orders"}),
        Feature("purchase_days_180d", "count", trees=16, log=12, ratio={3: "over_expected_orders"}),
        Feature("purchase_days_365d", "count", trees=10, log=13, ratio={4: "over_expected_orders"}),
        Feature("net_amount_7d", "total"),
        Feature("net_amount_30d", "total", trees=14, ratio={5: "over_expected_value"}),
        Feature("net_amount_60d", "total"),
        Feature("net_amount_90d", "total", trees=6, log=7, ratio={6: "over_expected_value"}),
        Feature(
            "net_amount_180d", "total", trees=7, log=8, root=2, ratio={7: "over_expected_value"}
        ),
        Feature(
            "net_amount_365d", "total", trees=8, log=9, root=3, ratio={8: "over_expected_value"}
        ),
        Feature("net_amount_ewm_90d", "total", trees=18, log=10, root=4, ratio={9: "relative"}),
        Feature("net_amount_prev_90d", "total", trees=17, ratio={10: "relative"}),
        Feature("trend_90d", "total", ratio={28: "over_unit"}),
    ),
    "same season a year ago": (
        Feature("net_amount_year_ago_90d", "total", ratio={11: "relative"}, is_calendar=True),
        Feature(
            "net_amount_year_ago_180d", "total", trees=19, ratio={12: "relative"}, is_calendar=True
        ),
    ),
    "rhythm": (
        Feature("gap_mean_days", trees=20),
        Feature("gap_sd_days"),
        Feature("gap_median_days", ratio={19: "log_raw"}),
        Feature("gap_cv", trees=21, ratio={17: "raw"}),
    ),
    "basket": (
        Feature("orders", "count", trees=24, ratio={21: "per_purchase"}),
        Feature("lines", "count"),
        Feature("quantity", "count"),
        Feature("lines_per_order", trees=25, ratio={22: "log"}),
        Feature("distinct_products", "count", trees=27, log=15, ratio={24: "log", 25: "per_line"}),
        Feature("distinct_categories", "count"),
        Feature("mean_unit_price", trees=26, ratio={23: "log_over_unit"}),
        Feature("mean_list_price"),
    ),
    "returns": (
        Feature("returns_amount", "total"),
        Feature("returns_rate", trees=28, ratio={26: "known"}),
        Feature("return_orders", "count", ratio={27: "per_purchase"}),
        Feature("days_since_return"),
    ),
    "place and time": (
        *(Feature("country"), Feature("channel")),
        *(Feature("weekend_share"), Feature("mean_hour")),
        Feature("month_of_year", is_calendar=True),
    ),
}
"""The features by the groups that explanations name, in the order in which they are shown."""

ALL: Final = tuple(feature for features in GROUPS.values() for feature in features)


MONEY: Final = frozenset(
    feature.name
    for feature in ALL
    if feature.scale in ("unit", "total")
    or feature.name in ("mean_purchase_value", "mean_unit_price", "mean_list_price")
)
"""The features that are amounts of money."""


def _placed(place: Callable[[Feature], int]) -> tuple[str, ...]:
    """Return the names of the features that have a position, in the order of positions."""
    return tuple(feature.name for feature in sorted(filter(place, ALL), key=place))


TREES: Final = _placed(lambda feature: feature.trees)
SINGLE_TREE: Final = TREES[:10]
LOGARITHMS: Final = _placed(lambda feature: feature.log)
SQUARE_ROOTS: Final = _placed(lambda feature: feature.root)
RATIOS: Final = tuple(
    (feature.name, transformation)
    for _, feature, transformation in sorted(
        (place, feature, how) for feature in ALL for place, how in feature.ratio.items()
    )
)
"""Columns of the boosted model's design matrix: feature and transformation."""

CALENDAR: Final = frozenset(feature.name for feature in ALL if feature.is_calendar)
