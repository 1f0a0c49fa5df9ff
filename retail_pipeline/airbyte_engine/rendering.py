"""Records as lines of COPY's text format, and the rules for values that do not fit.

The rules: a misfit in a key, a cursor or a required field rejects the record; any other misfit is
nulled and noted in `_airbyte_meta.changes`; a bad element of an array of objects leaves the array
and is rejected on its own. `_add_record` applies them record by record and is their definition. A
page whose values all fit is rendered column by column, which is faster; any other page is halved
until the misfits are alone. Both ways give rows that PostgreSQL reads as the same values.

Pure: the same code runs in the process that reads and in the one that loads.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import chain, repeat
from typing import Any

import orjson

from retail_pipeline.airbyte_engine.columns import Column, columns_of
from retail_pipeline.airbyte_engine.values import MisfitError, json_text, storable

LONGEST_KEY = 600
"""Characters of a key: PostgreSQL indexes at most 2,704 bytes, and a character may have four."""

_SPECIAL = re.compile(r"[\\\t\n\r\x00]")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3})?)?Z?")
_NULL = "\\N"
_SMALLEST_PAGE = 16
"""Pages of no more records are rendered record by record instead of being halved."""


class _UnevenError(Exception):
    """A column of a page holds values that need a closer look."""


@dataclass
class Rendered:
    """Lines, each with its end, of a page of records.

    Attributes:
        rows: For the stream's incoming table: number, time of emission, changes, columns.
        rejected: For the table of rejected records: stream, hash, record, reason.
        undeclared: Fields of the page's first and last record that the schema does not have.
    """

    rows: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    undeclared: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Renderer:
    """Renders the records of one stream.

    Attributes:
        stream: Its name.
        columns: Its columns.
        key: The primary key's columns.
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
    ) -> Rendered:
        """Return a page's lines.

        Args:
            records: The records in the order of the source.
            first: The number of the first one in its sync; later numbers win.
            emitted_at: When they were read, in milliseconds since 1970.
        """
        result = Rendered()
        self._add_page(records, first, emitted_at, result)
        if records:
            result.undeclared = {*records[0], *records[-1]} - self._declared
        return result

    def accepts_key_of(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record has a key that fits its columns."""
        for column in self._key_columns:
            value = record.get(column.name)
            if value is None or value == "" or len(str(value)) > self._longest_key:
                return False
            try:
                column.text(value)
            except MisfitError:
                return False
        return True

    @cached_property
    def _key_columns(self) -> list[Column]:
        return [column for column in self.columns if column.name in self.key]

    @cached_property
    def _declared(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns)

    @cached_property
    def _longest_key(self) -> int:
        return LONGEST_KEY // max(len(self.key), 1)

    def _add_page(
        self, records: Sequence[Mapping[str, Any]], first: int, emitted_at: int, result: Rendered
    ) -> None:
        if not records:
            return
        try:
            result.rows += self._by_column(records, first, emitted_at)
        except (_UnevenError, TypeError, ValueError, UnicodeError):
            if len(records) <= _SMALLEST_PAGE:
                for number, record in enumerate(records, first):
                    self._add_record(record, number, emitted_at, result)
            else:
                half = len(records) // 2
                self._add_page(records[:half], first, emitted_at, result)
                self._add_page(records[half:], first + half, emitted_at, result)

    def _by_column(
        self, records: Sequence[Mapping[str, Any]], first: int, emitted_at: int
    ) -> Iterable[str]:
        prefix = f"\t{emitted_at}\t{_NULL}"
        texts = [[f"{number}{prefix}" for number in range(first, first + len(records))]]
        for column in self.columns:
            values = [record.get(column.name) for record in records]
            if column.required and not column.nullable and None in values:
                raise _UnevenError
            texts.append(_texts(column, values))
            if column.name in self.key and (
                "" in values or max(map(len, texts[-1])) > self._longest_key
            ):
                raise _UnevenError
        return map("{}\n".format, map("\t".join, zip(*texts, strict=True)))

    def _add_record(
        self, record: Mapping[str, Any], number: int, emitted_at: int, result: Rendered
    ) -> None:
        values: list[str | None] = [str(number), str(emitted_at), None]
        changes: list[str] = []
        for column in self.columns:
            value = record.get(column.name)
            if value is None and column.required and not column.nullable:
                return self._reject(record, f"{column.name} is missing", result)
            try:
                if column.elements is not None and type(value) is list:
                    value = self._fitting_elements(column, record, changes, result)
                values.append(None if value is None else column.text(value))
            except MisfitError as misfit:
                if column.required:
                    return self._reject(record, f"{column.name} {misfit}", result)
                values.append(None)
                changes.append(column.name)
        if any(record[name] == "" for name in self.key):
            return self._reject(record, "the key is empty", result)
        if any(len(str(record[name])) > self._longest_key for name in self.key):
            reason = f"the key is longer than {self._longest_key} characters"
            return self._reject(record, reason, result)
        if changes:
            values[2] = json_text([{"field": each, **_NULLED} for each in changes])
        result.rows.append(_line(values))
        return None

    def _fitting_elements(
        self, column: Column, record: Mapping[str, Any], changes: list[str], result: Rendered
    ) -> list[Any]:
        assert column.elements is not None
        elements = column.elements.sort(record[column.name])
        key = {name: record.get(name) for name in self.key}
        for position, element, problem in elements.rejected:
            rejected = {**key, "position": position, "line": element}
            stream = f"{self.stream}.{column.name}"
            result.rejected.append(rejected_line(stream, rejected, problem))
            changes.append(f"{column.name}[{position}]")
        changes.extend(f"{column.name}{place}" for place in elements.nulled)
        return elements.kept

    def _reject(self, record: Mapping[str, Any], reason: str, result: Rendered) -> None:
        result.rejected.append(rejected_line(self.stream, record, reason))


def rejected_line(stream: str, record: Mapping[str, Any], reason: str) -> str:
    """Return a rejected record as a line for `stream, record_hash, record, reason`."""
    return _line([stream, record_hash(record), json_text(record), storable(reason)])


def record_hash(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record's content, the same for every order of its fields."""
    text = orjson.dumps(storable(record), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def _line(values: Sequence[str | None]) -> str:
    return "\t".join([_NULL if value is None else _escaped(value) for value in values]) + "\n"


def _escaped(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text or "\t" in text or "\r" in text:
        text = text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return text


def _texts(column: Column, values: list[Any]) -> list[str]:
    """Return a column's texts for COPY; raise where a value may be a misfit."""
    if column.elements is not None and set(map(type, values)) == {list}:
        return _array_texts(column, values)
    texts_of = _TEXTS.get(column.sql_type)
    if texts_of is None:
        try:
            return [_NULL if value is None else _escaped(column.text(value)) for value in values]
        except MisfitError:
            raise _UnevenError from None
    if column.allowed is not None and not set(values) - {None} <= column.allowed:
        raise _UnevenError
    return texts_of(values)


def _string_texts(values: list[Any]) -> list[str]:
    """Return strings that need neither escaping nor a look at their Unicode."""
    distinct = set(values)
    distinct.discard(None)
    together = "".join(distinct)  # TypeError: not all are text
    if _SPECIAL.search(together):
        raise _UnevenError
    if not together.isascii():
        together.encode()  # UnicodeEncodeError: a lone surrogate
    return _with_nulls(values)


def _instant_texts(values: list[Any]) -> list[str]:
    distinct = set(values)
    distinct.discard(None)
    if not all(map(_INSTANT.fullmatch, distinct)):
        raise _UnevenError
    for text in distinct:
        datetime.fromisoformat(text)  # ValueError: no such day or hour
    return _with_nulls(values)


def _number_texts(values: list[Any]) -> list[str]:
    if not set(map(type, values)) <= {int, float, type(None)} or not _all_finite(values):
        raise _UnevenError
    return [_NULL if value is None else repr(value) for value in values]


def _array_texts(column: Column, values: list[Any]) -> list[str]:
    assert column.elements is not None
    elements = list(chain.from_iterable(values))
    if elements and set(map(type, elements)) != {dict}:
        raise _UnevenError
    for each in column.elements.fields:
        given = list(map(dict.get, elements, repeat(each.name)))
        plain = each.plain_types if each.required else each.plain_types | {type(None)}
        if not set(map(type, given)) <= plain:
            raise _UnevenError
        if float in plain and not _all_finite(given):
            raise _UnevenError
    texts = [orjson.dumps(value).decode() for value in values]
    # Without a backslash nothing is escaped in the JSON, and nothing needs escaping for COPY.
    if "\\" in "".join(texts):
        return [_escaped(json_text(value)) for value in values]
    return texts


def _all_finite(numbers: Iterable[Any]) -> bool:
    """Return whether numbers and nulls are finite; False also where only their sum is not."""
    try:
        return math.isfinite(sum(filter(None, numbers)))
    except OverflowError:
        return False


def _with_nulls(values: list[Any]) -> list[str]:
    if None in values:
        return [_NULL if value is None else value for value in values]
    return values


_NULLED = {"change": "NULLED", "reason": "DESTINATION_TYPECAST_ERROR"}
_TEXTS: Mapping[str, Callable[[list[Any]], list[str]]] = {
    "varchar": _string_texts,
    "timestamptz": _instant_texts,
    "numeric": _number_texts,
}
