"""Records as lines of COPY's text format, by the loader's rules for values that do not fit.

Pure: no database and no process. It runs beside the loader, or in the source process where that
saves a pass over the records. A page whose values all fit is rendered column by column; any other
page is halved until the misfits are alone, and those records are rendered one by one, by `_slow`,
which is the definition of the rules. Both ways give rows that PostgreSQL reads as the same values.
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

from retail_pipeline.airbyte_engine.columns import (
    Column,
    Lines,
    MisfitError,
    json_text,
    storable,
)

_SPECIAL = re.compile(r"[\\\t\n\r\x00]")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3})?)?Z?")
_NULL = "\\N"
LONGEST_KEY = 600
"""Characters of a key: PostgreSQL indexes no more than 2,704 bytes, and one may have four."""
_ALONE = 16
"""Pages of no more records are not halved any more."""

Texts = list[str]


class _UnevenError(Exception):
    """A column holds values that need a closer look."""


@dataclass
class Rendered:
    """Lines for the stream's incoming table and for the records kept aside, each with its end.

    `undeclared` are fields of the page's first and last record that the schema does not have.
    """

    rows: Texts = field(default_factory=list)
    rejected: Texts = field(default_factory=list)
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

    def render(
        self, records: Sequence[Mapping[str, Any]], *, first: int, emitted_at: int
    ) -> Rendered:
        """Render a page.

        Args:
            records: The records in the order of the source.
            first: The number of the first one in its sync; later numbers win.
            emitted_at: When they were read, in milliseconds since 1970.
        """
        result = Rendered()
        self._page(records, first, emitted_at, result)
        if records:
            result.undeclared = {*records[0], *records[-1]} - self._declared
        return result

    def takes_key_of(self, record: Mapping[str, Any]) -> bool:
        """Whether a record has a key, and one that the table takes."""
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

    def _page(
        self, records: Sequence[Mapping[str, Any]], first: int, emitted_at: int, into: Rendered
    ) -> None:
        if not records:
            return
        try:
            into.rows += self._quick(records, first, emitted_at)
        except (_UnevenError, TypeError, ValueError, UnicodeError):
            if len(records) <= _ALONE:
                for number, record in enumerate(records, first):
                    self._slow(record, number, emitted_at, into)
            else:
                half = len(records) // 2
                self._page(records[:half], first, emitted_at, into)
                self._page(records[half:], first + half, emitted_at, into)

    def _quick(
        self, records: Sequence[Mapping[str, Any]], first: int, emitted_at: int
    ) -> Iterable[str]:
        prefix = f"\t{emitted_at}\t{_NULL}"
        numbers = [f"{number}{prefix}" for number in range(first, first + len(records))]
        texts = [numbers]
        for column in self.columns:
            values = [record.get(column.name) for record in records]
            if column.required and not column.nullable and None in values:
                raise _UnevenError
            if column.name in self.key and "" in values:
                raise _UnevenError
            texts.append(_quick_texts(column, values))
            if column.name in self.key and max(map(len, texts[-1])) > self._longest_key:
                raise _UnevenError
        return map("{}\n".format, map("\t".join, zip(*texts, strict=True)))

    def _slow(
        self, record: Mapping[str, Any], number: int, emitted_at: int, into: Rendered
    ) -> None:
        values: list[str | None] = [str(number), str(emitted_at), None]
        changes: list[dict[str, str]] = []
        for column in self.columns:
            value = record.get(column.name)
            if value is None:
                if column.required and not column.nullable:
                    self._reject(record, f"{column.name} is missing", into)
                    return
                values.append(None)
                continue
            try:
                if column.lines is not None and type(value) is list:
                    value = self._lines(column, column.lines, record, value, changes, into)
                values.append(column.text(value))
            except MisfitError as misfit:
                if column.required:
                    self._reject(record, f"{column.name} {misfit}", into)
                    return
                values.append(None)
                changes.append(_change(column.name))
        if any(record[name] == "" for name in self.key):
            self._reject(record, "the key is empty", into)
            return
        if any(len(str(record[name])) > self._longest_key for name in self.key):
            self._reject(record, f"the key is longer than {self._longest_key} characters", into)
            return
        if changes:
            values[2] = json_text(changes)
        into.rows.append(copy_line(values))

    def _lines(
        self,
        column: Column,
        lines: Lines,
        record: Mapping[str, Any],
        elements: list[Any],
        changes: list[dict[str, str]],
        into: Rendered,
    ) -> list[Any]:
        if lines.sound(elements):
            return elements
        result = lines.sorted_out(elements)
        key = {name: record.get(name) for name in self.key}
        for position, element, problem in result.rejected:
            aside = {**key, "position": position, "line": element}
            into.rejected.append(rejected_line(f"{self.stream}.{column.name}", aside, problem))
            changes.append(_change(f"{column.name}[{position}]"))
        changes.extend(_change(f"{column.name}{place}") for place in result.nulled)
        return result.kept

    def _reject(self, record: Mapping[str, Any], reason: str, into: Rendered) -> None:
        into.rejected.append(rejected_line(self.stream, record, reason))


def rejected_line(stream: str, record: Mapping[str, Any], reason: str) -> str:
    """Return a record kept aside as a line for `stream, record_hash, record, reason`."""
    return copy_line([stream, record_hash(record), json_text(record), storable(reason)])


def record_hash(record: Mapping[str, Any]) -> str:
    """Return a hash of a record's content, the same for every order of its fields."""
    text = orjson.dumps(storable(record), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def copy_line(values: Sequence[str | None]) -> str:
    """Return values as a line of COPY's text format, its end included."""
    return "\t".join([_NULL if v is None else _escaped(v) for v in values]) + "\n"


def _escaped(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text or "\t" in text or "\r" in text:
        text = text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return text


def _quick_texts(column: Column, values: list[Any]) -> Texts:
    if column.sql_type == "jsonb":
        return _quick_json(column, values)
    quick = _QUICK.get(column.sql_type)
    if quick is None:
        return _one_by_one(column, values)
    if column.allowed is not None and not set(values) - {None} <= column.allowed:
        raise _UnevenError
    return quick(values)


def _quick_strings(values: list[Any]) -> Texts:
    """Text that needs neither escaping nor a look at its Unicode."""
    distinct = set(values)
    distinct.discard(None)
    together = "".join(distinct)  # TypeError: not all are text
    if _SPECIAL.search(together):
        raise _UnevenError
    if not together.isascii():
        together.encode()  # UnicodeEncodeError: a lone surrogate
    return _with_nulls(values)


def _quick_instants(values: list[Any]) -> Texts:
    distinct = set(values)
    distinct.discard(None)
    if not all(map(_INSTANT.fullmatch, distinct)):
        raise _UnevenError
    for text in distinct:
        datetime.fromisoformat(text)  # ValueError: no such day or hour
    return _with_nulls(values)


def _quick_numbers(values: list[Any]) -> Texts:
    if not set(map(type, values)) <= _NUMBERS or not _all_finite(values):
        raise _UnevenError
    return [_NULL if value is None else repr(value) for value in values]


def _all_finite(numbers: Iterable[Any]) -> bool:
    """Whether numbers and nulls are finite; not where their sum is not, which costs only time."""
    try:
        return math.isfinite(sum(filter(None, numbers)))
    except OverflowError:
        return False


def _quick_json(column: Column, values: list[Any]) -> Texts:
    lines = column.lines
    if lines is None or set(map(type, values)) != {list}:
        return _one_by_one(column, values)
    elements = list(chain.from_iterable(values))
    if elements and set(map(type, elements)) != {dict}:
        raise _UnevenError
    for name, types, required, _ in lines.fields:
        given = list(map(dict.get, elements, repeat(name)))
        if not set(map(type, given)) <= (types if required else types | {type(None)}):
            raise _UnevenError
        if float in types and not _all_finite(given):
            raise _UnevenError
    texts = [orjson.dumps(value).decode() for value in values]
    # Without a backslash there is nothing escaped in the JSON and nothing to escape for COPY.
    if "\\" in "".join(texts):
        return [_escaped(json_text(value)) for value in values]
    return texts


def _one_by_one(column: Column, values: list[Any]) -> Texts:
    try:
        return [_NULL if v is None else _escaped(column.text(v)) for v in values]
    except MisfitError:
        raise _UnevenError from None


def _with_nulls(values: list[Any]) -> Texts:
    if None in values:
        return [_NULL if value is None else value for value in values]
    return values


def _change(place: str) -> dict[str, str]:
    return {"field": place, "change": "NULLED", "reason": "DESTINATION_TYPECAST_ERROR"}


_NUMBERS = frozenset({int, float, type(None)})
_QUICK: Mapping[str, Callable[[list[Any]], Texts]] = {
    "varchar": _quick_strings,
    "timestamptz": _quick_instants,
    "numeric": _quick_numbers,
}
