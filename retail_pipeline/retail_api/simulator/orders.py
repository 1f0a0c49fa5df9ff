"""Purchases in time, lines of orders, returns, and the data errors of real feeds.

The functions return arrays; `simulation` builds frames from them.
"""

from dataclasses import dataclass, fields

import numpy as np

from retail_pipeline.retail_api.records import line_positions
from retail_pipeline.retail_api.simulator.calendar import (
    SECONDS_PER_DAY,
    ShoppingCalendar,
    second_of_day,
)
from retail_pipeline.retail_api.simulator.catalog import (
    POSTAGE_CENTS,
    PRODUCTS,
    TEST_CENTS,
    TEST_PRODUCTS,
    Catalog,
)
from retail_pipeline.retail_api.simulator.customers import LOG_SPEND_SD_WITHIN, Customers
from retail_pipeline.retail_api.simulator.draws import Draws, Floats, GammaQuantiles, Ints

REGULAR, SECOND_OF_DAY, OUTLIER = 0, 1, 2
"""Kinds of orders: a regular purchase, another order on the same day, one absurd outlier."""

POSTAGE_CODE = PRODUCTS
TEST_CODE = PRODUCTS + 1
LOWER_CASE_OFFSET = PRODUCTS + 1 + len(TEST_PRODUCTS)
"""Product codes: the catalog, postage, test products, then the catalog again in lower case."""

GAP_SHAPE = 1.4
SECOND_ORDER_SHARE = 0.03
RETURNED_SHARE, FULL_RETURN_SHARE = 0.038, 0.30
REVERSED_SHARE = 0.0015

_RETURN_DELAY_DAYS = 13.5
_LATE_RETURN_SHARE = 0.10
_OUTLIER_CUSTOMER, _OUTLIER_QUANTITY = 0, 7_215
_LAST_SECOND = SECONDS_PER_DAY - 1

_EXTRA_LINE_SHARE, _WHOLESALE_EXTRA_LINE_SHARE = 0.74, 0.9
_MOST_LINES, _CHEAPEST_LINE_CENTS = 60, 900
_DISCOUNTED_SHARE, _DISCOUNTS = 0.10, (0.05, 0.10, 0.15, 0.20)
_POSTAGE_SHARE, _TEST_SHARE = 0.025, 0.0005
_ZERO_PRICE_SHARE, _LOWER_CASE_SHARE = 0.001, 0.003


@dataclass(frozen=True)
class Orders:
    """Sales as arrays with one entry each; `customer` is an index into the population."""

    customer: Ints
    number: Ints
    purchase: Ints
    kind: Ints
    day: Ints
    second: Ints

    def take(self, keep: np.ndarray) -> "Orders":
        """Return the orders at some indices (or where a mask is true)."""
        return Orders(**{f.name: getattr(self, f.name)[keep] for f in fields(self)})

    @property
    def keys(self) -> tuple[Ints, Ints, Ints]:
        """The keys of an order's draws."""
        return self.number, self.purchase, self.kind


@dataclass(frozen=True)
class Lines:
    """Order lines as arrays, in the order of their orders; money is in cents."""

    counts: Ints
    line_number: Ints
    product: Ints
    quantity: Ints
    price_cents: Ints
    discount_cents: Ints

    @property
    def amount_cents(self) -> Ints:
        """The net amount of each line."""
        return self.quantity * self.price_cents - self.discount_cents


@dataclass(frozen=True)
class Returns:
    """Returns and reversals as arrays with one entry each; `order` is an index into the orders."""

    order: Ints
    day: Ints
    second: Ints
    late_days: Ints
    whole: np.ndarray


