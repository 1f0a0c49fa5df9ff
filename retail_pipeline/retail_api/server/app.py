"""The retail API over HTTP: key, limits, parameters and errors in front of a dataset's pages.

FastAPI checks the parameters and writes `/openapi.json` from the models in `schema`. Answers are
sent as `pages` renders them: no record is validated on its way out. Running a server is in `serve`.
"""

import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from retail_pipeline.retail_api.records import totals_of
from retail_pipeline.retail_api.server import schema
from retail_pipeline.retail_api.server.pages import (
    StreamPages,
    stream_pages,
)
from retail_pipeline.retail_api.source.dataset import RetailDataset

_ANSWERS: dict[str, Any] = {
    "products": schema.Page[schema.Product],
    "users": schema.Page[schema.User],
    "transactions": schema.Page[schema.Transaction],
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": schema.ErrorAnswer, "description": "A parameter is wrong; it is named."},
    401: {"model": schema.ErrorAnswer, "description": "The key is missing or wrong."},
    429: {
        "model": schema.ErrorAnswer,
        "description": "Too many requests.",
        "headers": {
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}
        },
    },
    "default": {"model": schema.ErrorAnswer, "description": "Another refusal."},
}
_BEARER = HTTPBearer(auto_error=False, scheme_name="key")


@dataclass(frozen=True)
class Faults:
    """Failures on purpose, to see that clients survive them: every n-th request is refused.

    Attributes:
        every: Which requests fail: 3 means the third, sixth and so on; 0 means none.
        status: What they are answered: 429 or 503.
        retry_after: Seconds that the answer asks the client to wait.
    """

    every: int = 0
    status: int = 429
    retry_after: int = 1


def create_app(
    dataset: RetailDataset,
    *,
    api_key: str,
    requests_per_second: float | None = None,
    faults: Faults | None = None,
) -> FastAPI:
    """Return the API over one dataset.

    Args:
        dataset: The records before an as-of date.
        api_key: The key that clients send as `Authorization: Bearer KEY`.
        requests_per_second: A limit over which requests are answered 429 with `Retry-After`; bursts
            of one second pass. None is no limit.
        faults: Failures on purpose.
    """
    app = FastAPI(
        title="Retail API",
        version="1",
        description="Records that were known before the API's as-of date, ordered by "
        "(updated_at, id). Times are UTC with microseconds.",
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            HTTPException: _answer_refusal,
            RequestValidationError: _answer_bad_parameter,
        },
    )
    guards = [
        Depends(_key_check(api_key)),
        Depends(_limits(_Limiter(requests_per_second), faults or Faults())),
    ]
    pages = stream_pages(dataset.records)
    for name, answer in _ANSWERS.items():
        app.get(
            f"/v1/{name}",
            summary=f"The {name}, page by page",
            response_model=answer,
            responses=_REFUSALS,
            dependencies=guards,
        )(_page_endpoint(pages[name]))
    app.get(
        "/v1/totals",
        summary="Counts and money; net = sales - returns",
        response_model=schema.TotalsAnswer,
        responses=_REFUSALS,
        dependencies=guards,
    )(_totals_endpoint(dataset, pages))
    app.get("/health", summary="Whether the API answers", response_model=schema.Health)(_health)
    return app


def _page_endpoint(pages: StreamPages) -> Callable[..., Awaitable[Response]]:
    async def page(query: Annotated[schema.PageQuery, Query()]) -> Response:
        rendered = pages.page(
            since=query.updated_since,
            until=query.updated_until,
            after=query.cursor,
            limit=query.limit,
        )
        return Response(rendered, media_type="application/json")

    return page


def _totals_endpoint(
    dataset: RetailDataset, pages: dict[str, StreamPages]
) -> Callable[..., Awaitable[Response]]:
    async def totals(query: Annotated[schema.TotalsQuery, Query()]) -> Response:
        known = {name: each.count_before(query.updated_until) for name, each in pages.items()}
        money = dataset.totals
        if known["transactions"] < len(dataset.records.transactions):
            transactions = dataset.records.transactions.iloc[: known["transactions"]]
            lines = int(transactions["line_count"].sum())
            money = totals_of(transactions, dataset.records.items.iloc[:lines])
        return _json(
            {
                "as_of": dataset.as_of.isoformat(),
                **known,
                "sales": money.sales,
                "returns": money.returns,
                "lines": money.lines,
                "net_amount": str(money.net_amount),
                "sales_amount": str(money.sales_amount),
                "returns_amount": str(money.returns_amount),
            }
        )

    return totals


async def _health() -> Response:
    return _json({"status": "ok"})


def _key_check(api_key: str) -> Callable[..., Awaitable[None]]:
    expected = api_key.encode()

    async def check(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), expected):
            raise _refusal(
                401,
                "unauthorized",
                "the key is missing or wrong: send the header 'Authorization: Bearer KEY'",
                {"WWW-Authenticate": "Bearer"},
            )

    return check


class _Limiter:
    """A token bucket of one second's requests."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._tokens = max(1.0, rate or 1.0)
        self._at = time.monotonic()

    def seconds_to_wait(self) -> float:
        """Return zero where the request may pass."""
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


def _limits(limiter: _Limiter, faults: Faults) -> Callable[..., Awaitable[None]]:
    requests = count(1)

    async def check() -> None:
        if faults.every and next(requests) % faults.every == 0:
            raise _try_again(faults.status, faults.retry_after)
        wait = limiter.seconds_to_wait()
        if wait:
            raise _try_again(429, max(1, round(wait + 0.5)))

    return check


def _try_again(status: int, seconds: int) -> HTTPException:
    code = "too_many_requests" if status == 429 else "unavailable"
    headers = {"Retry-After": str(seconds)}
    return _refusal(status, code, f"try again in {seconds} s", headers)


def _refusal(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> HTTPException:
    detail: Any = {"code": code, "message": message, "parameter": None}
    return HTTPException(status, detail, headers)


async def _answer_refusal(request: Request, error: Exception) -> Response:
    """Return what a refusal of this API, or of the router, says as `{"error": {...}}`."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        message = f"there is no {request.url.path}; /openapi.json lists what there is"
        error = _refusal(404, "not_found", message)
    elif error.status_code == 405:
        message = f"{request.method} is not served here: only GET is"
        error = _refusal(405, "method_not_allowed", message)
    return _json({"error": error.detail}, error.status_code, error.headers)


async def _answer_bad_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    name = str(fault["loc"][-1])
    if fault["type"] == "extra_forbidden":
        message = f"{request.url.path} has no parameter {name!r}; /openapi.json lists those it has"
    else:
        reason = fault["msg"].removeprefix("Value error, ")
        message = f"{name}: {reason}; got {fault['input']!r}"
    detail = {"code": "invalid_parameter", "message": message, "parameter": name}
    return _json({"error": detail}, 400)


def _json(body: Any, status: int = 200, headers: Any = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
