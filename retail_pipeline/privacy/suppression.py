"""The suppression list: keyed hashes of forgotten customers, whose records the loader suppresses.

`forgetting` adds a person to the list and removes their data from all other tables.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from retail_pipeline.airbyte_engine.files import AirbyteFolder, ConnectionFile, StreamSettings
from retail_pipeline.airbyte_engine.suppression import Suppression
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.settings import SHORTEST_SUPPRESSION_KEY, Settings

FILE_LINES = "transactions_file"
"""The stream name of the rejected lines of a transactions file."""

_FILE_LINES_FIELD = "customer_id"
FILE_LINES_TEXT = "text"
"""The field with a whole line, if the line cannot be split into columns."""

_PARTS_OF_A_LINE = (
    re.compile(r"[^,;|\t\r\n]+"),
    re.compile(r'"((?:[^"]|"")+)"'),
    re.compile(r"[\w\-]+(?:\.[\w\-]+)*"),
)
"""Patterns of values in such a line: between separators, between quotes, or as whole words."""

KEY_FILE = "suppression.key"


@dataclass(frozen=True)
class SuppressionKey:
    """The secret key of the hashes, without which they cannot be traced to ids."""

    secret: bytes

    @classmethod
    def of(cls, settings: Settings, *, create: bool = False) -> "SuppressionKey":
        """Return the key of the settings, else of the key file under `RETAIL_HOME` (mode 0600).

        Args:
            settings: The settings with the key, or with the home of the key file.
            create: Whether to create the file if there is no key yet.

        Raises:
            PipelineError: There is no key, or it is too short.
        """
        if settings.suppression_key is not None:
            return cls(settings.suppression_key.encode())
        path = settings.home / KEY_FILE
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_hex(SHORTEST_SUPPRESSION_KEY))
        try:
            key = path.read_text().strip()
        except (IsADirectoryError, PermissionError, UnicodeDecodeError):
            raise PipelineError(
                f"the suppression key in {path} cannot be read: restore the file from a backup; "
                "with another key forgotten customers would come back"
            ) from None
        except FileNotFoundError:
            raise PipelineError(
                f"the database lists forgotten customers, but their key is missing: set "
                f"RETAIL_SUPPRESSION_KEY, or restore {path}"
            ) from None
        if len(key) < SHORTEST_SUPPRESSION_KEY:
            raise PipelineError(
                f"the suppression key in {path} has fewer than {SHORTEST_SUPPRESSION_KEY} "
                "characters: restore the file from a backup, or remove it if nobody was forgotten"
            )
        return cls(key.encode())

    @property
    def id(self) -> str:
        """Return a short digest that identifies the key without revealing it."""
        return self.digest("which key is this")[:16]

    def digest(self, text: str) -> str:
        """Return the HMAC-SHA256 of a text in hexadecimal."""
        return hmac.new(
            self.secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256
        ).hexdigest()

    def check_list(self, connection: psycopg.Connection) -> None:
        """Raise PipelineError if the list contains hashes of another key."""
        others = connection.execute(
            "select from quality.suppressed_customers where key_id <> %s limit 1", [self.id]
        )
        if others.fetchone() is not None:
            raise PipelineError(
                "the suppression key is not the one that forgotten customers were listed with: "
                "with another key they would come back; set RETAIL_SUPPRESSION_KEY to the old one"
            )


def read_suppression(
    settings: Settings, database: Database, folder: AirbyteFolder
) -> Suppression | None:
    """Return the suppression for the loader, or None if nobody was forgotten.

    Args:
        settings: The settings with the key.
        database: The database with the list.
        folder: The connection files, with the person field of each stream.

    Raises:
        PipelineError: The key is missing, or the list was made with another key.
    """
    with database.connect() as connection:
        customers = _column(connection, "select customer_hash from quality.suppressed_customers")
        records = _column(connection, "select record_hash from quality.suppressed_records")
        if not (customers or records):  # records stay after the last customer was taken back
            return None
        key = SuppressionKey.of(settings)
        key.check_list(connection)
    streams = [each for one in folder.connections.values() for each in one.streams]
    fields = {stream.name: stream.person_field for stream in streams if stream.person_field}
    fields[FILE_LINES] = _FILE_LINES_FIELD
    return Suppression(fields, key.digest, customers, records)


def _column(connection: psycopg.Connection, query: str) -> frozenset[str]:
    return frozenset(each for (each,) in connection.execute(query).fetchall())


def list_suppressed(database: Database) -> list[tuple[str, datetime]]:
    """Return the keyed hash and the time of each forgotten customer, the oldest first."""
    with database.connect() as connection:
        return connection.execute(
            "select customer_hash, suppressed_at from quality.suppressed_customers order by 2, 1"
        ).fetchall()


def take_back(settings: Settings, database: Database, customer_id: str) -> bool:
    """Remove a customer from the suppression list; return whether they were on it.

    Their records land when the source serves them again. Raises PipelineError as
    `read_suppression`.
    """
    with database.connect() as connection:
        connection.execute("lock table quality.source_state in exclusive mode")
        if not list_suppressed(database):
            return False
        key = SuppressionKey.of(settings)
        key.check_list(connection)
        done = connection.execute(
            "delete from quality.suppressed_customers where customer_hash = %s",
            [key.digest(customer_id)],
        )
    return done.rowcount > 0


def suppresses_line(suppression: Suppression, line: Mapping[str, Any]) -> bool:
    """Return whether a rejected line of a file is suppressed.

    In a line that cannot be split into columns, any value may be the id of a forgotten customer.

    Args:
        suppression: The forgotten customers.
        line: The line, in the form of a rejected record.
    """
    text = line.get(FILE_LINES_TEXT)
    if text is None:
        return suppression.suppresses(FILE_LINES, line)
    found = {part for parts in _PARTS_OF_A_LINE for part in parts.findall(text)}
    values = {form for part in found for form in (part, part.strip(), part.strip(' "'))}
    return any(suppression.digest(value) in suppression.values for value in values)


def refuse_newly_forgotten(connection: psycopg.Connection, known: Suppression | None) -> None:
    """Raise if a customer was forgotten after a sync had read the suppression list.

    Args:
        connection: The committing transaction, which locks the row of the pipeline's state.
        known: The list that the sync has read.

    Raises:
        PipelineError: The list has grown since.
    """
    row = connection.execute("select count(*) from quality.suppressed_customers").fetchone()
    if row != (len(known.values) if known else 0,):
        raise PipelineError("a customer was forgotten while this sync was at work: run it again")


def remove_landed(
    connection: psycopg.Connection,
    digest: Callable[[str], str],
    namespace: str,
    stream: StreamSettings,
    customer_ids: Sequence[str],
) -> int:
    """Delete customers' landed records and store them as suppressed; return their number.

    Args:
        connection: The caller's transaction.
        digest: The function that returns the keyed hash of a text.
        namespace: The schema of the landing tables.
        stream: The stream; without a person field nothing is deleted.
        customer_ids: The ids of the customers.
    """
    customer = stream.person_field
    if customer is None or not customer_ids:
        return 0
    rows = connection.execute(
        sql.SQL("delete from {} where {}::text = any(%s) returning {}").format(
            sql.Identifier(namespace, stream.name),
            sql.Identifier(customer),
            sql.SQL(", ").join(map(sql.Identifier, stream.key)),
        ),
        [list(customer_ids)],
    ).fetchall()
    records = [dict(zip(stream.key, row, strict=True)) for row in rows]
    enter_suppressed(connection, digest, stream, records)
    return len(records)


def enter_suppressed(
    connection: psycopg.Connection,
    digest: Callable[[str], str],
    stream: StreamSettings,
    records: Sequence[Mapping[str, Any]],
) -> None:
    """Store the digests of records' keys in `quality.suppressed_records`."""
    suppression = Suppression({}, digest, frozenset())
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into quality.suppressed_records values (%s, %s) on conflict do nothing",
            [
                (stream.name, suppression.record_digest(stream.name, stream.key, record))
                for record in records
            ],
        )


def sweep(
    settings: Settings, database: Database, folder: AirbyteFolder, connection_file: ConnectionFile
) -> None:
    """Delete rows of forgotten customers after a real Airbyte server, which has no list, synced."""
    suppression = read_suppression(settings, database, folder)
    if suppression is None:
        return
    with database.connect() as connection:
        for stream in connection_file.streams:
            customer = stream.person_field
            if customer is None:
                continue
            rows = connection.execute(
                sql.SQL("select distinct {0}::text from {1} where {0} is not null").format(
                    sql.Identifier(customer),
                    sql.Identifier(connection_file.namespace, stream.name),
                )
            ).fetchall()
            back = [each for (each,) in rows if suppression.digest(each) in suppression.values]
            remove_landed(connection, suppression.digest, connection_file.namespace, stream, back)
