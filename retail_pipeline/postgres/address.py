"""PostgreSQL addresses: parsed as libpq does, and written in a form that all clients parse alike.

libpq (psycopg, ADBC, dbt) accepts `postgres://`, and `#`, `?` and `[` in a password; other clients
do not. SQLAlchemy (Dagster's storage) does not decode percent codes in a host or a database name.
`written` returns addresses that all of them accept. `settings` validates addresses.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from psycopg import conninfo, pq

SOCKET_FOLDER: Final = "/var/run/postgresql"
"""The folder of the server's socket if an address has no host, as in psycopg's libpq; the libpq of
ADBC has another default."""

_ADDED: Final = (b"host", b"port", b"user", b"password")
_NO_OPTIONS: Final = ("user", "password", "host", "port", "dbname")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def read(address: str) -> dict[str, str]:
    """Return the decoded libpq parameters of an address, including libpq's defaults.

    libpq takes a missing user, password, host or port from `PGUSER` and similar variables, or from
    the account. The defaults are added here because the pipeline's clients use several libpq
    versions with different ones. Empty parameters are omitted.

    Raises:
        psycopg.ProgrammingError: libpq cannot parse the address; the message repeats parts of it.
        UnicodeError: The address is not UTF-8.
    """
    given = {
        name: str(value) for name, value in conninfo.conninfo_to_dict(address).items() if value
    }
    added = {
        option.keyword.decode(): option.val.decode()
        for option in pq.Conninfo.get_defaults()
        if option.keyword in _ADDED and option.val
    }
    host = {"host": given["hostaddr"]} if "hostaddr" in given else {}
    return {"host": SOCKET_FOLDER, **added, **host, **given}


def canonical(address: str) -> str:
    """Return an address in the form that all clients of the pipeline parse alike."""
    return written(read(address))


def written(parts: Mapping[str, str]) -> str:
    """Return the address `postgresql://user:password@host:port/dbname?options` of libpq parameters.

    A socket's folder, and a host or database whose name needs percent codes, become options.
    """
    given = {name: value for name, value in parts.items() if value}
    host, place = _host(given.get("host", "")), _plain(given.get("dbname", ""))
    port = f":{given['port']}" if "port" in given else ""
    aside = {
        **({} if host else {"host": given.get("host", "")}),
        **({} if place else {"dbname": given.get("dbname", "")}),
        **{name: value for name, value in given.items() if name not in _NO_OPTIONS},
    }
    query = urlencode({name: v for name, v in aside.items() if v}, quote_via=quote, safe="")
    return f"postgresql://{_login(given)}{host}{port}/{place}{f'?{query}' if query else ''}"


def _login(parts: Mapping[str, str]) -> str:
    user = quote(parts.get("user", ""), safe="")
    if "password" not in parts:
        return f"{user}@" if user else ""
    return f"{user}:{quote(parts['password'], safe='')}@"


def _host(name: str) -> str:
    return f"[{name}]" if _IPV6.fullmatch(name) else _plain(name)


def _plain(name: str) -> str:
    """Return a name if it needs no percent codes, else an empty text."""
    return name if quote(name, safe="") == name else ""
