"""What every session on the database starts with, in one place: role, time zone, timeouts.

Only the address is made here; connecting is `database`'s.
"""

from collections.abc import Mapping
from enum import StrEnum

from retail_pipeline.postgres import address

CONNECT_TIMEOUT_SECONDS = 10
LOCK_TIMEOUT = "30s"
"""Nobody waits longer for a lock: whoever holds it that long is stuck or does a rebuild."""
STATEMENT_TIMEOUT = "2h"
"""Ends what was forgotten, not what is long: a merge or a mart of years of history stays below."""


class Role(StrEnum):
    """The database roles by what they are for; rights are in `database/900_grants.sql`."""

    LOADER = "retail_loader"
    TRANSFORMER = "retail_transformer"
    SCIENTIST = "retail_scientist"
    READER = "retail_reader"


SESSION: Mapping[str, str] = {
    "timezone": "UTC",
    "lock_timeout": LOCK_TIMEOUT,
    "statement_timeout": STATEMENT_TIMEOUT,
}


def with_role(url: str, role: Role | None) -> str:
    """Return the address whose sessions have a role set from their first statement on."""
    return _with(url, f"-c role={role.value}") if role else url


def session_url(url: str) -> str:
    """Return the address with the time zone and the timeouts that our own sessions have."""
    settings = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    return _with(url, settings, connect_timeout=str(CONNECT_TIMEOUT_SECONDS))


def dbt_options() -> str:
    """Return libpq options for dbt's sessions: models may take as long as they need.

    A row from another core costs a model less than computing it, which PostgreSQL does not assume:
    by default it expects queries that return few rows.

    The role is the profile's: these options pass through the environment, where other sessions of
    the process may see them for a moment.
    """
    return f"-c lock_timeout={LOCK_TIMEOUT} -c parallel_tuple_cost=0.01"


def _with(url: str, options: str, **defaults: str) -> str:
    parts = {**defaults, **address.read(url)}
    parts["options"] = " ".join(filter(None, [parts.get("options"), options]))
    return address.written(parts)
