"""Rules of plausibility: sales that can all be read but are probably wrong.

Each rule gets a few numbers, computed from a file's lines or from the marts, and returns a sentence
with the numbers and the remedy, or None. The command `check` and Dagster's checks show the same
sentences. Thin data has its own warnings, in `clv.data.thin_data`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

_LARGE_SHARE = 0.25
_FEWEST_CUSTOMERS = 10
_FEWEST_LINES = 20
_MOST = 0.5
_GAP_DAYS = 3650
_STALE_DAYS = 90
_SIGNS = {"€": "eur", "$": "usd", "us$": "usd", "£": "gbp", "¥": "jpy"}


@dataclass(frozen=True)
class SalesFacts:
    """Numbers of order lines; unknown ones are 0 or None.

    Attributes:
        lines: The number of lines with a customer.
        customers: The number of customers.
        top_customer: The customer with the most lines.
        top_customer_lines: The number of that customer's lines.
        last_day: The last day with a line, before the as-of date if there is one.
        as_of: The as-of date.
        today: The day of the check.
        future_lines: The number of lines after today.
        gap: The days before and after the longest time without a line.
        lines_before_gap: The number of lines before that time.
        priced_lines: The number of lines with a quantity and a unit price.
        unequal_lines: The number of these whose amount is not quantity times unit price.
        several_pieces: The number of lines with a quantity other than 1, and a unit price.
        unit_amounts: The number of these whose amount is the unit price.
        quantity_correlation: The rank correlation of quantity and amount, if quantities vary.
        orders_of_products: The number of orders with several products.
        orders_of_one_amount: The number of these whose lines all have the same amount.
        currencies: The spellings of currencies.
    """

    lines: int
    customers: int
    top_customer: str
    top_customer_lines: int
    last_day: date
    today: date
    as_of: date | None = None
    future_lines: int = 0
    gap: tuple[date, date] | None = None
    lines_before_gap: int = 0
    priced_lines: int = 0
    unequal_lines: int = 0
    several_pieces: int = 0
    unit_amounts: int = 0
    quantity_correlation: float | None = None
    orders_of_products: int = 0
    orders_of_one_amount: int = 0
    currencies: tuple[str, ...] = ()


def find_doubts(facts: SalesFacts) -> Iterator[tuple[str, str]]:
    """Yield the name of each rule that finds a doubt, and its sentence."""
    for name, rule in RULES.items():
        sentence = rule(facts)
        if sentence is not None:
            yield name, sentence


def one_customer_has_many_lines(facts: SalesFacts) -> str | None:
    """Return a sentence if one customer of many has a quarter of the lines."""
    share = facts.top_customer_lines / max(facts.lines, 1)
    if share < _LARGE_SHARE or facts.customers < _FEWEST_CUSTOMERS:
        return None
    return (
        f"customer {facts.top_customer[:40]!r} has {facts.top_customer_lines:,} of "
        f"{facts.lines:,} lines ({share:.0%}): if this is a word for guests, name it with "
        "--missing-customer-words"
    )


def long_gap(facts: SalesFacts) -> str | None:
    """Return a sentence if ten years lie between two days of sales."""
    if facts.gap is None or (facts.gap[1] - facts.gap[0]).days < _GAP_DAYS:
        return None
    years = (facts.gap[1] - facts.gap[0]).days // 365
    return (
        f"{facts.lines_before_gap:,} lines are of {facts.gap[0]} or before, and the next day of "
        f"sales is {years} years later, {facts.gap[1]}: is an unknown time written as a date?"
    )


def dates_after_today(facts: SalesFacts) -> str | None:
    """Return a sentence if lines lie in the future."""
    if not facts.future_lines:
        return None
    return (
        f"{facts.future_lines:,} lines are dated after today, {facts.today}: are day and month "
        "exchanged (--date-order)? Give --as-of, or correct the dates"
    )


def as_of_far_after_sales(facts: SalesFacts) -> str | None:
    """Return a sentence if the as-of date lies months after the last line."""
    if facts.as_of is None or (facts.as_of - facts.last_day).days <= _STALE_DAYS:
        return None
    return (
        f"the last sale before {facts.as_of} was on {facts.last_day}, "
        f"{(facts.as_of - facts.last_day).days} days earlier: every customer looks lost; choose an "
        "earlier date or load later sales"
    )


def amounts_are_unit_prices(facts: SalesFacts) -> str | None:
    """Return a sentence if amounts equal unit prices, or do not grow with the quantity."""
    remedy = "multiply them, or use a profile with line_total"
    if facts.several_pieces >= _FEWEST_LINES:
        if facts.unit_amounts <= _MOST * facts.several_pieces:
            return None
        return (
            f"the amount is the unit price in {facts.unit_amounts:,} of {facts.several_pieces:,} "
            f"lines of several pieces, not quantity times price: {remedy}"
        )
    if facts.quantity_correlation is None or facts.quantity_correlation > 0.05:
        return None
    return (
        "amounts do not grow with quantities (rank correlation "
        f"{facts.quantity_correlation:.2f}): if they are unit prices, {remedy}"
    )


def amounts_differ_from_prices(facts: SalesFacts) -> str | None:
    """Return a sentence if most amounts are neither quantity times price nor the unit price."""
    unequal = facts.unequal_lines - facts.unit_amounts
    if facts.priced_lines < _FEWEST_LINES or unequal <= _MOST * facts.priced_lines:
        return None
    return (
        f"the amount is not quantity times unit price in {facts.unequal_lines:,} of "
        f"{facts.priced_lines:,} lines: the amount counts; check that it is the value of the line"
    )


def amounts_are_order_totals(facts: SalesFacts) -> str | None:
    """Return a sentence if all lines of most orders with several products have one amount."""
    orders = facts.orders_of_products
    if orders < _FEWEST_LINES or facts.orders_of_one_amount <= _MOST * orders:
        return None
    return (
        f"all lines have the same amount in {facts.orders_of_one_amount:,} of {orders:,} orders "
        "of several products: if this is the total of the order, it is counted once per line; "
        "give the amounts of lines, or one line per order"
    )


def currency_spelled_twice(facts: SalesFacts) -> str | None:
    """Return a sentence if one currency is written in several ways."""
    plain = {word: word.strip().lower() for word in facts.currencies}
    words = {word: _SIGNS.get(name, name) for word, name in plain.items()}
    if len(words) < 2 or len(set(words.values())) == len(words):
        return None
    spelled = ", ".join(sorted(words)[:5])
    return f"a currency is written in several ways ({spelled}): write it in one"


RULES: Final[Mapping[str, Callable[[SalesFacts], str | None]]] = {
    rule.__name__: rule
    for rule in (
        one_customer_has_many_lines,
        long_gap,
        dates_after_today,
        as_of_far_after_sales,
        amounts_are_unit_prices,
        amounts_differ_from_prices,
        amounts_are_order_totals,
        currency_spelled_twice,
    )
}
"""The rules by name."""
