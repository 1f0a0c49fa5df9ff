"""Table I/O for every stage: query, read, publish, execute.

Frames are transferred as Arrow (ADBC); psycopg does everything else.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import sql

from retail_pipeline.errors import PipelineError, UnavailableError
from retail_pipeline.postgres import address, arrow
from retail_pipeline.postgres.logins import renew_login, role_url, weaknesses
from retail_pipeline.postgres.session import Role, session_url

if TYPE_CHECKING:
    import pandas as pd

    from retail_pipeline.postgres.migrate import Differences

Parameters = Mapping[str, Any] | Sequence[Any]
Connected = TypeVar("Connected")


_REFUSALS = ("authentication failed", "no pg_hba.conf entry", "does not exist", "permission denied")
"""Parts of messages of a reachable server that would refuse again."""

_CANCELLED = "canceling statement due to user request"
_MIGRATION_ATTEMPTS = 5
_PASSING_ERRORS = (
    psycopg.errors.InternalError_,  # "tuple concurrently updated"
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DeadlockDetected,
)
"""Errors of two migrations at once in two databases of a server, which share roles and rights."""


class Database:
    """A PostgreSQL database, contacted on first use.

    Args:
        url: The owner's `postgresql://` address, or a function that returns it (and may start a
            server).
        role: The role whose login and rights the sessions have; None for the owner's.
    """

    def __init__(self, url: str | Callable[[], str], role: Role | None = None) -> None:
        self._url = url
        self.role = role

    @property
    def url(self) -> str:
        """The address of the owner, or of the role's login; it contains a password: do not log it.

        With a role, use it after a connection, which creates a missing login.
        """
        owner = self._owner_url()
        return role_url(owner, self.role) if self.role else owner

    def as_role(self, role: Role) -> "Database":
        """Return the same database with the login and the rights of a role (`logins`)."""
        return Database(self._owner_url, role)

    def _owner_url(self) -> str:
        if callable(self._url):
            self._url = self._url()
        return address.canonical(self._url)

    @property
    def location(self) -> str:
        """Host, port and database name, without credentials, for messages."""
        parts = address.read(self._owner_url())
        return f"{parts.get('host')}:{parts.get('port', 5432)}/{parts.get('dbname')}"

    @property
    def name(self) -> str:
        """The database's name on its server."""
        return str(address.read(self._owner_url())["dbname"])

    def connect(self, *, autocommit: bool = False) -> psycopg.Connection:
        """Return a new connection; as a context manager it commits or rolls back, and closes.

        Raises:
            PipelineError: The server cannot be reached or refuses; the message names it.
        """

        def connected() -> psycopg.Connection:
            return psycopg.connect(session_url(self.url), autocommit=autocommit)

        return self._opened(connected, psycopg.OperationalError)

    def execute(self, statement: str, params: Parameters | None = None) -> int:
        """Execute one statement in a separate transaction; return the number of affected rows."""
        with self.connect() as connection:
            return connection.execute(statement, params).rowcount

    def query(self, statement: str, params: Parameters | None = None) -> "pd.DataFrame":
        """Return the result of a query as a frame.

        `numeric` becomes float64, `date` datetime64[ns] at midnight, `timestamptz`
        datetime64[ns, UTC], and `jsonb` text.

        Args:
            statement: One query; psycopg's placeholders (`%s`, `%(name)s`) take `params`.
            params: Values for the placeholders.
        """
        statement = self._bound(statement, params)
        with self._connect_arrow() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return _to_pandas(cursor.fetch_arrow_table())

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Parameters | None = None,
    ) -> "pd.DataFrame":
        """Return a table, or some of its columns and rows, as a frame; types are as in `query`.

        The server converts `numeric` to doubles, which gives the same bits and is a third faster.

        Args:
            table: `schema.name`.
            columns: The columns, in the order of the frame; all by default.
            where: A SQL condition, with psycopg's placeholders.
            params: Values for the placeholders.
        """
        condition = self._bound(f" where {where}" if where else "", params)
        with self._connect_arrow() as connection, connection.cursor() as cursor:
            types = _column_types(cursor, table)
            chosen = ", ".join(
                f'"{name}"::float8 as "{name}"' if types.get(name) == "numeric" else f'"{name}"'
                for name in columns or types
            )
            cursor.execute(f"select {chosen} from {table}{condition}")
            return _to_pandas(cursor.fetch_arrow_table())

    def publish(
        self,
        table: str,
        frame: "pd.DataFrame | Iterable[pd.DataFrame]",
        key: Sequence[str],
        *,
        replace_where: str | None = None,
        create: bool = False,
    ) -> int:
        """Insert or update a frame's rows in a table, in one transaction; return their number.

        Rows are matched by `key`: new ones are inserted, existing ones updated. Values are cast to
        the table's types; dicts and lists become JSON.

        Args:
            table: `schema.name`; the table must exist, unless `create` is set.
            frame: The rows; columns are named as in the table. Rows in parts, one part or more with
                the same columns, are in memory one part at a time.
            key: The columns of the table's primary key.
            replace_where: A SQL condition; rows that meet it are deleted first (`true` for all).
            create: Whether to create the table from the frame's types, or to add missing columns.

        Returns:
            The number of rows written.

        Raises:
            PipelineError: Two rows of the frame have the same key, or the table lacks a column.
        """
        import pandas as pd

        rows = 0
        columns: list[str] = []
        with self._connect_arrow() as connection, connection.cursor() as cursor:
            for part in [frame] if isinstance(frame, pd.DataFrame) else frame:
                _refuse_repeated_keys(table, part, key)
                mode = "append" if columns else "create"
                cursor.adbc_ingest("incoming", _to_arrow(part), mode=mode, temporary=True)
                rows, columns = rows + len(part), [str(name) for name in part.columns]
            if create:
                _evolve(cursor, table, columns, key)
            types = _column_types(cursor, table)
            unknown = [name for name in columns if name not in types]
            if unknown:
                raise PipelineError(f"{table} has no column {', '.join(unknown)}")
            if replace_where:
                cursor.execute(f"delete from {table} where {replace_where}")
            cursor.execute(_merge(table, columns, key, types))
            cursor.execute("drop table pg_temp.incoming")
            connection.commit()
        return rows

    def replace(self, table: str, frame: "pd.DataFrame", where: str) -> int:
        """Replace the rows that meet a condition with a frame's rows, in one transaction.

        Use it for many rows: they are copied directly into the table, which is three times as fast
        as `publish` with its temporary table. No remaining row may have the key of a new one.

        Args:
            table: `schema.name`; text, integer, double precision, boolean and date columns only.
            frame: The rows; columns are named as in the table.
            where: A SQL condition; the rows that meet it are deleted.

        Returns:
            The number of rows written.

        Raises:
            PipelineError: The table lacks a column of the frame, or has it in an unsupported type.
        """
        schema, name = table.split(".")
        with self._connect_arrow() as connection, connection.cursor() as cursor:
            rows = _typed(_to_arrow(frame), table, _column_types(cursor, table))
            cursor.execute(f"delete from {table} where {where}")
            cursor.adbc_ingest(name, rows, mode="append", db_schema_name=schema)
            connection.commit()
        return len(frame)

    def migrate(self, *, repair: bool = False) -> list[str]:
        """Apply the new or changed SQL scripts of `database/`; return their names.

        Args:
            repair: Whether to apply all scripts, which also restores lost rights.

        Raises:
            PipelineError: The server is too old, or the login may not create the roles; the message
                names the remedy.
        """
        from retail_pipeline.postgres.migrate import migrate

        attempt = 0
        while True:
            attempt += 1
            try:
                with self.connect() as connection:
                    return migrate(connection, repair=repair)
            except _PASSING_ERRORS:
                if attempt == _MIGRATION_ATTEMPTS:
                    raise
                time.sleep(0.1 * attempt)
            except psycopg.errors.LockNotAvailable as error:
                raise PipelineError(
                    f"the migration of {self.location} waits for a table that a run holds "
                    f"({error.diag.message_primary}): repeat it when the run is over"
                ) from None

    def differences(self) -> "Differences":
        """Return the differences between the database and the scripts, without changing anything.

        Raises:
            PipelineError: The login may not create roles that are missing.
        """
        from retail_pipeline.postgres.migrate import differences

        with self.connect() as connection:
            return differences(connection)

    def foreign_code(self) -> list[str]:
        """Return a line for each object that can run code of others (`foreign_code`)."""
        from retail_pipeline.postgres.foreign_code import foreign_code

        with self.connect() as connection:
            return foreign_code(connection)

    def weaknesses(self) -> list[str]:
        """Return a line for each reason why a role's login could act as the owner (`logins`)."""
        with self.connect() as connection:
            return weaknesses(connection)

    @staticmethod
    def _bound(statement: str, params: Parameters | None) -> str:
        """Return a statement, or a part of one, with its placeholders replaced by values."""
        if params is None:
            return statement
        if isinstance(params, Mapping):
            return statement % {name: _literal(value) for name, value in params.items()}
        return statement % tuple(map(_literal, params))

    @contextmanager
    def _connect_arrow(self) -> Iterator[Any]:
        from adbc_driver_manager import OperationalError

        connection = self._opened(lambda: arrow.connect(session_url(self.url)), OperationalError)
        with connection, _interrupted_as_python_is():
            yield connection

    def _opened(self, connect: Callable[[], Connected], refused: type[Exception]) -> Connected:
        """Return a new connection; a role's login that is missing or refused is set once."""
        try:
            return connect()
        except refused as error:
            if self.role is None:
                raise self._unusable(error) from None
        with Database(self._owner_url()).connect() as owner:
            renew_login(owner, self.role)
        try:
            return connect()
        except refused as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> PipelineError:
        words = str(error).strip().splitlines() or [type(error).__name__]
        refused = any(sign in str(error) for sign in _REFUSALS)
        kind = PipelineError if refused else UnavailableError
        return kind(
            f"PostgreSQL at {self.location} cannot be used: {words[0]}. "
            "Check RETAIL_DATABASE_URL and that the server is up "
            "(without the setting, the embedded server is used)."
        )


