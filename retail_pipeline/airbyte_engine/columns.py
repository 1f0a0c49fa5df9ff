"""From a JSON schema to columns: SQL types, and values that fit them or a reason why not.

Types follow Airbyte's PostgreSQL destination. The rule of what becomes of a misfit is in
`destination`; no SQL statement belongs here.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_LARGEST_BIGINT = 2**63 - 1
_WIDEST_OFFSET = timedelta(hours=15)

AIRBYTE_COLUMNS: Mapping[str, str] = {
    "_airbyte_raw_id": "varchar",
    "_airbyte_extracted_at": "timestamptz",
    "_airbyte_meta": "jsonb",
    "_airbyte_generation_id": "bigint",
}
"""The columns that come first in every landing table, with their SQL types."""


class MisfitError(ValueError):
    """A value does not fit its column; the message says why, without the column's name."""


@dataclass(frozen=True)
class Column:
    """A column of a stream: `text(value)` gives PostgreSQL's input text or raises `MisfitError`.

    `allowed` are the only values that it takes, where the schema lists them.
    """

    name: str
    sql_type: str
    text: Callable[[Any], str]
    required: bool
    nullable: bool
    lines: "Lines | None" = None
    allowed: frozenset[Any] | None = None


@dataclass(frozen=True)
class Lines:
    """The elements of an array column whose elements are flat objects.

    A bad element leaves the array, not its record; a bad optional field of an element is nulled.
    """

    fields: tuple[tuple[str, frozenset[type], bool, Callable[[Any], str]], ...]

    def sound(self, elements: Iterable[Any]) -> bool:
        """Say whether every element fits as it is; the quick way for nearly all records."""
        for element in elements:
            if type(element) is not dict:
                return False
            for name, types, required, _ in self.fields:
                value = element.get(name)
                if value is None:
                    if required:
                        return False
                elif type(value) not in types or not _is_finite(value):
                    return False
        return True

    def sorted_out(self, elements: Iterable[Any]) -> "SortedLines":
        """Return the elements that fit, what was nulled in them, and the others with reasons."""
        result = SortedLines()
        for position, element in enumerate(elements):
            problem = self._problem(element)
            if problem is not None:
                result.rejected.append((position, element, problem))
                continue
            mended = dict(element)
            for name in self._misfits(element):
                mended[name] = None
                result.nulled.append(f"[{position}].{name}")
            result.kept.append(mended)
        return result

    def _problem(self, element: Any) -> str | None:
        if type(element) is not dict:
            return "it is not an object"
        for name, _, required, text in self.fields:
            if required:
                try:
                    _required_text(text, element.get(name))
                except MisfitError as misfit:
                    return f"{name} {misfit}"
        return None

    def _misfits(self, element: Mapping[str, Any]) -> list[str]:
        names = []
        for name, _, _, text in self.fields:
            try:
                if element.get(name) is not None:
                    text(element[name])
            except MisfitError:
                names.append(name)
        return names


@dataclass
class SortedLines:
    """What became of an array's elements."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    nulled: list[str] = field(default_factory=list)
    rejected: list[tuple[int, Any, str]] = field(default_factory=list)


def columns_of(schema: Mapping[str, Any], *, identity: Iterable[str] = ()) -> list[Column]:
    """Return the columns of a stream in schema order.

    Args:
        schema: The stream's JSON schema.
        identity: Columns that are required whatever the schema says: key and cursor.
    """
    identity = set(identity)
    needed = identity | set(schema.get("required", ()))
    return [
        _column(name, declared, required=name in needed, identity=name in identity)
        for name, declared in schema["properties"].items()
    ]


def json_text(value: Any) -> str:
    """Return JSON that PostgreSQL takes: no NUL and no lone surrogate survives."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        return orjson.dumps(storable(value)).decode()
    return orjson.dumps(storable(value)).decode() if "\\u0000" in text else text


def storable(value: Any) -> Any:
    """Return the value with characters that PostgreSQL cannot store replaced by U+FFFD."""
    if isinstance(value, str):
        clean = value.replace("\x00", "\ufffd")
        return clean.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, int) and abs(value) > _LARGEST_BIGINT:
        return str(value)
    return value


def _column(name: str, declared: Mapping[str, Any], *, required: bool, identity: bool) -> Column:
    types = _types(declared)
    sql_type, text = _fitting(declared, types - {"null"})
    if "enum" in declared:
        text = _one_of(declared["enum"], text)
    nullable = "null" in types and not identity
    allowed = frozenset(declared["enum"]) if "enum" in declared else None
    return Column(name, sql_type, text, required, nullable, _lines(declared, types), allowed)


def _types(declared: Mapping[str, Any]) -> set[str]:
    given = declared.get("type", [])
    return {given} if isinstance(given, str) else set(given)


