"""The API's own totals: the records of each stream, and the amounts of the transactions.

The source's file declares their addresses under `totals`; only declared totals are checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from retail_pipeline.airbyte_engine.files import (
    AirbyteFolder,
    ConnectionFile,
    StreamTotals,
    resolved,
)
from retail_pipeline.errors import PipelineError

ADDRESS, KEY = "RETAIL_API_URL", "RETAIL_API_KEY"
MONEY_STREAM = "transactions"
"""The stream whose lines and amounts are checked if the API has totals of them."""

_TIMEOUT_SECONDS = 120
_TRANSIENT = (429, 500, 502, 503, 504)
_RETRIES = Retry(
    total=2,
    backoff_factor=0.5,
    status_forcelist=_TRANSIENT,
    retry_after_max=60,
    raise_on_status=False,
)


class Money(NamedTuple):
    """The number of lines and the exact amounts of all transactions; returns are positive."""

    lines: Decimal
    sales_amount: Decimal
    returns_amount: Decimal
    net_amount: Decimal


@dataclass(frozen=True)
class Totals:
    """The API's totals of a stream.

    Attributes:
        records: The number of records.
        money: Lines and amounts of the transactions; None for other streams.
        tolerance: The share by which the landed data may differ, from the source's file.
    """

    records: int
    money: Money | None = None
    tolerance: float = 0


class ApiUnavailableError(PipelineError):
    """The API does not answer; a later attempt may succeed."""


def has_money(stream: str, totals: StreamTotals | None) -> bool:
    """Return whether a stream's totals include lines and amounts."""
    return stream == MONEY_STREAM and totals is not None and {*Money._fields} <= {*totals.fields}


def fetch_totals(
    folder: AirbyteFolder, connection: ConnectionFile, values: Mapping[str, str | None]
) -> dict[str, Totals]:
    """Return the API's totals by stream, for the streams whose totals the files declare.

    Args:
        folder: The connection files.
        connection: The connection.
        values: The values of the references in the source files.

    Raises:
        ApiUnavailableError: The API gave no answer or was overloaded, three times in a row.
        PipelineError: The API refuses the key or the request, its answer cannot be read, or no
            request can be built from the address or the key.
    """
    source = folder.sources[connection.source]
    key = values[KEY] if f"${{{KEY}}}" in str(source.configuration) else None
    found = {}
    for name in (each.name for each in connection.streams if each.name in source.totals):
        declared = source.totals[name]
        parameters = resolved(declared.parameters, values, f"totals of {name}")
        answer = _answer(str(values[ADDRESS]), declared.path, parameters, key)
        try:
            found[name] = _totals(name, declared, answer)
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise PipelineError(
                f"the answer of {declared.path} cannot be read: {error!r}"
            ) from None
    return found


def _totals(stream: str, declared: StreamTotals, answer: Mapping[str, Any]) -> Totals:
    money = None
    if has_money(stream, declared):
        money = Money(*(Decimal(str(answer[declared.fields[name]])) for name in Money._fields))
    return Totals(int(answer[declared.fields["records"]]), money, declared.tolerance)


def _answer(address: str, path: str, parameters: Mapping[str, str], key: str | None) -> Any:
    with requests.Session() as session:
        # A proxy from the environment cannot reach this machine's loopback.
        session.trust_env = not address.startswith(("http://127.0.0.1", "http://localhost"))
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=_RETRIES))
        try:
            answer = session.get(
                f"{address}{path}",
                params=dict(parameters),
                headers={"Authorization": f"Bearer {key}"} if key else {},
                # Without it, a login in the address or in ~/.netrc would replace the key.
                auth=(lambda request: request) if key else None,
                timeout=_TIMEOUT_SECONDS,
            )
            problem = f"HTTP {answer.status_code}" if answer.status_code in _TRANSIENT else ""
        except (requests.ConnectionError, requests.Timeout) as error:
            problem = str(getattr(error.args[0], "reason", type(error).__name__))
        except (requests.RequestException, ValueError) as error:
            # The error's message may contain a part of the address or of the key.
            raise PipelineError(
                f"the retail API cannot be queried for {path} ({type(error).__name__}): "
                "check RETAIL_SOURCE and RETAIL_API_KEY"
            ) from None
    if problem:
        raise ApiUnavailableError(
            f"the retail API does not answer {path} ({problem}): "
            "check RETAIL_SOURCE and that the API is up"
        )
    if not answer.ok:
        raise PipelineError(
            f"the retail API refuses {path} with HTTP {answer.status_code}: "
            "check RETAIL_SOURCE and RETAIL_API_KEY"
        )
    try:
        return answer.json()
    except ValueError as error:
        raise PipelineError(f"the answer of {path} cannot be read: {error!r}") from None
