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
    """Records of a stream as COPY's text: rows for its incoming table, and rejected records.

    `undeclared` are fields that were served and that the schema does not have.
    """

    stream: str
    records: int
    rows: bytes
    rejected: bytes
    undeclared: tuple[str, ...] = ()