def purchases(draws: Draws, customers: Customers, calendar: ShoppingCalendar, until: int) -> Orders:
    """Return all orders before day `until`: a renewal process with at most one purchase a day.

    The gaps in shopping time are gamma distributed (shape 1.4) around the customer's mean, until
    the customer drops out. Each iteration draws the next purchase of all active customers.
    """
    gap = GammaQuantiles(GAP_SHAPE)
    active = np.arange(len(customers.number))
    time = customers.first_purchase
    day = np.floor(calendar.day(time))
    found: list[tuple[Ints, int, Ints]] = []
    purchase = 0
    while True:
        alive = (day < until) & (day < customers.dropout_day[active])
        active, time, day = active[alive], time[alive], day[alive]
        if not len(active):
            break
        found.append((active, purchase, day.astype(np.int64)))
        purchase += 1
        number = customers.number[active]
        key = np.full(len(number), purchase)
        mean = 1.0 / (GAP_SHAPE * customers.purchase_rate[active])
        time = time + gap(draws.normal("gap", number, key)) * mean
        time = np.maximum(time, calendar.shopping_time(day + 1))
        day = np.floor(calendar.day(time))
    return _orders(draws, customers, found)


def _orders(draws: Draws, customers: Customers, found: list[tuple[Ints, int, Ints]]) -> Orders:
    customer = np.concatenate([f[0] for f in found] or [np.zeros(0, dtype=np.int64)])
    purchase = np.repeat([f[1] for f in found], [len(f[0]) for f in found]).astype(np.int64)
    day = np.concatenate([f[2] for f in found] or [np.zeros(0, dtype=np.int64)])
    number = customers.number[customer]
    second = second_of_day(draws.uniform("hour", number, purchase))
    first = Orders(customer, number, purchase, np.zeros_like(day), day, second)
    again = first.take(draws.uniform("second order", number, purchase) < SECOND_ORDER_SHARE)
    outlier = first.take((number == _OUTLIER_CUSTOMER) & (purchase == 0))
    return _joined(
        first,
        _later_the_same_day(draws, again, SECOND_OF_DAY),
        _later_the_same_day(draws, outlier, OUTLIER),
    )


def _later_the_same_day(draws: Draws, orders: Orders, kind: int) -> Orders:
    wait = 300 + draws.integers("same day", 4 * 3600, orders.number, orders.purchase)
    second = np.minimum(orders.second + wait, _LAST_SECOND - 1800)
    kinds = np.full(len(orders.day), kind)
    return Orders(orders.customer, orders.number, orders.purchase, kinds, orders.day, second)


def _joined(*parts: Orders) -> Orders:
    return Orders(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Orders)}
    )


def order_values(draws: Draws, customers: Customers, orders: Orders) -> Floats:
    """Return the target values of the orders in cents: lognormal around the customer's level."""
    noise = LOG_SPEND_SD_WITHIN * draws.normal("order value", *orders.keys)
    return np.exp(customers.log_spend[orders.customer] + noise) * 100


def order_lines(draws: Draws, customers: Customers, orders: Orders, catalog: Catalog) -> Lines:
    """Return the lines of the orders: goods that add up to about the target value, and errors."""
    value = order_values(draws, customers, orders)
    goods = _goods_per_order(draws, customers, orders, value)
    postage = (draws.uniform("postage", *orders.keys) < _POSTAGE_SHARE) & (orders.kind != OUTLIER)
    test = draws.uniform("test line", *orders.keys) < _TEST_SHARE
    counts = goods + postage + test
    order = np.repeat(np.arange(len(counts)), counts)
    line = line_positions(np.zeros_like(counts), counts)
    keys = (*(key[order] for key in orders.keys), line)
    target = _line_targets(draws, orders, value, goods, order, line)
    product = catalog.choose(draws.bits("product", *keys), orders.day[order], target)
    quantity = catalog.quantity(product, target)
    quantity = np.where(orders.kind[order] == OUTLIER, _OUTLIER_QUANTITY, quantity)
    price = catalog.price_cents[product]
    price = np.where(draws.uniform("zero price", *keys) < _ZERO_PRICE_SHARE, 0, price)
    lower = draws.uniform("lower case", *keys) < _LOWER_CASE_SHARE
    product = np.where(lower, product + LOWER_CASE_OFFSET, product)
    is_postage = postage[order] & (line == goods[order])
    is_test = (line >= goods[order]) & ~is_postage
    test_code = TEST_CODE + draws.integers("test product", len(TEST_PRODUCTS), *keys)
    product = np.select([is_postage, is_test], [POSTAGE_CODE, test_code], product)
    price = np.select([is_postage, is_test], [POSTAGE_CENTS, TEST_CENTS], price)
    quantity = np.where(is_postage | is_test, 1, quantity)
    rate = np.where(line < goods[order], _discount_rates(draws, orders)[order], 0.0)
    discount = np.rint(quantity * price * rate).astype(np.int64)
    return Lines(counts, line + 1, product, quantity, price, discount)


