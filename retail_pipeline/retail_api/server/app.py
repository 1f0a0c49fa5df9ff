"""The retail API over HTTP: key, parameters, limits and errors in front of a dataset's pages.

What is served comes from `source`, how a page looks from `pages`; running a server is in `serve`.
"""

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from retail_pipeline.retail_api.records import totals_of
from retail_pipeline.retail_api.server.openapi import openapi_document
from retail_pipeline.retail_api.server.pages import (
    Cursor,
    StreamPages,
    parse_time,
)
from retail_pipeline.retail_api.source.source import RetailDataset

DEFAULT_LIMIT = 1_000
MOST_RECORDS = 5_000

_PAGE_PARAMETERS = ("limit", "updated_since", "updated_until", "cursor")


@dataclass(frozen=True)
class Faults:
    """Failures on purpose, to see that clients bear them: every n-th request is refused.

    Attributes:
        every: Which requests fail: 3 means the third, sixth and so on; 0 means none.
        status: What they are answered: 429 or 503.
        retry_after: Seconds that the answer asks the client to wait.
    """

    every: int = 0
    status: int = 429
    retry_after: int = 1


class ApiError(Exception):
    """A request that is answered with an error: `{"error": {"code", "message", "parameter"}}`."""

    def __init__(
        self, status: int, code: str, message: str, *, parameter: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message, "parameter": parameter}}
        self.headers: dict[str, str] = {}


def create_app(
    dataset: RetailDataset,
    *,
    api_key: str,
    requests_per_second: float | None = None,
    faults: Faults | None = None,
) -> Starlette:
    """The API over one dataset.

    Args:
        dataset: The records at a clock.
        api_key: What clients send as `Authorization: Bearer KEY`.
        requests_per_second: A limit over which requests are answered 429 with `Retry-After`; bursts
            of one second pass. None is no limit.
        faults: Failures on purpose.
    """
    api = _Api(dataset, api_key, _Limiter(requests_per_second), faults or Faults())
    streams = [
        Route(f"/v1/{name}", api.guarded(_page_handler(pages)), methods=["GET"])
        for name, pages in api.streams.items()
    ]
    return Starlette(
        routes=[
            *streams,
            Route("/v1/totals", api.guarded(api.totals), methods=["GET"]),
            Route("/openapi.json", _openapi, methods=["GET"]),
            Route("/health", _health, methods=["GET"]),
        ],
        exception_handlers={
            ApiError: _answer_error,
            404: _not_found,
            405: _not_allowed,
        },
    )


class _Limiter:
    """A token bucket of one second's requests."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._tokens = max(1.0, rate or 1.0)
        self._at = time.monotonic()

    def seconds_to_wait(self) -> float:
        """Zero where the request may pass."""
        if self._rate is None:
            return 0.0
        now = time.monotonic()
        most = max(1.0, self._rate)
        self._tokens = min(most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


Handler = Callable[[Request], bytes]


class _Api:
    def __init__(
        self, dataset: RetailDataset, api_key: str, limiter: _Limiter, faults: Faults
    ) -> None:
        self._dataset = dataset
        self._authorization = f"Bearer {api_key}".encode()
        self._limiter = limiter
        self._faults = faults
        self._requests = count(1)
        self.streams = {
            "products": StreamPages(dataset.products, "product_id"),
            "users": StreamPages(dataset.users, "user_id"),
            "transactions": StreamPages(
                dataset.transactions, "transaction_id", items=dataset.items
            ),
        }

    def guarded(self, handler: Handler) -> Callable:
        """A route that asks for the key and keeps the limits."""

        async def route(request: Request) -> Response:
            self._check_key(request)
            self._check_limits()
            return Response(handler(request), media_type="application/json")

        return route

    def totals(self, request: Request) -> bytes:
        """Counts of each stream and money of the transactions before `updated_until`."""
        _refuse_unknown(request, ("updated_until",))
        until = _time(request, "updated_until")
        known = {name: pages.count_before(until) for name, pages in self.streams.items()}
        totals = self._dataset.totals()
        if known["transactions"] < len(self._dataset.transactions):
            transactions = self._dataset.transactions.iloc[: known["transactions"]]
            lines = int(transactions["line_count"].sum())
            totals = totals_of(transactions, self._dataset.items.iloc[:lines])
        return orjson.dumps(
            {
                "as_of": self._dataset.as_of.isoformat(),
                "products": known["products"],
                "users": known["users"],
                "transactions": known["transactions"],
                "sales": totals.sales,
                "returns": totals.returns,
                "lines": totals.lines,
                "net_amount": str(totals.net_amount),
                "sales_amount": str(totals.sales_amount),
                "returns_amount": str(totals.returns_amount),
            }
        )

    def _check_key(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, self._authorization):
            error = ApiError(
                401,
                "unauthorized",
                "the key is missing or wrong: send the header 'Authorization: Bearer KEY'",
            )
            error.headers["WWW-Authenticate"] = "Bearer"
            raise error

    def _check_limits(self) -> None:
        number = next(self._requests)
        if self._faults.every and number % self._faults.every == 0:
            raise _refusal(self._faults.status, self._faults.retry_after)
        wait = self._limiter.seconds_to_wait()
        if wait:
            raise _refusal(429, max(1, round(wait + 0.5)))


def _refusal(status: int, retry_after: int) -> ApiError:
    code = "too_many_requests" if status == 429 else "unavailable"
    error = ApiError(status, code, f"try again in {retry_after} s")
    error.headers["Retry-After"] = str(retry_after)
    return error


def _page_handler(pages: StreamPages) -> Handler:
    def page(request: Request) -> bytes:
        _refuse_unknown(request, _PAGE_PARAMETERS)
        return pages.page(
            since=_time(request, "updated_since"),
            until=_time(request, "updated_until"),
            after=_cursor(request),
            limit=_limit(request),
        )

    return page


def _refuse_unknown(request: Request, known: tuple[str, ...]) -> None:
    for name in request.query_params:
        if name not in known:
            raise _bad_parameter(name, f"there is no parameter {name!r}; use {', '.join(known)}")


def _time(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError:
        example = "2024-06-01T00:00:00Z"
        raise _bad_parameter(name, f"{name} must be a time like {example}; got {text!r}") from None


def _cursor(request: Request) -> Cursor | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    try:
        return Cursor.decode(text)
    except ValueError:
        message = "cursor must be a next_cursor of an answer before"
        raise _bad_parameter("cursor", message) from None


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
    if not 1 <= limit <= MOST_RECORDS:
        message = f"limit must be a whole number from 1 to {MOST_RECORDS}; got {text!r}"
        raise _bad_parameter("limit", message)
    return limit


def _bad_parameter(name: str, message: str) -> ApiError:
    return ApiError(400, "invalid_parameter", message, parameter=name)


async def _answer_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return Response(
        orjson.dumps(error.body),
        status_code=error.status,
        headers=error.headers,
        media_type="application/json",
    )


async def _not_found(request: Request, _: Exception) -> Response:
    message = f"there is no {request.url.path}; /openapi.json lists what there is"
    return await _answer_error(request, ApiError(404, "not_found", message))


async def _not_allowed(request: Request, _: Exception) -> Response:
    message = f"{request.method} is not served here: only GET is"
    return await _answer_error(request, ApiError(405, "method_not_allowed", message))


async def _openapi(_: Request) -> Response:
    return Response(orjson.dumps(openapi_document()), media_type="application/json")


async def _health(_: Request) -> Response:
    return Response(b'{"status":"ok"}', media_type="application/json")
