"""PostgreSQL addresses: read as libpq does, written so that every reader means the same.

libpq (psycopg, ADBC, dbt) takes `postgres://`, and `#`, `?` and `[` in a password, which others do
not; SQLAlchemy (Dagster's storage) decodes no percent codes in a host or a database's name. What is
written here is plain to all. Nothing is validated: `settings` does that.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from psycopg import conninfo, pq

SOCKET_FOLDER: Final = "/var/run/postgresql"
"""Where psycopg's libpq looks for a server of no host; the libpq of ADBC looks elsewhere."""

_ADDED: Final = (b"host", b"port", b"user", b"password")
_NO_OPTIONS: Final = ("user", "password", "host", "port", "dbname")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def read(address: str) -> dict[str, str]:
    """Return libpq's parameters of an address, decoded, with what libpq adds on this machine.

    libpq takes a missing user, password, host or port from `PGUSER` and its kin, or from the
    account. It is done here because the parts of the pipeline have more than one libpq, with
    different defaults. What is empty is left out.

    Raises:
        psycopg.ProgrammingError: libpq cannot read it; the message repeats parts of it.
        UnicodeError: It is not UTF-8.
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
    """Return the one spelling of an address that every part of the pipeline reads alike."""
    return written(read(address))


def written(parts: Mapping[str, str]) -> str:
    """Return `postgresql://user:password@host:port/dbname?options` of libpq's parameters.

    A socket's folder, and a host or database whose name needs percent codes, are among the options.
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
    """Return a name that needs no percent code, else nothing."""
    return name if quote(name, safe="") == name else ""
