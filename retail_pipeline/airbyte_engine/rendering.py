"""Records as lines of COPY's text format, and the rules for values that do not fit their columns.

A misfit is a value that does not fit its column. A misfit in a key, a cursor or a required field
rejects the record; any other misfit becomes null and is noted in `_airbyte_meta.changes`. An array
of objects is a misfit if one of its elements is. In an optional field of an element, only that
field becomes null: `items[2].quantity`, for example.

The module has no side effects: the same code runs in the reading and in the loading process.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from retail_pipeline.airbyte_engine.columns import Column, columns_of
from retail_pipeline.airbyte_engine.messages import RenderedPage
from retail_pipeline.airbyte_engine.values import MisfitError, json_text, storable

LONGEST_KEY = 600
"""Most characters of a key: PostgreSQL indexes at most 2,704 bytes, and a character may take four.
"""

_SPECIAL = re.compile(r"[\\\t\n\r]")
_NULL = "\\N"
_NULLED = {"change": "NULLED", "reason": "DESTINATION_TYPECAST_ERROR"}


@dataclass
class _Misfits:
    """The misfits of a page, by the index of the record.

    Attributes:
        reasons: The reason for which a record is rejected.
        nulled: The fields of a record that become null.
    """

    reasons: dict[int, str] = field(default_factory=dict)
    nulled: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    def reject(self, position: int, reason: str) -> None:
        """Mark a record as rejected; only its first reason is stored."""
        self.reasons.setdefault(position, reason)


@dataclass(frozen=True)
class Renderer:
    """The conversion of one stream's records to lines of COPY's text format.

    Attributes:
        stream: The stream's name.
        columns: The stream's columns.
        key: The columns of the primary key.
    """

    stream: str
    columns: Sequence[Column]
    key: Sequence[str]

    @classmethod
    def of(
        cls, stream: str, schema: Mapping[str, Any], key: Sequence[str], cursor: Sequence[str]
    ) -> "Renderer":
        """Return the renderer of a stream, from its JSON schema, key and cursor."""
        return cls(stream, columns_of(schema, identity=[*key, *cursor]), key)

    def render(
        self, records: Sequence[Mapping[str, Any]], *, first: int, emitted_at: int
    ) -> RenderedPage:
        """Return a page as lines of COPY's text format.

        Args:
            records: The records in the order of the source, at least one.
            first: The number of the first record within its sync. Of two versions of a record with
                the same cursor, the one with the higher number is loaded.
            emitted_at: The time of reading, in milliseconds since 1970.
        """
        misfits = _Misfits()
        columns = [self._texts(column, records, misfits) for column in self.columns]
        changes = [_NULL] * len(records)
        for position, places in misfits.nulled.items():
            changes[position] = _escaped(json_text([{"field": each, **_NULLED} for each in places]))
        numbers = [f"{number}\t{emitted_at}" for number in range(first, first + len(records))]
        rows = [
            f"{line}\n" for line in map("\t".join, zip(numbers, changes, *columns, strict=True))
        ]
        for position in sorted(misfits.reasons, reverse=True):
            del rows[position]
        rejected = [
            rejected_line(self.stream, records[position], reason)
            for position, reason in sorted(misfits.reasons.items())
        ]
        return RenderedPage(
            stream=self.stream,
            records=len(records),
            rows="".join(rows).encode(),
            rejected="".join(rejected).encode(),
            undeclared=tuple(sorted({*records[0], *records[-1]} - self._declared)),
        )

    def accepts_key_of(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record has a valid primary key."""
        misfits = _Misfits()
        for column in self.columns:
            if column.name in self.key:
                self._texts(column, [record], misfits)
        return not misfits.reasons

    @cached_property
    def _declared(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns)

    @cached_property
    def _longest_key(self) -> int:
        return LONGEST_KEY // len(self.key)

    def _texts(
        self, column: Column, records: Sequence[Mapping[str, Any]], misfits: _Misfits
    ) -> list[str]:
        """Return the values of a column as COPY text, and add its misfits to `misfits`."""
        values = [record.get(column.name) for record in records]
        text = column.text
        try:
            texts = [None if value is None else text(value) for value in values]
        except MisfitError:
            texts = [
                None if value is None else _text_or_misfit(column, value, position, misfits)
                for position, value in enumerate(values)
            ]
        if column.required and None in texts:
            for position, value in enumerate(values):
                if value is None:
                    misfits.reject(position, f"{column.name} is missing")
        if column.name in self.key:
            self._check_key(texts, misfits)
        return _copied(texts)

    def _check_key(self, texts: Sequence[str | None], misfits: _Misfits) -> None:
        for position, text in enumerate(texts):
            if text == "":
                misfits.reject(position, "the key is empty")
            elif text is not None and len(text) > self._longest_key:
                misfits.reject(position, f"the key is longer than {self._longest_key} characters")


def rejected_line(stream: str, record: Mapping[str, Any], reason: str) -> str:
    """Return a rejected record as a COPY line: `stream, record_hash, record, reason`."""
    values = [stream, record_hash(record), json_text(record), storable(reason)]
    return "\t".join(map(_escaped, values)) + "\n"


def record_hash(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record's content, whatever the order of its fields."""
    text = orjson.dumps(storable(record), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def _text_or_misfit(column: Column, value: Any, position: int, misfits: _Misfits) -> str | None:
    """Return a value's text; for a misfit, add it to `misfits` and return the text to load."""
    try:
        return column.text(value)
    except MisfitError as misfit:
        if misfit.repaired is not None:
            misfits.nulled[position] += [f"{column.name}{place}" for place in misfit.places]
            return json_text(misfit.repaired)
        if column.required:
            misfits.reject(position, f"{column.name} {misfit}")
        else:
            misfits.nulled[position].append(column.name)
        return None


def _copied(texts: Sequence[str | None]) -> list[str]:
    """Return texts with special characters escaped and nulls written as COPY expects."""
    present = [text for text in texts if text is not None]
    escaped = list(map(_escaped, present)) if _SPECIAL.search("".join(present)) else present
    if len(escaped) == len(texts):
        return escaped
    following = iter(escaped)
    return [_NULL if text is None else next(following) for text in texts]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
