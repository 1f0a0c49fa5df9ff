"""The checks of the marts that need numbers and sentences; all others are dbt tests."""

from typing import Any

import dagster as dg

from retail_pipeline import shared_queries
from retail_pipeline.dagster_support.check_results import passed, warned
from retail_pipeline.postgres import Database, Role

_MOST_EXCLUDED = 0.05
"""Share of lines or money: postage and fees of a usual shop stay below it."""

_MOST_OF_GUESTS = 0.5
"""Share of money: with more, customer value is about the smaller part of the shop."""


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
