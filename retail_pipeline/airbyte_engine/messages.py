"""The messages of a source, as the loader reads them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """A record of a stream; `emitted_at` in milliseconds since 1970."""

    stream: str
    data: dict[str, Any]
    emitted_at: int


@dataclass(frozen=True)
class StreamState:
    """The state of a stream after everything that was read so far."""

    stream: str
    state: dict[str, Any]


@dataclass(frozen=True)
class RenderedPage:
    """Records of a stream as lines of COPY's text format, each with its end.

    Attributes:
        stream: The stream.
        records: How many records were read.
        rows: For the stream's incoming table: number, time of emission, changes, columns.
        rejected: For the table of rejected records: stream, hash, record, reason.
        undeclared: Fields of the first and last record that the schema does not have.
    """

    stream: str
    records: int
    rows: bytes
    rejected: bytes
    undeclared: tuple[str, ...] = ()
