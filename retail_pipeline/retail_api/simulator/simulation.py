"""The simulated retailer as records of the API: a pure function of seed, size and as-of date.

This module builds the frames; the behavior of customers is in `customers` and `orders`.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from retail_pipeline.retail_api.records import (
    ITEM_COLUMNS,
    PRODUCT_COLUMNS,
    TRANSACTION_COLUMNS,
    USER_COLUMNS,
    RetailRecords,
    categorical,
    line_positions,
    ordered,
    transactions_before,
)
from retail_pipeline.retail_api.simulator.calendar import ShoppingCalendar, day_number, timestamps
from retail_pipeline.retail_api.simulator.catalog import (
    POSTAGE,
    TEST_PRODUCTS,
    Catalog,
    build_catalog,
)
from retail_pipeline.retail_api.simulator.customers import Customers, population
from retail_pipeline.retail_api.simulator.draws import Draws, Ints
from retail_pipeline.retail_api.simulator.orders import (
    Lines,
    Orders,
    order_lines,
    purchases,
    returned_lines,
    returns_of,
)
from retail_pipeline.retail_api.simulator.people import (
    CHANNELS,
    COUNTRIES,
    channel_numbers,
    country_numbers,
    personal_data,
)

CURRENCY = "GBP"

_SIGN_UP_SECONDS = 1_800
_ORDERS_AT_A_TIME = 250_000
_KIND_SUFFIXES = ("", "-B", "-X")


@dataclass(frozen=True)
class Simulation:
    """The records before the as-of date, and the simulated customers and orders behind them.

    The API serves only the records; benchmarks compare predictions with the customers and orders.
    """

    records: RetailRecords
    customers: Customers
    orders: Orders


def simulate(*, customers: int, seed: int, until: date) -> Simulation:
    """Return the simulation of a retailer from 2023-01-01 to the as-of date.

    Args:
        customers: The number of customers at the simulator's default as-of date; at later dates
            there are more.
        seed: The seed; another one gives another retailer.
        until: The as-of date: all records have `recorded_at < until` (00:00 UTC). A later date adds
            records and changes none.

    Returns:
        The records, each stream ordered by `(updated_at, id)`, and the customers and orders.
    """
    draws = Draws(seed)
    days = max(0, day_number(until))
    calendar = ShoppingCalendar(days + 1)
    people = population(draws, customers=customers, until=days, calendar=calendar)
    orders = purchases(draws, people, calendar, days)
    catalog = build_catalog(draws)
    transactions, items = _transactions(draws, people, orders, catalog, until)
    everything = RetailRecords(
        products=_products(catalog),
        users=_users(draws, people, orders),
        transactions=transactions,
        items=items,
    )
    return Simulation(everything.before(until), people, orders)


def user_ids(number: Ints) -> np.ndarray:
    """Return the ids of customers from their numbers."""
    return np.array([f"C{n:07d}" for n in number.tolist()], dtype=object)


def _products(catalog: Catalog) -> pd.DataFrame:
    frame = catalog.frame.assign(currency=CURRENCY, updated_at=catalog.frame["recorded_at"])
    position = ordered(frame, "product_id")
    return frame.iloc[position].reset_index(drop=True)[list(PRODUCT_COLUMNS)]


def _users(draws: Draws, people: Customers, orders: Orders) -> pd.DataFrame:
    """Return the users: existing ones are recorded at the start, others shortly before they buy."""
    known = np.flatnonzero(people.exists_at_start | np.isin(people.number, orders.number))
    number = people.number[known]
    first = orders.take(np.flatnonzero((orders.purchase == 0) & (orders.kind == 0)))
    day, second = np.zeros(len(people.number), np.int64), np.zeros(len(people.number), np.int64)
    day[first.customer], second[first.customer] = first.day, first.second
    wait = draws.integers("sign-up", _SIGN_UP_SECONDS, number)
    signed_up = timestamps(day[known], second[known] - wait)
    exists = people.exists_at_start[known]
    zero = np.zeros_like(number)
    long_ago = timestamps(-1 - draws.integers("member for", 900, number), zero)
    recorded_at = np.where(exists, timestamps(zero, zero), signed_up)
    frame = personal_data(draws, number).assign(
        user_id=user_ids(number),
        created_at=np.where(exists, long_ago, signed_up),
        recorded_at=recorded_at,
        updated_at=recorded_at,
    )
    return frame.iloc[ordered(frame, "user_id")].reset_index(drop=True)[list(USER_COLUMNS)]


def _transactions(
    draws: Draws, people: Customers, orders: Orders, catalog: Catalog, until: date
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the sales and returns before the as-of date and their lines, in the API's order."""
    ids = user_ids(people.number)
    parts = []
    for start, stop in _slices(len(orders.day)):
        some = orders.take(np.arange(start, stop))
        drawn = _some_transactions(draws, people, ids, some, catalog)
        parts.append(transactions_before(*drawn, until))
    frame = pd.concat([part for part, _ in parts], ignore_index=True)
    items = pd.concat([lines for _, lines in parts], ignore_index=True)
    del parts
    position = ordered(frame, "transaction_id")
    counts = frame["line_count"].to_numpy()
    starts = np.cumsum(counts) - counts
    items = items.take(line_positions(starts[position], counts[position])).reset_index(drop=True)
    return frame.take(position).reset_index(drop=True), items


