"""Arrow connections (ADBC) that open as fast as other connections.

The driver queries all types of a server before the first connection, which takes ten times as long
as connecting. This module does it only once per process and address.
"""

import threading
from collections import OrderedDict
from typing import Any, Final

_MOST_ADDRESSES: Final = 16

_TYPED: OrderedDict[str, Any] = OrderedDict()
"""The driver's database objects by address; they have the types, but no open connection."""

_LOCK = threading.Lock()


class _Lasting:
    """A stand-in for the driver's database object, which a connection would close with itself."""

    def close(self) -> None:
        """Do nothing, so that the database object stays open."""


def connect(url: str) -> Any:
    """Return a new connection (DB-API 2.0, not in autocommit).

    Args:
        url: The address, with the role and the session settings.

    Raises:
        adbc_driver_manager.OperationalError: The server cannot be reached or refuses.
    """
    from adbc_driver_manager import AdbcConnection
    from adbc_driver_postgresql import dbapi

    database = _typed(url)
    return dbapi.Connection(_Lasting(), AdbcConnection(database))


def _typed(url: str) -> Any:
    """Return the driver's database object of an address, with the types already queried."""
    import adbc_driver_postgresql

    with _LOCK:
        found = _TYPED.get(url)
        if found is None:
            found = _TYPED[url] = adbc_driver_postgresql.connect(url)
            while len(_TYPED) > _MOST_ADDRESSES:
                _TYPED.popitem(last=False)
        _TYPED.move_to_end(url)
        return found