@contextmanager
def _interrupted_as_python_is() -> Iterator[None]:
    """Raise KeyboardInterrupt where ADBC reports a Ctrl-C as a cancelled statement."""
    from adbc_driver_manager import OperationalError

    try:
        yield
    except OperationalError as error:
        if _CANCELLED in str(error):
            raise KeyboardInterrupt from error
        raise


def _to_pandas(table: Any) -> "pd.DataFrame":
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        metadata = field.metadata or {}
        if metadata.get(b"ADBC:postgresql:typname") == b"numeric":
            table = table.set_column(
                position, field.name, table.column(position).cast(pa.string()).cast(pa.float64())
            )
    return table.to_pandas(date_as_object=False, coerce_temporal_nanoseconds=True)


def _refuse_repeated_keys(table: str, frame: "pd.DataFrame", key: Sequence[str]) -> None:
    twice = frame.duplicated(subset=list(key))
    if twice.any():
        example = frame.loc[twice, list(key)].iloc[0].to_dict()
        raise PipelineError(f"{table}: {int(twice.sum())} rows repeat a key, such as {example}")


def _to_arrow(frame: "pd.DataFrame") -> Any:
    import pandas as pd
    import pyarrow as pa

    plain = frame.copy(deep=False)
    for name in plain.select_dtypes("object").columns:
        if pd.api.types.infer_dtype(plain[name], skipna=True) == "mixed":
            plain[name] = plain[name].map(_as_json, na_action="ignore")
    return pa.Table.from_pandas(plain, preserve_index=False)


