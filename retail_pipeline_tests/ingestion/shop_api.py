"""A replay of a public shop API: products, users, carts; pages by `limit` and `skip`; no key."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retail_pipeline.loopback import served

KINDS = ("products", "users", "carts")


@dataclass
class ShopApi:
    """An API over lists of records, which a test may change between requests."""

    products: list[dict[str, Any]] = field(default_factory=list)
    users: list[dict[str, Any]] = field(default_factory=list)
    carts: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], str | None]] = field(default_factory=list)
    address: str = ""

    def answer(self, request: Request) -> Response:
        kind, query = request.path_params["kind"], dict(request.query_params)
        self.requests.append((kind, query, request.headers.get("authorization")))
        if kind not in KINDS:
            return JSONResponse({"message": "not found"}, status_code=404)
        records = getattr(self, kind)
        skip, limit = int(query.get("skip", 0)), int(query.get("limit", 30))
        page = records[skip : skip + limit if limit else None]
        return JSONResponse({kind: page, "total": len(records), "skip": skip, "limit": len(page)})


@contextmanager
def serving(api: ShopApi) -> Iterator[ShopApi]:
    """Serve the API on a free loopback port and set its `url`."""
    with served(Starlette(routes=[Route("/{kind}", api.answer)])) as address:
        api.address = address
        yield api


def generated(*, users: int = 60, carts: int = 900, seed: int = 3) -> ShopApi:
    """Return an invented shop of two years, 2023 and 2024."""
    dice = random.Random(seed)
    products = [
        {
            "id": number,
            "title": f"Product {number}",
            "category": f"category {number % 6}",
            "price": round(dice.lognormvariate(3, 0.8), 2),
            "rating": 4.2,
            "thumbnail": f"https://shop.example.com/{number}.png",
        }
        for number in range(1, 131)
    ]
    people = [
        {
            "id": number,
            "firstName": f"First{number}",
            "lastName": f"Last{number}",
            "email": f"user{number}@example.com",
            "phone": f"+00 {number:07}",
            "address": {"address": f"{number} Street", "country": dice.choice(["France", "Peru"])},
            "age": 30,
        }
        for number in range(1, users + 1)
    ]
    start = datetime(2023, 1, 1, 9, tzinfo=UTC)
    return ShopApi(
        products,
        people,
        [_cart(number, dice, people, products, start) for number in range(1, carts + 1)],
    )


def _cart(
    number: int,
    dice: random.Random,
    people: list[dict[str, Any]],
    products: list[dict[str, Any]],
    start: datetime,
) -> dict[str, Any]:
    lines = [
        {
            "id": product["id"],
            "title": product["title"],
            "price": product["price"],
            "quantity": dice.randint(1, 4),
            "discountPercentage": round(dice.uniform(0, 20), 2),
        }
        for product in dice.sample(products, dice.randint(1, 5))
    ]
    bought = start + timedelta(minutes=dice.randint(0, 720 * 24 * 60))
    return {
        "id": number,
        "products": lines,
        "userId": dice.choice(people)["id"],
        "date": bought.isoformat().replace("+00:00", "Z"),
        "totalProducts": len(lines),
        "totalQuantity": sum(line["quantity"] for line in lines),
    }
