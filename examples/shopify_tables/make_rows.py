"""Write the synthetic rows of the example: tables as Airbyte's Shopify source lands them."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROWS = Path(__file__).parent / "rows"
START = datetime(2023, 1, 1, 9, tzinfo=UTC)
COUNTRIES = ("Germany", "Austria")


def product(number: int, dice: random.Random) -> dict[str, Any]:
    """Return a product with two variants."""
    price = dice.randrange(500, 9000)
    at = START.isoformat()
    return {
        "id": 7000 + number,
        "title": f"Product {number}",
        "product_type": dice.choice(["Cups", "Plates", ""]),
        "variants": [{"id": number, "price": price / 100}, {"id": -number, "price": price / 50}],
        "created_at": at,
        "updated_at": at,
    }


def customer(number: int, dice: random.Random) -> dict[str, Any]:
    """Return a customer with an account."""
    at = (START + timedelta(days=dice.randrange(300))).isoformat()
    return {
        "id": 50_000 + number,
        "first_name": f"First{number}",
        "last_name": f"Last{number}",
        "email": f"customer{number}@example.com",
        "phone": None,
        "default_address": {"country": dice.choice(COUNTRIES)},
        "created_at": at,
        "updated_at": at,
    }


def order(
    number: int, dice: random.Random, products: list[dict], customers: list[dict]
) -> dict[str, Any]:
    """Return an order; some of guests, some test orders, some cancelled."""
    at = START + timedelta(minutes=dice.randrange(700 * 24 * 60))
    # Airbyte lands prices as numbers; older versions landed them as text.
    landed: type = float if number % 5 else str
    lines = [
        {
            "id": number * 10 + position,
            "product_id": each["id"],
            "quantity": dice.randrange(1, 4),
            "price": landed(each["variants"][0]["price"]),
            "discount_allocations": [
                {"amount": dice.randrange(1, 200) / 100} for _ in range(dice.choice([0, 0, 1, 2]))
            ],
        }
        for position, each in enumerate(dice.sample(products, dice.randrange(1, 4)), start=1)
    ]
    is_guest = dice.random() < 0.1
    return {
        "id": 900_000 + number,
        "customer": None if is_guest else {"id": dice.choice(customers)["id"]},
        "line_items": lines,
        "currency": "EUR",
        "test": number % 50 == 0,
        "cancelled_at": at.isoformat() if number % 40 == 7 else None,
        "source_name": dice.choice(["web", "pos"]),
        "shipping_address": {"country": dice.choice(COUNTRIES)},
        "processed_at": at.isoformat(),
        "created_at": at.isoformat(),
        "updated_at": at.isoformat(),
    }


def refund(number: int, dice: random.Random, of: dict[str, Any]) -> dict[str, Any]:
    """Return a refund of one unit of an order's first line, or of money alone."""
    line = of["line_items"][0]
    off = sum(part["amount"] for part in line["discount_allocations"])
    unit = round(float(line["price"]) - off / line["quantity"], 2)
    back = {"line_item_id": line["id"], "quantity": 1, "subtotal": unit, "line_item": line}
    at = datetime.fromisoformat(of["created_at"]) + timedelta(days=dice.randrange(1, 30))
    return {
        "id": 300 + number,
        "order_id": of["id"],
        "refund_line_items": [] if number % 9 == 0 else [back],
        "created_at": at.isoformat(),
    }


def main() -> None:
    """Write a file of JSON lines per table; the same rows each time."""
    dice = random.Random(11)
    products = [product(number, dice) for number in range(1, 13)]
    customers = [customer(number, dice) for number in range(1, 31)]
    orders = [order(number, dice, products, customers) for number in range(1, 201)]
    refunds = [refund(number, dice, each) for number, each in enumerate(dice.sample(orders, 20))]
    tables = {
        "products": products,
        "customers": customers,
        "orders": orders,
        "order_refunds": refunds,
    }
    ROWS.mkdir(exist_ok=True)
    for name, rows in tables.items():
        text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
        (ROWS / f"{name}.jsonl").write_text(text)


if __name__ == "__main__":
    main()
