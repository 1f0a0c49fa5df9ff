"""A tiny paged API with switchable faults, to sync from."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retail_pipeline.loopback import served

KEY = "the-right-key"


@dataclass
class PagedApi:
    """Serves `streams[name]`, a list of records, ordered by `updated_at`."""

    streams: dict[str, list[dict]]
    page: int = 100
    refuse_every: int | None = None
    refuse_with: tuple[int, ...] = (429,)
    seconds: float = 0.0
    hold: threading.Event | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    address: str = ""
    route: ClassVar[str] = "/v1/{stream}"
    arriving: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Response:
        with self.arriving:
            self.requests.append(dict(request.query_params))
            number = len(self.requests)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"error": "unauthorized"}, status_code=401)
        time.sleep(self.seconds)
        if self.refuse_every and number % self.refuse_every == 0:
            turn = number // self.refuse_every % len(self.refuse_with)
            return Response(status_code=self.refuse_with[turn], headers={"Retry-After": "0.01"})
        if self.hold is not None and number > 1:
            self.hold.wait(30)
        query = request.query_params
        records = [
            record
            for record in self.streams[request.path_params["stream"]]
            if _instant(query["updated_since"])
            <= _instant(record["updated_at"])
            < _instant(query["updated_until"])
        ]
        start = int(query.get("cursor", 0))
        following = start + self.page
        more = following if following < len(records) else None
        return JSONResponse({"data": records[start:following], "next_cursor": more and str(more)})


@contextmanager
def serving(api: PagedApi, *, port: int = 0) -> Iterator[PagedApi]:
    """Serve the API on a loopback port, by default a free one, and set its `url`."""
    app = Starlette(routes=[Route(api.route, api.answer)])
    with served(app, port=port) as address:
        api.address = address
        yield api
        if api.hold is not None:
            api.hold.set()


def products(count: int, *, day: str = "2011-01-01") -> list[dict]:
    """Return products that differ in id and price."""
    return [
        {
            "product_id": f"P{number:05}",
            "name": f"Tab\tand back\\slash {number}",
            "category": None,
            "price": number / 1000,
            "cost": 0.1,
            "currency": "GBP",
            "recorded_at": f"{day}T00:00:00Z",
            "updated_at": f"{day}T{number // 60 % 24:02}:{number % 60:02}:00Z",
        }
        for number in range(count)
    ]


def transactions(count: int, *, day: str = "2011-01-01") -> list[dict]:
    """Return transactions whose amounts do not add up exactly as floats."""
    return [
        {
            "transaction_id": f"T{number:05}",
            "user_id": f"U{number % 7}",
            "transacted_at": "2010-12-31T23:59:59.125Z",
            "recorded_at": "2010-12-31T23:59:59.250000Z",
            "updated_at": f"{day}T{number // 60 % 24:02}:{number % 60:02}:00Z",
            "type": "return" if number % 9 == 4 else "sale",
            "currency": "GBP",
            "country": 'Élan\t\\ "quoted"' if number % 5 == 0 else None,
            "channel": None,
            "items": [
                {
                    "line_number": line,
                    "product_id": f"P{line}",
                    "quantity": 1,
                    "unit_price": 0.1 * line,
                    "discount": None,
                    "amount": round(0.001 * number + 0.1 * line, 3),
                }
                for line in range(1, 1 + number % 4)
            ],
        }
        for number in range(count)
    ]


def _instant(text: str) -> str:
    return text.replace(".000000Z", "Z")
