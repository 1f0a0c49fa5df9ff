"""The messages of a source that the loader reads."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """A record of a stream; `emitted_at` is in milliseconds since 1970."""

    stream: str
    data: dict[str, Any]
    emitted_at: int


@dataclass(frozen=True)
class StreamState:
    """The state of a stream after all records that were read so far."""

    stream: str
    state: dict[str, Any]


@dataclass(frozen=True)
class RenderedPage:
    """Records of a stream as lines of COPY's text format, each ending in a newline.

    Attributes:
        stream: The stream.
        records: The number of records read.
        rows: Lines for the stream's incoming table: number, time of emission, changes, columns.
        rejected: Lines for the table of rejected records: stream, hash, record, reason.
        undeclared: Fields of the first and last record that the schema does not have.
    """

    stream: str
    records: int
    rows: bytes
    rejected: bytes
    undeclared: tuple[str, ...] = ()
