"""What the API says it holds: counts per stream, and the money of the transactions."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx

from retail_pipeline.errors import PipelineError

_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class ApiTotals:
    """The answer of `/v1/totals`: records by stream, lines, and exact amounts."""

    records: dict[str, int]
    lines: int
    net_amount: Decimal
    sales_amount: Decimal
    returns_amount: Decimal


def fetch_totals(api_url: str, api_key: str, until: str) -> ApiTotals:
    """Ask the API for its totals over records updated before an instant.

    Raises:
        PipelineError: The API does not answer, refuses the key, or its answer cannot be read.
    """
    loopback = api_url.startswith(("http://127.0.0.1", "http://localhost"))
    try:
        answer = httpx.get(
            f"{api_url}/v1/totals",
            params={"updated_until": until},
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=_TIMEOUT_SECONDS,
            trust_env=not loopback,
        )
        answer.raise_for_status()
        return _read(answer.json())
    except httpx.HTTPStatusError as error:
        raise PipelineError(
            f"the retail API refuses /v1/totals with HTTP {error.response.status_code}: "
            "check RETAIL_SOURCE and RETAIL_API_KEY"
        ) from None
    except httpx.HTTPError as error:
        raise PipelineError(f"the retail API does not answer /v1/totals: {error}") from None
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
