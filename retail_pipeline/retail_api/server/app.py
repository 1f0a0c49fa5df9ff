"""The HTTP application of the retail API: its routes, key check, parameters and errors.

FastAPI checks the parameters and writes `/openapi.json` from the models in `schema`. Answers are
the JSON that `pages` renders; records are not validated again. `serve` runs the server.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from retail_pipeline.retail_api.records import totals_of
from retail_pipeline.retail_api.server import schema
from retail_pipeline.retail_api.server.pages import StreamPages, stream_pages
from retail_pipeline.retail_api.source.dataset import RetailDataset

_PAGES: dict[str, Any] = {
    "products": schema.Page[schema.Product],
    "users": schema.Page[schema.User],
    "transactions": schema.Page[schema.Transaction],
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": schema.ErrorAnswer, "description": "A parameter is wrong; the answer names it."},
    401: {"model": schema.ErrorAnswer, "description": "The key is missing or wrong."},
    "default": {"model": schema.ErrorAnswer, "description": "Another refusal."},
}

Endpoint = Callable[..., Awaitable[Response]]


def create_app(dataset: RetailDataset, *, api_key: str) -> FastAPI:
    """Return the API over one dataset.

    Args:
        dataset: The records before an as-of date.
        api_key: The key that clients send as `Authorization: Bearer KEY`.
    """
    app = FastAPI(
        title="Retail API",
        version="1",
        description="Records that were recorded before the API's as-of date, ordered by "
        "(updated_at, id). Times are UTC with microseconds.",
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            HTTPException: _answer_refusal,
            RequestValidationError: _answer_bad_parameter,
        },
    )
    pages = stream_pages(dataset.records)
    guarded: dict[str, Any] = {
        "responses": _REFUSALS,
        "dependencies": [Depends(_key_check(api_key))],
    }
    for name, answer in _PAGES.items():
        route = app.get(
            f"/v1/{name}", summary=f"{name}, page by page", response_model=answer, **guarded
        )
        route(_page_endpoint(pages[name]))
    app.get(
        "/v1/totals",
        summary="Counts and amounts; net = sales - returns",
        response_model=schema.TotalsAnswer,
        **guarded,
    )(_totals_endpoint(dataset, pages))
    app.get("/health", summary="Whether the API answers", response_model=schema.Health)(_health)
    return app


def _page_endpoint(pages: StreamPages) -> Endpoint:
    async def page(query: Annotated[schema.PageQuery, Query()]) -> Response:
        rendered = pages.page(
            since=query.updated_since,
            until=query.updated_until,
            after=query.cursor,
            limit=query.limit,
        )
        return Response(rendered, media_type="application/json")

    return page


def _totals_endpoint(dataset: RetailDataset, pages: dict[str, StreamPages]) -> Endpoint:
    everything = dataset.records

    async def totals(query: Annotated[schema.TotalsQuery, Query()]) -> Response:
        known = {name: each.count_before(query.updated_until) for name, each in pages.items()}
        found = dataset.totals
        if known["transactions"] < len(everything.transactions):
            transactions = everything.transactions.iloc[: known["transactions"]]
            lines = int(transactions["line_count"].sum())
            found = totals_of(transactions, everything.items.iloc[:lines])
        return _json(
            {
                "as_of": dataset.as_of.isoformat(),
                **known,
                "sales": found.sales,
                "returns": found.returns,
                "lines": found.lines,
                "net_amount": str(found.net_amount),
                "sales_amount": str(found.sales_amount),
                "returns_amount": str(found.returns_amount),
            }
        )

    return totals


async def _health() -> Response:
    return _json({"status": "ok"})


def _key_check(api_key: str) -> Callable[..., Awaitable[None]]:
    expected = api_key.encode()
    bearer = HTTPBearer(auto_error=False, scheme_name="key")

    async def check(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), expected):
            raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})

    return check


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, message = {
        401: (
            "unauthorized",
            "the key is missing or wrong: send the header 'Authorization: Bearer KEY'",
        ),
        404: ("not_found", f"there is no {request.url.path}; /openapi.json lists all paths"),
        405: ("method_not_allowed", f"{request.method} is not served here: only GET is"),
    }.get(error.status_code, ("refused", error.detail))
    detail = {"code": code, "message": message, "parameter": None}
    return _json({"error": detail}, error.status_code, error.headers)


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
