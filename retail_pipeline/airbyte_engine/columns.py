"""The columns of a stream, derived from its JSON schema; the reader process uses them too."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from retail_pipeline.airbyte_engine.values import (
    MisfitError,
    ToText,
    column_type,
    declared_types,
    json_text,
)

_PLAIN_TYPES: Mapping[str, frozenset[type]] = {
    "varchar": frozenset({str}),
    "numeric": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "bigint": frozenset({int}),
}
"""Python types whose values always fit a column; a float must also be finite."""


@dataclass(frozen=True)
class Column:
    """A column of a stream, or a field of the elements of an array.

    Attributes:
        name: The name of the column and of the field.
        sql_type: The PostgreSQL type.
        text: Returns the text of a value; raises `MisfitError` if the value does not fit.
        required: Whether a record without a valid value is rejected: true for the key and the
            cursor, and if the schema requires the field and does not allow null.
        plain_types: Python types whose values fit without a call of `text`.
    """

    name: str
    sql_type: str
    text: ToText
    required: bool
    plain_types: frozenset[type] = frozenset()


def columns_of(schema: Mapping[str, Any], *, identity: Iterable[str] = ()) -> list[Column]:
    """Return the columns of a stream in schema order.

    Args:
        schema: The stream's JSON schema.
        identity: The key and the cursor, which are required whatever the schema declares.
    """
    identity, required = set(identity), set(schema.get("required", ()))
    columns = []
    for name, declared in schema["properties"].items():
        is_required = name in required and "null" not in declared_types(declared)
        sql_type, text = column_type(declared)
        fields = _fields_of_elements(declared)
        columns.append(
            Column(
                name=name,
                sql_type=sql_type,
                text=_array_text(fields, text) if fields else text,
                required=is_required or name in identity,
                plain_types=frozenset()
                if "enum" in declared
                else _PLAIN_TYPES.get(sql_type, frozenset()),
            )
        )
    return columns


def _fitting(fields: Sequence[Column], elements: Iterable[Any]) -> tuple[list[Any], list[str]]:
    """Return an array's elements with misfits in optional fields set to null, and these fields.

    Raises:
        MisfitError: An element is not an object, or has a misfit in a required field.
    """
    fitting, nulled = [], []
    for position, element in enumerate(elements):
        if type(element) is not dict:
            raise MisfitError(f"has an element that is not an object, at position {position}")
        misfits: dict[str, None] = {}
        for each in fields:
            value = element.get(each.name)
            if type(value) in each.plain_types and (type(value) is not float or isfinite(value)):
                continue
            problem = _problem(each, value)
            if problem and each.required:
                raise MisfitError(f"has an element whose {problem}, at position {position}")
            if problem:
                misfits[each.name] = None
                nulled.append(f"[{position}].{each.name}")
        fitting.append({**element, **misfits} if misfits else element)
    return fitting, nulled


def _problem(each: Column, value: Any) -> str | None:
    if value is None:
        return f"{each.name} is missing" if each.required else None
    try:
        each.text(value)
    except MisfitError as misfit:
        return f"{each.name} {misfit}"
    return None


def _fields_of_elements(declared: Mapping[str, Any]) -> list[Column]:
    """Return the fields of an array's elements if they are declared as objects, else none."""
    items = declared.get("items", {})
    if declared_types(declared) - {"null"} != {"array"} or declared_types(items) != {"object"}:
        return []
    return columns_of(items) if "properties" in items else []


def _array_text(fields: Sequence[Column], any_array: ToText) -> ToText:
    def text(value: Any) -> str:
        if type(value) is not list:
            return any_array(value)  # raises MisfitError: it is not an array
        repaired, places = _fitting(fields, value)
        if places:
            raise MisfitError("has values that do not fit", repaired, places)
        return json_text(value)

    return text
