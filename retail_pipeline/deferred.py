"""psycopg for the modules that loading the definitions imports: imported at its first use.

Its import takes a tenth of the time of Dagster's, and the definitions contact no database.
Annotations that name it are quoted, and nothing of it is touched at a module's top level. Modules
that are imported only where a connection is used import psycopg itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from psycopg import conninfo, sql
else:

    class _Deferred:
        """A module's attributes; the first one that is asked for imports it."""

        def __init__(self, module: str) -> None:
            self._module = module

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self._module), name)

    psycopg = _Deferred("psycopg")
    conninfo = _Deferred("psycopg.conninfo")
    sql = _Deferred("psycopg.sql")

__all__ = ["conninfo", "psycopg", "sql"]