def _goods_per_order(draws: Draws, customers: Customers, orders: Orders, value: Floats) -> Ints:
    """Return the number of goods lines per order: about three, limited by its value."""
    more = np.where(
        customers.is_wholesaler[orders.customer], _WHOLESALE_EXTRA_LINE_SHARE, _EXTRA_LINE_SHARE
    )
    extra = np.floor(np.log(draws.uniform("lines", *orders.keys)) / np.log(more))
    most = np.minimum(value / _CHEAPEST_LINE_CENTS, _MOST_LINES - 1)
    goods = 1 + np.minimum(extra, most).astype(np.int64)
    return np.where(orders.kind == OUTLIER, 1, goods)


def _line_targets(
    draws: Draws, orders: Orders, value: Floats, goods: Ints, order: Ints, line: Ints
) -> Floats:
    """Return the target amount of each line in cents: uneven shares of the order's value."""
    weight = 0.35 + draws.uniform("line share", *(key[order] for key in orders.keys), line)
    weight = np.where(line < goods[order], weight, 0.0)
    total = np.bincount(order, weight, minlength=len(goods))
    return value[order] * weight / total[order]


def _discount_rates(draws: Draws, orders: Orders) -> Floats:
    which = draws.integers("discount", len(_DISCOUNTS), *orders.keys)
    given = draws.uniform("discounted", *orders.keys) < _DISCOUNTED_SHARE
    return np.where(given, np.asarray(_DISCOUNTS)[which], 0.0)


def returns_of(draws: Draws, orders: Orders) -> Returns:
    """Return the returns of the orders, with time, recording delay, and whether of all lines.

    A reversal is a return of all lines some minutes after the order, on the same day.
    """
    drawn = draws.uniform("returned", *orders.keys)
    reversed_ = (drawn < REVERSED_SHARE) | (orders.kind == OUTLIER)
    order = np.flatnonzero(reversed_ | (drawn < REVERSED_SHARE + RETURNED_SHARE))
    back = orders.take(order)
    same_day = reversed_[order]
    wait = 900 + draws.integers("reversal", 2 * 3600, *back.keys)
    delay = 1 + np.floor(
        -_RETURN_DELAY_DAYS * np.log(draws.uniform("return delay", *back.keys))
    ).astype(np.int64)
    late = draws.uniform("late return", *back.keys) < _LATE_RETURN_SHARE
    late_days = 1 + draws.integers("days late", 6, *back.keys)
    return Returns(
        order=order,
        day=np.where(same_day, back.day, back.day + delay),
        second=np.where(
            same_day,
            np.minimum(back.second + wait, _LAST_SECOND),
            second_of_day(draws.uniform("return hour", *back.keys)),
        ),
        late_days=np.where(late & ~same_day, late_days, 0),
        whole=same_day | (draws.uniform("whole return", *back.keys) < FULL_RETURN_SHARE),
    )


def returned_lines(draws: Draws, orders: Orders, lines: Lines, returns: Returns) -> Lines:
    """Return the lines of the returns: all lines of the order or one, with negative amounts."""
    back = orders.take(returns.order)
    starts = np.cumsum(lines.counts) - lines.counts
    size = lines.counts[returns.order]
    one = (draws.uniform("returned line", *back.keys) * size).astype(np.int64)
    counts = np.where(returns.whole, size, 1)
    first = starts[returns.order] + np.where(returns.whole, 0, one)
    position = line_positions(first, counts)
    return Lines(
        counts=counts,
        line_number=line_positions(np.ones_like(counts), counts),
        product=lines.product[position],
        quantity=-lines.quantity[position],
        price_cents=lines.price_cents[position],
        discount_cents=-lines.discount_cents[position],
    )