def _slices(orders: int) -> list[tuple[int, int]]:
    """Return the start and end of each slice of orders that is drawn at once, to limit memory."""
    starts = range(0, max(orders, 1), _ORDERS_AT_A_TIME)
    return [(start, min(start + _ORDERS_AT_A_TIME, orders)) for start in starts]


def _some_transactions(
    draws: Draws, people: Customers, ids: np.ndarray, orders: Orders, catalog: Catalog
) -> tuple[pd.DataFrame, pd.DataFrame]:
    lines = order_lines(draws, people, orders, catalog)
    returns = returns_of(draws, orders)
    back = returned_lines(draws, orders, lines, returns)
    returned = orders.take(returns.order)
    sale_ids, return_ids = _ids("S", orders), _ids("R", returned)
    all_orders = np.concatenate([np.arange(len(orders.day)), returns.order])
    late = np.concatenate([np.zeros_like(orders.day), returns.late_days])
    day = np.concatenate([orders.day, returns.day])
    second = np.concatenate([orders.second, returns.second])
    buyer, number = orders.customer[all_orders], orders.number[all_orders]
    channel = channel_numbers(draws, orders.number, orders.purchase)[all_orders]
    recorded_at = timestamps(day + late, second)
    frame = pd.DataFrame(
        {
            "transaction_id": pd.Series(sale_ids + return_ids, dtype=object),
            "user_id": ids[buyer],
            "transacted_at": timestamps(day, second),
            "recorded_at": recorded_at,
            "updated_at": recorded_at,
            "type": _labels((len(sale_ids), len(return_ids))),
            "currency": categorical(np.zeros_like(day), [CURRENCY]),
            "country": categorical(country_numbers(draws, number), COUNTRIES),
            "channel": categorical(channel, CHANNELS),
            "line_count": np.concatenate([lines.counts, back.counts]),
        }
    )
    return frame[list(TRANSACTION_COLUMNS)], _items(lines, back, catalog)


def _labels(counts: tuple[int, int]) -> pd.Categorical:
    return categorical(np.repeat([0, 1], counts), ["sale", "return"])


def _ids(letter: str, orders: Orders) -> list[str]:
    rows = zip(orders.number.tolist(), orders.purchase.tolist(), orders.kind.tolist(), strict=True)
    return [f"{letter}{n:07d}-{p + 1:04d}{_KIND_SUFFIXES[k]}" for n, p, k in rows]


def _items(lines: Lines, back: Lines, catalog: Catalog) -> pd.DataFrame:
    def both(name: str) -> Ints:
        return np.concatenate([getattr(lines, name), getattr(back, name)])

    goods = catalog.frame["product_id"][:-1].tolist()
    codes = [*goods, POSTAGE, *TEST_PRODUCTS, *(code.lower() for code in goods)]
    frame = pd.DataFrame(
        {
            "line_number": both("line_number").astype(np.int32),
            "product_id": categorical(both("product"), codes),
            "quantity": both("quantity").astype(np.int32),
            "unit_price": both("price_cents") / 100,
            "discount": both("discount_cents") / 100,
            "amount": both("amount_cents") / 100,
        }
    )
    return frame[list(ITEM_COLUMNS)]