def _as_json(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _typed(rows: Any, table: str, types: Mapping[str, str]) -> Any:
    """Return the rows cast to the types of a table's columns, as a binary COPY needs them."""
    import pyarrow as pa

    known = {
        **{"text": pa.string(), "double precision": pa.float64(), "boolean": pa.bool_()},
        **{"integer": pa.int32(), "bigint": pa.int64(), "date": pa.date32()},
    }
    for name in rows.column_names:
        if name not in types:
            raise PipelineError(f"{table} has no column {name}")
        if types[name] not in known:
            raise PipelineError(f"{table}.{name} is {types[name]}, which takes `publish`")
    fields = [pa.field(name, known[types[name]]) for name in rows.column_names]
    return rows.cast(pa.schema(fields))


def _column_types(cursor: Any, table: str) -> dict[str, str]:
    cursor.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        f"where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped order by attnum"
    )
    return dict(cursor.fetchall())


def _evolve(cursor: Any, table: str, columns: Sequence[str], key: Sequence[str]) -> None:
    keys = ", ".join(_quote(name) for name in key)
    cursor.execute(f"select to_regclass('{table}') is null")
    if cursor.fetchone()[0]:
        cursor.execute(f"create table {table} as select * from pg_temp.incoming limit 0")
        cursor.execute(f"alter table {table} add primary key ({keys})")
    types, incoming = _column_types(cursor, table), _column_types(cursor, "pg_temp.incoming")
    for name in columns:
        if name not in types:
            cursor.execute(f"alter table {table} add column {_quote(name)} {incoming[name]}")


def _merge(table: str, columns: Sequence[str], key: Sequence[str], types: Mapping[str, str]) -> str:
    names = ", ".join(_quote(name) for name in columns)
    values = ", ".join(f"{_quote(name)}::{types[name]}" for name in columns)
    updates = ", ".join(
        f"{_quote(name)} = excluded.{_quote(name)}" for name in columns if name not in key
    )
    action = f"update set {updates}" if updates else "nothing"
    keys = ", ".join(_quote(name) for name in key)
    return (
        f"insert into {table} ({names}) select {values} from pg_temp.incoming "
        f"on conflict ({keys}) do {action}"
    )


def _literal(value: Any) -> str:
    return sql.Literal(value).as_string(None)


def _quote(name: str) -> str:
    return sql.Identifier(name).as_string(None)
