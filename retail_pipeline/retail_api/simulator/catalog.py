"""The catalog: a few thousand products with lognormal prices and a long tail of popularity.

This module also draws the products of order lines; the orders are in `orders`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from retail_pipeline.retail_api.simulator.calendar import timestamps
from retail_pipeline.retail_api.simulator.draws import Draws, Floats, Ints

PRODUCTS = 4_000
POSTAGE = "POST"
POSTAGE_CENTS = 395
TEST_PRODUCTS = ("TEST001", "TEST002")
TEST_CENTS = 100

_AT_THE_START = 3_000
_LAUNCH_EVERY_DAYS = 1.5
_MEDIAN_CENTS = 690
_LOG_PRICE_SD = 0.85
_ZIPF_EXPONENT, _ZIPF_SHIFT = 0.9, 12.0
_CELLS = 1 << 16

_CATEGORIES = {
    "GFT": ("Gifts", ("Gift Box", "Card Set", "Ribbon Pack", "Photo Frame", "Keepsake Tin")),
    "HOM": ("Home", ("Cushion", "Wall Clock", "Lantern", "Doormat", "Storage Basket")),
    "KIT": ("Kitchen", ("Mug", "Tea Towel", "Cake Stand", "Lunch Box", "Spice Jar")),
    "GRD": ("Garden", ("Planter", "Bird Feeder", "Seed Tray", "Garden Light", "Watering Can")),
    "TOY": ("Toys", ("Puzzle", "Spinning Top", "Plush Bear", "Craft Kit", "Card Game")),
    "STA": ("Stationery", ("Notebook", "Pencil Case", "Desk Tidy", "Sticker Set", "Planner")),
    "BAG": ("Bags", ("Tote Bag", "Backpack", "Purse", "Wash Bag", "Jute Shopper")),
    "SEA": ("Seasonal", ("Bauble", "Garland", "Candle", "Wreath", "Advent Calendar")),
}
_STYLES = ("Vintage", "Red Spot", "Nordic", "Rustic", "Pastel", "Striped", "Floral", "Classic")


@dataclass(frozen=True)
class Catalog:
    """The products of one seed.

    Attributes:
        frame: The `products` records of the whole catalog, launched or not.
        price_cents: The list price by product number.
    """

    frame: pd.DataFrame
    price_cents: Ints
    _launch_day: Floats
    _cells: NDArray[np.int32]

    def choose(self, bits: NDArray[np.uint64], day: Ints, target_cents: Floats) -> Ints:
        """Return the product numbers of lines: of four candidates, the closest to the line's value.

        Candidates are drawn by popularity. One that is not launched yet is replaced by an older
        product.
        """
        best = self._launched(bits & np.uint64(_CELLS - 1), day)
        best_misfit = self._misfit(best, target_cents)
        for shift in (16, 32, 48):
            cell = (bits >> np.uint64(shift)) & np.uint64(_CELLS - 1)
            candidate = self._launched(cell, day)
            misfit = self._misfit(candidate, target_cents)
            better = misfit < best_misfit
            best = np.where(better, candidate, best)
            best_misfit = np.where(better, misfit, best_misfit)
        return best

    def quantity(self, product: Ints, target_cents: Floats) -> Ints:
        """Return the quantity of a product that is closest to a line's value, at least one."""
        return np.maximum(1, np.rint(target_cents / self.price_cents[product])).astype(np.int64)

    def _misfit(self, product: Ints, target_cents: Floats) -> Floats:
        value = self.quantity(product, target_cents) * self.price_cents[product]
        return np.abs(value - target_cents)

    def _launched(self, cell: NDArray[np.uint64], day: Ints) -> Ints:
        product = self._cells[cell.astype(np.int64)].astype(np.int64)
        return np.where(self._launch_day[product] <= day, product, product % _AT_THE_START)


def build_catalog(draws: Draws) -> Catalog:
    """Return the catalog of a seed; the number of customers and the as-of date do not change it."""
    number = np.arange(PRODUCTS)
    price = np.exp(_LOG_PRICE_SD * draws.normal("product price", number)) * _MEDIAN_CENTS
    price_cents = _retail_price(price)
    launch_day = np.ceil(np.maximum(0, number - _AT_THE_START + 1) * _LAUNCH_EVERY_DAYS)
    return Catalog(
        frame=_products_frame(draws, number, price_cents, launch_day),
        price_cents=price_cents,
        _launch_day=launch_day,
        _cells=_popularity_cells(draws, number),
    )


def _retail_price(cents: Floats) -> Ints:
    """Return prices that end in 5 or 9 and are not below 29 cents."""
    tens = np.maximum(2, np.rint(cents / 10)).astype(np.int64)
    return tens * 10 + np.where(tens % 3 == 0, 5, 9)


def _popularity_cells(draws: Draws, number: Ints) -> NDArray[np.int32]:
    """Return a table of product numbers in which more popular products have more cells."""
    rank = np.argsort(np.argsort(draws.uniform("product rank", number)))
    weight = (rank + 1 + _ZIPF_SHIFT) ** -_ZIPF_EXPONENT
    shares = np.cumsum(weight) / np.sum(weight)
    cells = np.searchsorted(shares, (np.arange(_CELLS) + 0.5) / _CELLS)
    return np.minimum(cells, PRODUCTS - 1).astype(np.int32)


def _products_frame(
    draws: Draws, number: Ints, price_cents: Ints, launch_day: Floats
) -> pd.DataFrame:
    codes = list(_CATEGORIES)
    category = draws.integers("product category", len(codes), number)
    noun = draws.integers("product noun", 5, number)
    style = draws.integers("product style", len(_STYLES), number)
    recorded_at = timestamps(launch_day.astype(np.int64), np.zeros(PRODUCTS, dtype=np.int64))
    cost_share = 0.5 + 0.06 * ndtri(draws.uniform("product cost", number))
    rows = zip(number, category, noun, style, strict=True)
    names = [f"{_STYLES[s]} {_CATEGORIES[codes[c]][1][n]} No. {i + 1}" for i, c, n, s in rows]
    goods = pd.DataFrame(
        {
            "product_id": [
                f"{codes[c]}-{i + 1:05d}" for i, c in zip(number, category, strict=True)
            ],
            "name": names,
            "category": [_CATEGORIES[codes[c]][0] for c in category],
            "price": price_cents / 100,
            "cost": np.rint(price_cents * np.clip(cost_share, 0.2, 0.9)) / 100,
            "recorded_at": recorded_at,
        }
    )
    postage = pd.DataFrame(
        {
            "product_id": [POSTAGE],
            "name": ["Postage"],
            "category": ["Services"],
            "price": [POSTAGE_CENTS / 100],
            "cost": [POSTAGE_CENTS / 100],
            "recorded_at": recorded_at[:1],
        }
    )
    return pd.concat([goods, postage], ignore_index=True)
