"""The checks of plausibility warn with numbers, and pass for an ordinary shop."""

import random
from datetime import date
from typing import Any

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline.retail_api.source.plausibility import RULES
from retail_pipeline.warehouse.checks import PLAUSIBLE
from retail_pipeline.warehouse.plausibility import doubts
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.landing import land, line, transaction

AS_OF = date(2024, 7, 1)
TODAY = date(2024, 7, 20)


def ordinary() -> list[dict[str, Any]]:
    """Return 200 sales of two lines by 20 customers from January to June 2024."""
    dice = random.Random(4)
    return [
        transaction(
            f"T{number}",
            f"K{number % 20}",
            f"2024-0{1 + number % 6}-{1 + number % 28:02}T10:00:00Z",
            [
                {**line(price * pieces, product_id=product, quantity=pieces)}
                for product in ("A", "B")
                for price, pieces in [(dice.randrange(1, 50), dice.randrange(1, 5))]
            ],
        )
        for number in range(200)
    ]


def changed(name: str) -> list[dict[str, Any]]:
    """Return the ordinary sales with the fault of one rule."""
    sales = ordinary()
    match name:
        case "one_customer_has_many_lines":
            return [{**sale, "user_id": "guest"} for sale in sales[:60]] + sales[60:]
        case "long_gap":
            sales[0].update(transacted_at="1970-01-01T00:00:00Z")
        case "dates_after_today":
            sales[0].update(transacted_at="2024-06-25T00:00:00Z")
        case "as_of_far_after_sales":
            return [sale for sale in sales if sale["transacted_at"] < "2024-03"]
        case "currency_is_given":
            sales[0].update(currency=None)
        case _:
            return [{**sale, "items": amounts(name, sale["items"])} for sale in sales]
    return sales


def amounts(name: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines of an order with wrong amounts."""
    total = sum(item["amount"] for item in items)
    wrong = {
        "amounts_are_unit_prices": lambda item: {"amount": item["unit_price"]},
        "amounts_differ_from_prices": lambda item: {"amount": 1.5 * item["amount"]},
        "amounts_are_order_totals": lambda _: {"amount": total, "quantity": None},
    }[name]
    return [{**item, **wrong(item)} for item in items]


def found(database: Database, dbt: DbtWorker, sales: list[Any], today: date) -> dict[str, str]:
    land(database, "transactions", sales)
    dbt.build(AS_OF, "--select", "+fct_transactions")
    sentences, numbers = doubts(database, AS_OF, today)
    assert numbers["lines"] == sum(len(sale["items"]) for sale in sales)
    return sentences


def test_an_ordinary_shop_raises_no_doubt(database: Database, dbt: DbtWorker) -> None:
    assert found(database, dbt, ordinary(), TODAY) == {}
    assert {*RULES, "currency_is_given"} == {*PLAUSIBLE}


@pytest.mark.parametrize("name", sorted({*PLAUSIBLE} - {"currency_spelled_twice"}))
def test_each_fault_is_one_sentence_with_numbers(
    database: Database, dbt: DbtWorker, name: str
) -> None:
    today = date(2024, 6, 20) if name == "dates_after_today" else TODAY
    sentences = found(database, dbt, changed(name), today)
    assert list(sentences) == [name]
    assert any(letter.isdigit() for letter in sentences[name])


def test_nothing_landed_is_no_doubt(database: Database, dbt: DbtWorker) -> None:
    dbt.build(AS_OF, "--select", "+fct_transactions")
    assert doubts(database, AS_OF, TODAY) == ({}, {})
