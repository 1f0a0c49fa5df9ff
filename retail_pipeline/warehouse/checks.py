"""The checks of the marts that need numbers and sentences; all others are dbt tests."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from retail_pipeline import shared_queries
from retail_pipeline.business_day import today
from retail_pipeline.dagster_support.check_results import passed, warned
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database, Role
from retail_pipeline.settings import Settings

_MOST_EXCLUDED = 0.05
"""Share of lines or money: postage and fees of a usual shop stay below it."""

_MOST_OF_GUESTS = 0.5
"""Above this share of money, customer value describes only the smaller part of the shop."""


@dg.asset_check(asset=["warehouse", "fct_transactions"])
def excluded_lines_are_few(database: dg.ResourceParam[Database]) -> dg.AssetCheckResult:
    """Lines that do not count, by reason: at most a twentieth of the lines and of the money."""
    found = shared_queries.excluded_lines(database.as_role(Role.SCIENTIST))
    numbers: dict[str, Any] = {
        name: sum(each[name] or 0 for each in found)
        for name in ("lines", "net_amount", "share_of_lines", "share_of_money")
    }
    numbers["reasons"] = dg.MetadataValue.json(found)
    if max(numbers["share_of_lines"], numbers["share_of_money"]) <= _MOST_EXCLUDED:
        return passed(numbers)
    words = shared_queries.excluded_in_words(found)
    return warned(
        numbers,
        f"not counted: {words}. If these are sales, correct the list in "
        "dbt_project/seeds/non_product_codes.csv, or unset RETAIL_NON_PRODUCT_CODES",
    )


@dg.asset_check(asset=["warehouse", "fct_transactions"])
def most_money_has_a_customer(database: dg.ResourceParam[Database]) -> dg.AssetCheckResult:
    """Sales without a customer, as of guests, are less than half of the money."""
    found = shared_queries.guest_sales(database.as_role(Role.SCIENTIST))
    if found["share_of_money"] < _MOST_OF_GUESTS:
        return passed(found)
    return warned(
        found,
        f"{shared_queries.guests_in_words(found)}. If these customers are known by e-mail or card, "
        "use that column as the customer",
    )


_TRANSACTIONS = dg.AssetKey(["warehouse", "fct_transactions"])
PLAUSIBLE = {
    "one_customer_has_many_lines": "No customer has a quarter of the lines.",
    "long_gap": "No ten years lie between two days of sales.",
    "dates_after_today": "No line is dated after today.",
    "as_of_far_after_sales": "The last sale is at most 90 days before the as-of date.",
    "amounts_are_unit_prices": "Amounts are of lines, not of single units.",
    "amounts_differ_from_prices": "Most amounts are quantity times unit price.",
    "amounts_are_order_totals": "Lines of one order have amounts of their own.",
    "currency_spelled_twice": "The currency is written in one way.",
    "currency_is_given": "All transactions have a currency, or none has.",
}
"""The checks of plausibility; `retail_api.source.plausibility` has the rules and sentences."""


@dg.multi_asset_check(
    name="plausibility",
    specs=[
        dg.AssetCheckSpec(name, asset=_TRANSACTIONS, description=description)
        for name, description in PLAUSIBLE.items()
    ],
)
def plausibility(
    database: dg.ResourceParam[Database], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """No rule of plausibility doubts the sales; a warning has the numbers and the remedy."""
    from retail_pipeline.warehouse.plausibility import doubts

    scientist = database.as_role(Role.SCIENTIST)
    found, numbers = doubts(scientist, read_state(database).as_of, today(settings.time_zone))
    for name in PLAUSIBLE:
        result = warned(numbers, found[name]) if name in found else passed(numbers)
        yield result._replace(check_name=name, asset_key=_TRANSACTIONS)
