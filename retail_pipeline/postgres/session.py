"""The settings of every database session: role, time zone and timeouts, as address options.

`database` opens the connections.
"""

from collections.abc import Mapping
from enum import StrEnum

from retail_pipeline.postgres import address

CONNECT_TIMEOUT_SECONDS = 10
LOCK_TIMEOUT = "30s"
"""Longest wait for a lock: a session that holds one for longer is stuck or rebuilds the layers."""
STATEMENT_TIMEOUT = "2h"
"""Longest statement: more than a merge or a mart over years of history needs."""


class Role(StrEnum):
    """The database roles; their rights are in `database/900_grants.sql`."""

    LOADER = "retail_loader"
    TRANSFORMER = "retail_transformer"
    SCIENTIST = "retail_scientist"
    READER = "retail_reader"


SESSION: Mapping[str, str] = {
    # Names of tables are qualified. A function of another schema never hides one of PostgreSQL.
    "search_path": "pg_catalog",
    "timezone": "UTC",
    "lock_timeout": LOCK_TIMEOUT,
    "statement_timeout": STATEMENT_TIMEOUT,
}


def with_role(url: str, role: Role | None) -> str:
    """Return the address with an option that sets the role when a session starts."""
    return _with(url, f"-c role={role.value}") if role else url


def session_url(url: str) -> str:
    """Return the address with the time zone and the timeouts of the pipeline's sessions."""
    settings = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    return _with(url, settings, connect_timeout=str(CONNECT_TIMEOUT_SECONDS))


def dbt_options() -> str:
    """Return the libpq options of dbt's sessions, which have no statement timeout.

    `parallel_tuple_cost` is lower than PostgreSQL's default, which suits queries with few result
    rows: for models that write many rows, parallel plans are faster.

    The options are passed in the environment, where other sessions of the process may see them for
    a moment. Therefore the role is not among them; dbt's profile sets it.
    """
    return f"-c search_path=pg_catalog -c lock_timeout={LOCK_TIMEOUT} -c parallel_tuple_cost=0.01"


def _with(url: str, options: str, **defaults: str) -> str:
    parts = {**defaults, **address.read(url)}
    parts["options"] = " ".join(filter(None, [parts.get("options"), options]))
    return address.written(parts)
