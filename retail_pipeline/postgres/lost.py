"""Detection of lost database connections, which may work again in a moment."""

import psycopg

from retail_pipeline.errors import UnavailableError

_LOST = (
    "server closed the connection",
    "terminating connection",
    "connection refused",
    "connection reset",
    "the database system is",
    "no connection to the server",
    "could not connect to server",
    "connection already closed",
)


def is_lost_connection(error: BaseException) -> bool:
    """Return whether an error means that the database could not be reached or went away."""
    if isinstance(error, UnavailableError):
        return True
    is_of_database = isinstance(error, psycopg.OperationalError) or type(
        error
    ).__module__.startswith("adbc_driver_manager")
    return is_of_database and says_lost_connection(str(error))


def says_lost_connection(words: str) -> bool:
    """Return whether a message of PostgreSQL or a driver describes a lost connection."""
    return any(sign in words.lower() for sign in _LOST)
