"""Conversion of JSON values to PostgreSQL's input text, by the type that a JSON schema declares.

Types follow Airbyte's PostgreSQL destination. A value that does not fit its type raises
`MisfitError`; `rendering` decides whether that rejects the record.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import orjson

ToText = Callable[[Any], str]
"""A function that returns PostgreSQL's input text for a value, or raises `MisfitError`."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3})?)?Z")
_LARGEST_BIGINT = 2**63 - 1


class MisfitError(ValueError):
    """A value does not fit its column; the message gives the reason without the column's name.

    Attributes:
        repaired: For an array whose only misfits are in optional fields, the array with these
            fields set to null; otherwise None.
        places: The fields that were set to null, such as `[2].quantity`.
    """

    def __init__(
        self, message: str, repaired: list[Any] | None = None, places: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.repaired = repaired
        self.places = places


def column_type(declared: Mapping[str, Any]) -> tuple[str, ToText]:
    """Return the SQL type of a declared field, and the function that writes its values.

    Args:
        declared: The field's JSON schema.
    """
    sql_type, text = _plain_type(declared, declared_types(declared) - {"null"})
    return sql_type, (_one_of(declared["enum"], text) if "enum" in declared else text)


def declared_types(declared: Mapping[str, Any]) -> set[str]:
    """Return the JSON types that a field may have, `null` among them."""
    given = declared.get("type", [])
    return {given} if isinstance(given, str) else set(given)


def json_text(value: Any) -> str:
    """Return a value as JSON text without NUL and lone surrogates, which PostgreSQL refuses."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        return orjson.dumps(storable(value)).decode()
    return orjson.dumps(storable(value)).decode() if "\\u0000" in text else text


def storable(value: Any) -> Any:
    """Return a value with the characters that PostgreSQL cannot store replaced by U+FFFD."""
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


def _plain_type(declared: Mapping[str, Any], types: set[str]) -> tuple[str, ToText]:
    if types == {"string"}:
        return _string_type(declared)
    if types == {"number", "integer"}:
        return "numeric", _number
    if types and types <= set(_STRUCTURES):
        return "jsonb", _json_of(frozenset(_STRUCTURES[name] for name in types))
    return _SCALARS.get(next(iter(types), ""), _UNION) if len(types) == 1 else _UNION


def _string_type(declared: Mapping[str, Any]) -> tuple[str, ToText]:
    if declared.get("format") == "date-time":
        zoned = declared.get("airbyte_type") != "timestamp_without_timezone"
        return ("timestamptz" if zoned else "timestamp"), _timestamp
    if declared.get("format") == "date":
        return "date", _date
    return "varchar", _string


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
    raise MisfitError(f"is {_shown(value)}, not text")


def _integer(value: Any) -> str:
    if type(value) is str and _NUMBER.fullmatch(value):
        value = int(value) if value.lstrip("+-").isdigit() else float(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise MisfitError(f"is {_shown(value)}, not a whole number")
    if abs(value) > _LARGEST_BIGINT:
        raise MisfitError("is too large")
    return str(value)


def _number(value: Any) -> str:
    if type(value) is float and not math.isfinite(value):  # some servers send NaN, invalid in JSON
        raise MisfitError(f"is {_shown(value)}, not a finite number")
    if type(value) is float or type(value) is int:
        return repr(value)  # the shortest text of the same number: 0.001 stays 0.001
    if type(value) is str and _NUMBER.fullmatch(value):
        return value
    raise MisfitError(f"is {_shown(value)}, not a number")


def _boolean(value: Any) -> str:
    if type(value) is not bool:
        raise MisfitError(f"is {_shown(value)}, not true or false")
    return "t" if value else "f"


def _timestamp(value: Any) -> str:
    try:
        if type(value) is str and len(value) >= 19 and value[4] == "-":
            at = datetime.fromisoformat(value)
            # PostgreSQL accepts the usual form without conversion.
            if _INSTANT.fullmatch(value):
                return value
            # Converted to UTC, because PostgreSQL refuses offsets of 16 hours or more.
            return (at.astimezone(UTC) if at.tzinfo else at).isoformat()
    except (ValueError, OverflowError):
        pass
    raise MisfitError(f"is {_shown(value)}, not a time like 2011-06-01T00:00:00Z")


def _date(value: Any) -> str:
    try:
        if type(value) is str and len(value) == 10:
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise MisfitError(f"is {_shown(value)}, not a date like 2011-06-01")


def _json_of(python_types: frozenset[type]) -> ToText:
    def text(value: Any) -> str:
        if type(value) not in python_types:
            raise MisfitError(f"is {_shown(value)}, not an object or array as declared")
        return json_text(value)

    return text


def _one_of(allowed: Iterable[Any], text: ToText) -> ToText:
    known = set(allowed)

    def checked(value: Any) -> str:
        result = text(value)
        if value not in known:
            raise MisfitError(f"is {_shown(value)}, not one of {', '.join(map(str, allowed))}")
        return result

    return checked


def _shown(value: Any) -> str:
    names = {dict: "an object", list: "an array", bool: "true or false", type(None): "null"}
    if type(value) in names:
        return names[type(value)]
    shown = storable(str(value))
    return repr(shown if len(shown) <= 40 else f"{shown[:40]}…")


_STRUCTURES: Mapping[str, type] = {"object": dict, "array": list}
_UNION: tuple[str, ToText] = ("jsonb", json_text)
_SCALARS: Mapping[str, tuple[str, ToText]] = {
    "integer": ("bigint", _integer),
    "number": ("numeric", _number),
    "boolean": ("boolean", _boolean),
}
