"""The totals that an API has of itself: records per stream, and the money of the transactions.

Their address is in the source's file, under `totals`; numbers that are not declared there are not
checked.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from retail_pipeline.airbyte_engine.files import AirbyteFolder, StreamTotals
from retail_pipeline.errors import PipelineError

if TYPE_CHECKING:
    import httpx  # at run time where it is used, as loading the code sends no request

ADDRESS, KEY = "RETAIL_API_URL", "RETAIL_API_KEY"
MONEY_STREAM = "transactions"
"""The stream whose lines and amounts are checked where the API has their totals."""

_RECORDS = "records"
_MONEY_FIELDS = frozenset({"lines", "net_amount", "sales_amount", "returns_amount"})
_TIMEOUT_SECONDS = 120
_ATTEMPTS = 3
_TRANSIENT = (429, 500, 502, 503, 504)
_LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class ApiMoney:
    """Lines and exact amounts of all transactions; returns are positive."""

    lines: int
    net_amount: Decimal
    sales_amount: Decimal
    returns_amount: Decimal


@dataclass(frozen=True)
class ApiTotals:
    """The API's own numbers; a stream without declared totals is in none of them.

    Attributes:
        records: Records by stream.
        money: Lines and amounts of the transactions.
        tolerances: The shares by which streams may differ, as the source's file allows.
    """

    records: dict[str, int] = field(default_factory=dict)
    money: ApiMoney | None = None
    tolerances: dict[str, float] = field(default_factory=dict)


class ApiUnavailableError(PipelineError):
    """The API does not answer now; trying again later may help."""


def declared_totals(folder: AirbyteFolder, stream: str) -> StreamTotals | None:
    """Return where the API has the totals of a stream, if it has them."""
    for connection in folder.connections.values():
        if any(each.name == stream for each in connection.streams):
            return folder.sources[connection.source].totals.get(stream)
    return None


def has_money(stream: str, totals: StreamTotals | None) -> bool:
    """Return whether a stream's totals have lines and amounts that can be checked."""
    return stream == MONEY_STREAM and totals is not None and set(totals.fields) >= _MONEY_FIELDS


def fetch_totals(folder: AirbyteFolder, values: Mapping[str, str | None]) -> ApiTotals:
    """Return the API's totals, all those that the files declare.

    Args:
        folder: The connection files.
        values: The values of references, as for the sources.

    Raises:
        ApiUnavailableError: It does not answer, or is overloaded, three times in a row.
        PipelineError: It refuses the key or the request, its answer cannot be read, or the address
            or the key is such that no request can be made of it.
    """
    answers: dict[str, Any] = {}
    found = ApiTotals()
    money = None
    for connection in folder.connections.values():
        source = folder.sources[connection.source]
        has_key = f"${{{KEY}}}" in str(source.configuration)
        for name in (each.name for each in connection.streams):
            totals = source.totals.get(name)
            if totals is None:
                continue
            parameters = totals.resolved(values)
            request = f"{totals.path}?{sorted(parameters.items())}"
            if request not in answers:  # streams may share one
                answers[request] = _answer(totals.path, parameters, values, has_key)
            found.tolerances[name] = totals.tolerance
            try:
                found.records[name] = int(answers[request][totals.fields[_RECORDS]])
                if has_money(name, totals):
                    money = _money(answers[request], totals.fields)
            except (KeyError, TypeError, ValueError, InvalidOperation) as error:
                raise PipelineError(
                    f"the answer of {totals.path} cannot be read: {error!r}"
                ) from None
    return ApiTotals(found.records, money, found.tolerances)


def _answer(
    path: str, parameters: Mapping[str, str], values: Mapping[str, str | None], has_key: bool
) -> Any:
    import httpx

    url = f"{values[ADDRESS]}{path}"
    problem = ""
    for attempt in range(_ATTEMPTS):
        try:
            answer = httpx.get(
                url,
                params=dict(parameters),
                headers={"Authorization": f"Bearer {values[KEY]}"} if has_key else {},
                timeout=_TIMEOUT_SECONDS,
                # A proxy of the environment does not know our loopback.
                trust_env=not url.startswith(("http://127.0.0.1", "http://localhost")),
            )
        except httpx.TransportError as error:
            problem, wait = str(error) or type(error).__name__, 0.5
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            # Its message may hold a part of the address or of the key.
            raise PipelineError(
                f"the retail API cannot be asked for {path} ({type(error).__name__}): "
                "check RETAIL_SOURCE and RETAIL_API_KEY"
            ) from None
        else:
            if answer.status_code not in _TRANSIENT:
                return _content(path, answer)
            problem, wait = f"HTTP {answer.status_code}", _retry_after(answer)
        if attempt < _ATTEMPTS - 1:
            time.sleep(wait)
    raise ApiUnavailableError(
        f"the retail API does not answer {path} ({problem}): "
        "check RETAIL_SOURCE and that the API is up"
    )


def _retry_after(answer: "httpx.Response") -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT_SECONDS) if text.isdigit() else 1.0


def _content(path: str, answer: "httpx.Response") -> Any:
    if not answer.is_success:
        raise PipelineError(
            f"the retail API refuses {path} with HTTP {answer.status_code}: "
            "check RETAIL_SOURCE and RETAIL_API_KEY"
        )
    try:
        return answer.json()
    except ValueError as error:
        raise PipelineError(f"the answer of {path} cannot be read: {error!r}") from None


def _money(answer: Mapping[str, Any], fields: Mapping[str, str]) -> ApiMoney:
    return ApiMoney(
        lines=int(answer[fields["lines"]]),
        net_amount=Decimal(str(answer[fields["net_amount"]])),
        sales_amount=Decimal(str(answer[fields["sales_amount"]])),
        returns_amount=Decimal(str(answer[fields["returns_amount"]])),
    )