def _fitting(declared: Mapping[str, Any], types: set[str]) -> tuple[str, Callable[[Any], str]]:
    if types == {"string"}:
        return _fitting_text(declared)
    if types == {"number", "integer"}:
        return "numeric", _number
    if types and types <= set(_STRUCTURES):
        return "jsonb", _json_of(frozenset(_STRUCTURES[name] for name in types))
    return _PLAIN.get(next(iter(types), ""), _UNION) if len(types) == 1 else _UNION


def _fitting_text(declared: Mapping[str, Any]) -> tuple[str, Callable[[Any], str]]:
    if declared.get("format") == "date-time":
        zoned = declared.get("airbyte_type") != "timestamp_without_timezone"
        return ("timestamptz" if zoned else "timestamp"), _timestamp
    if declared.get("format") == "date":
        return "date", _date
    return "varchar", _string


def _lines(declared: Mapping[str, Any], types: set[str]) -> Lines | None:
    element = declared.get("items", {})
    if "array" not in types or _types(element) != {"object"} or "properties" not in element:
        return None
    fields = []
    for column in columns_of(element):
        plain = "enum" not in element["properties"][column.name]
        quick = _QUICK.get(column.sql_type, frozenset()) if plain else frozenset()
        fields.append((column.name, quick, column.required, column.text))
    return Lines(tuple(fields))


def _required_text(text: Callable[[Any], str], value: Any) -> str:
    if value is None:
        raise MisfitError("is missing")
    return text(value)


def _string(value: Any) -> str:
    if type(value) is str:
        if "\x00" in value:
            raise MisfitError("holds a NUL character")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise MisfitError("is not valid Unicode") from None
        return value
    if type(value) is int or type(value) is float:
        return str(value)
    raise MisfitError(f"is {_kind(value)}, not text")


def _integer(value: Any) -> str:
    if type(value) is str and _NUMBER.fullmatch(value):
        value = int(value) if value.lstrip("+-").isdigit() else float(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise MisfitError(f"is {_kind(value)}, not a whole number")
    if abs(value) > _LARGEST_BIGINT:
        raise MisfitError("is too large")
    return str(value)


def _number(value: Any) -> str:
    if not _is_finite(value):
        raise MisfitError(f"is {_kind(value)}, not a finite number")
    if type(value) is float or type(value) is int:
        return repr(value)  # the shortest text that gives the same number: 0.001 stays 0.001
    if type(value) is str and _NUMBER.fullmatch(value):
        return value
    raise MisfitError(f"is {_kind(value)}, not a number")


def _is_finite(value: Any) -> bool:
    """Whether a value may stand in JSON: some servers write NaN and Infinity, which is none."""
    return type(value) is not float or math.isfinite(value)


def _boolean(value: Any) -> str:
    if type(value) is not bool:
        raise MisfitError(f"is {_kind(value)}, not true or false")
    return "t" if value else "f"


def _timestamp(value: Any) -> str:
    try:
        if type(value) is str and len(value) >= 19 and value[4] == "-":
            return _within_zones(datetime.fromisoformat(value)).isoformat()
    except (ValueError, OverflowError):
        pass
    raise MisfitError(f"is {_kind(value)}, not a time like 2011-06-01T00:00:00Z")


def _within_zones(at: datetime) -> datetime:
    """PostgreSQL takes no offset of 16 hours and more; the same instant in UTC it does."""
    offset = at.utcoffset()
    return at.astimezone(UTC) if offset and abs(offset) >= _WIDEST_OFFSET else at


def _date(value: Any) -> str:
    try:
        if type(value) is str and len(value) == 10:
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise MisfitError(f"is {_kind(value)}, not a date like 2011-06-01")


def _json(value: Any) -> str:
    return json_text(value)


def _json_of(python_types: frozenset[type]) -> Callable[[Any], str]:
    def text(value: Any) -> str:
        if type(value) not in python_types:
            raise MisfitError(f"is {_kind(value)}, not an object or array as declared")
        return json_text(value)

    return text


def _one_of(allowed: Iterable[Any], text: Callable[[Any], str]) -> Callable[[Any], str]:
    known = set(allowed)

    def checked(value: Any) -> str:
        result = text(value)
        if value not in known:
            raise MisfitError(f"is {_kind(value)}, not one of {', '.join(map(str, allowed))}")
        return result

    return checked


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", bool: "true or false", type(None): "null"}
    if type(value) in names:
        return names[type(value)]
    shown = storable(str(value))
    return repr(shown if len(shown) <= 40 else f"{shown[:40]}…")


_STRUCTURES: Mapping[str, type] = {"object": dict, "array": list}
_UNION: tuple[str, Callable[[Any], str]] = ("jsonb", _json)
_PLAIN: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "integer": ("bigint", _integer),
    "number": ("numeric", _number),
    "boolean": ("boolean", _boolean),
}
_QUICK: Mapping[str, frozenset[type]] = {
    "varchar": frozenset({str}),
    "numeric": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "bigint": frozenset({int}),
}
"""Python types whose values need no further look inside an array's elements."""
