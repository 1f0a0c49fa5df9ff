"""Arrow connections (ADBC) that open as fast as any other.

The driver asks a server for all its types before the first connection, which takes ten times as
long as connecting. Here they are asked for once per process and address. No SQL of ours, no frames.
"""

import threading
from collections import OrderedDict
from typing import Any, Final

_MOST_ADDRESSES: Final = 16

_TYPED: OrderedDict[str, Any] = OrderedDict()
"""The driver's databases by address: types, and no open connection."""

_LOCK = threading.Lock()


class _Lasting:
    """Stands for a driver's database where a connection would close it together with itself."""

    def close(self) -> None:
        """Leave it open."""


def connect(url: str) -> Any:
    """Open a connection (DB-API 2.0, not in autocommit).

    Args:
        url: The address, with role and session settings.

    Raises:
        adbc_driver_manager.OperationalError: The server cannot be reached or refuses.
    """
    from adbc_driver_manager import AdbcConnection
    from adbc_driver_postgresql import dbapi

    database = _typed(url)
    return dbapi.Connection(_Lasting(), AdbcConnection(database))


def _typed(url: str) -> Any:
    """Return the driver's database of an address; it keeps the types of the first connection."""
    import adbc_driver_postgresql

    with _LOCK:
        found = _TYPED.get(url)
        if found is None:
            found = _TYPED[url] = adbc_driver_postgresql.connect(url)
            while len(_TYPED) > _MOST_ADDRESSES:
                _TYPED.popitem(last=False)
        _TYPED.move_to_end(url)
        return found
