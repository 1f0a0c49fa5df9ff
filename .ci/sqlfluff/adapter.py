"""dbt's `adapter` for the SQL lint, which renders templates without dbt and for PostgreSQL."""

from collections.abc import Callable
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context


@pass_context
def dispatch(context: Context, name: str, *_packages: Any) -> Callable[..., Any]:
    """Return the PostgreSQL variant of a macro, else the one for all databases."""
    macro: Callable[..., Any] = context.get(f"postgres__{name}") or context[f"default__{name}"]
    return macro
