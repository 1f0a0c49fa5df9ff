"""What the API says it holds: counts per stream, and the money of the transactions."""

import time
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from retail_pipeline.errors import PipelineError

if TYPE_CHECKING:
    import httpx

_TIMEOUT_SECONDS = 120
_ATTEMPTS = 3
_TRANSIENT = (429, 500, 502, 503, 504)
_LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class ApiTotals:
    """The answer of `/v1/totals`: records by stream, lines, and exact amounts."""

    records: dict[str, int]
    lines: int
    net_amount: Decimal
    sales_amount: Decimal
    returns_amount: Decimal


class ApiUnavailableError(PipelineError):
    """The API does not answer now; trying again later may help."""


def fetch_totals(api_url: str, api_key: str, until: str) -> ApiTotals:
    """Ask the API for its totals over records updated before an instant.

    Raises:
        ApiUnavailableError: It does not answer, or is overloaded, three times in a row.
        PipelineError: It refuses the key or the request, or its answer cannot be read.
    """
    import httpx

    for attempt in range(_ATTEMPTS):
        try:
            answer = _ask(api_url, api_key, until)
        except httpx.TransportError as error:
            problem, wait = str(error) or type(error).__name__, 0.5
        else:
            if answer.status_code not in _TRANSIENT:
                return _understood(answer)
            problem, wait = f"HTTP {answer.status_code}", _retry_after(answer)
        if attempt < _ATTEMPTS - 1:
            time.sleep(wait)
    raise ApiUnavailableError(
        f"the retail API does not answer /v1/totals ({problem}): "
        "check RETAIL_SOURCE and that the API is up"
    )


def _ask(api_url: str, api_key: str, until: str) -> "httpx.Response":
    import httpx

    loopback = api_url.startswith(("http://127.0.0.1", "http://localhost"))
    return httpx.get(
        f"{api_url}/v1/totals",
        params={"updated_until": until},
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=_TIMEOUT_SECONDS,
        trust_env=not loopback,  # a proxy of the environment does not know our loopback
    )


def _retry_after(answer: "httpx.Response") -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT_SECONDS) if text.isdigit() else 1.0


def _understood(answer: "httpx.Response") -> ApiTotals:
    if not answer.is_success:
        raise PipelineError(
            f"the retail API refuses /v1/totals with HTTP {answer.status_code}: "
            "check RETAIL_SOURCE and RETAIL_API_KEY"
        )
    try:
        return _read(answer.json())
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise PipelineError(f"the answer of /v1/totals cannot be read: {error!r}") from None


def _read(answer: dict[str, Any]) -> ApiTotals:
    return ApiTotals(
        records={name: int(answer[name]) for name in ("products", "users", "transactions")},
        lines=int(answer["lines"]),
        net_amount=Decimal(str(answer["net_amount"])),
        sales_amount=Decimal(str(answer["sales_amount"])),
        returns_amount=Decimal(str(answer["returns_amount"])),
    )
