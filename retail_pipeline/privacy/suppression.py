"""The suppression list: keyed hashes of forgotten customers, by which the loader keeps them out.

`forgetting` adds to the list and removes a person beyond the landing tables.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from retail_pipeline.airbyte_engine.files import AirbyteFolder, ConnectionFile, StreamSettings
from retail_pipeline.airbyte_engine.suppression import Suppression
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.settings import SHORTEST_SUPPRESSION_KEY, Settings

FILE_LINES = "transactions_file"
"""Stream name of the rejected lines of a transactions file."""

_FILE_LINES_FIELD = "customer_id"
FILE_LINES_TEXT = "text"
"""Field of a whole line that has not the columns of its file."""

_PARTS_OF_A_LINE = (
    re.compile(r"[^,;|\t\r\n]+"),
    re.compile(r'"((?:[^"]|"")+)"'),
    re.compile(r"[\w\-]+(?:\.[\w\-]+)*"),
)
"""Patterns of values: between separators, between quotes, or a word as `mentions` finds it."""

KEY_FILE = "suppression.key"


@dataclass(frozen=True)
class SuppressionKey:
    """The secret without which the hashes of ids cannot be traced to ids."""

    secret: bytes

    @classmethod
    def of(cls, settings: Settings, *, create: bool = False) -> "SuppressionKey":
        """Return the key of the settings, else of the file under `RETAIL_HOME` (mode 0600).

        Args:
            settings: The settings with the key, or with the home of its file.
            create: Make the file where there is no key yet.

        Raises:
            PipelineError: There is no key, or it can be guessed.
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
        except FileNotFoundError:
            raise PipelineError(
                f"the database lists forgotten customers, but their key is not here: set "
                f"RETAIL_SUPPRESSION_KEY, or bring back {path}"
            ) from None
        if len(key) < SHORTEST_SUPPRESSION_KEY:
            raise PipelineError(
                f"the suppression key in {path} has fewer than {SHORTEST_SUPPRESSION_KEY} "
                "characters: bring back the file of a backup, or remove it if nobody was forgotten"
            )
        return cls(key.encode())

    @property
    def id(self) -> str:
        """Return a short digest that tells keys apart and says nothing about the key."""
        return self.digest("which key is this")[:16]

    def digest(self, text: str) -> str:
        """Return the HMAC-SHA256 of a text, in hexadecimal digits."""
        return hmac.new(
            self.secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256
        ).hexdigest()

    def check_list(self, connection: psycopg.Connection) -> None:
        """Raise PipelineError where the list was made with another key."""
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
    """Return the suppression that the loader applies, or None where nobody was forgotten.

    Args:
        settings: The settings with the key.
        database: The database with the list.
        folder: The connection files, which name the field of the customer by stream.

    Raises:
        PipelineError: The key is missing, or is not the one that the list was made with.
    """
    with database.connect() as connection:
        customers = _column(connection, "select customer_hash from quality.suppressed_customers")
        if not customers:
            return None
        key = SuppressionKey.of(settings)
        key.check_list(connection)
        records = _column(connection, "select record_hash from quality.suppressed_records")
    streams = [each for one in folder.connections.values() for each in one.streams]
    fields = {stream.name: stream.person_field for stream in streams if stream.person_field}
    fields[FILE_LINES] = _FILE_LINES_FIELD
    return Suppression(fields, key.digest, customers, records)


def _column(connection: psycopg.Connection, query: str) -> frozenset[str]:
    return frozenset(each for (each,) in connection.execute(query).fetchall())


def suppresses_line(suppression: Suppression, line: Mapping[str, Any]) -> bool:
    """Return whether a bad line of a file is kept out; one without columns by any of its values.

    Args:
        suppression: The forgotten customers.
        line: The line as it would be stored among the rejected records.
    """
    text = line.get(FILE_LINES_TEXT)
    if text is None:
        return suppression.suppresses(FILE_LINES, line)
    found = {part for parts in _PARTS_OF_A_LINE for part in parts.findall(text)}
    values = {form for part in found for form in (part, part.strip(), part.strip(' "'))}
    return any(suppression.digest(value) in suppression.values for value in values)


def refuse_newly_forgotten(connection: psycopg.Connection, known: Suppression | None) -> None:
    """Refuse to commit records that were read before somebody was forgotten.

    Args:
        connection: The committing transaction, which holds the state's row.
        known: The list that the records were read with.

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
    """Delete customers' landed records and enter them as suppressed; return how many they were.

    Args:
        connection: The caller's transaction.
        digest: The key's hash.
        namespace: The landing tables' schema.
        stream: A stream; one that names no customer is left alone.
        customer_ids: The customers.
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
    """Count records as suppressed from now on, by digests of their keys."""
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
    """Delete the rows of forgotten customers that a real Airbyte has landed: it knows no list."""
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
