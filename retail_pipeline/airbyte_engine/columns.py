"""The columns of a stream, from its JSON schema; the reader's process needs them too."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from retail_pipeline.airbyte_engine.values import (
    MisfitError,
    ToText,
    column_type,
    declared_types,
    is_finite,
)

_PLAIN_TYPES: Mapping[str, frozenset[type]] = {
    "varchar": frozenset({str}),
    "numeric": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "bigint": frozenset({int}),
}
"""Python types whose values fit a column as they are, inside an array's elements."""


@dataclass(frozen=True)
class Column:
    """A column of a stream.

    Attributes:
        name: Its name, which is the field's.
        sql_type: PostgreSQL's type.
        text: Writes its values.
        required: Whether a record without a fitting value is rejected.
        nullable: Whether null fits although the column is required.
        elements: The elements of an array of flat objects; None for any other column.
        allowed: The only values that fit, where the schema lists them.
    """

    name: str
    sql_type: str
    text: ToText
    required: bool
    nullable: bool
    elements: "Elements | None" = None
    allowed: frozenset[Any] | None = None


@dataclass(frozen=True)
class ElementField:
    """A field of an array's elements; values of `plain_types` fit without a closer look."""

    name: str
    plain_types: frozenset[type]
    required: bool
    text: ToText


@dataclass
class SortedElements:
    """The elements of one array: those that fit, the fields nulled in them, the rejected ones."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    nulled: list[str] = field(default_factory=list)
    rejected: list[tuple[int, Any, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Elements:
    """The fields of an array whose elements are flat objects.

    A bad element leaves the array, not its record; a bad optional field of an element is nulled.
    """

    fields: tuple[ElementField, ...]

    def sort(self, elements: Iterable[Any]) -> SortedElements:
        """Return the elements that fit, the fields that were nulled, and the rejected elements."""
        result = SortedElements()
        for position, element in enumerate(elements):
            problem = self._problem(element)
            if problem is not None:
                result.rejected.append((position, element, problem))
                continue
            misfits = [each.name for each in self.fields if not _fits(each, element)]
            result.nulled += [f"[{position}].{name}" for name in misfits]
            result.kept.append({**element, **dict.fromkeys(misfits)} if misfits else element)
        return result

    def _problem(self, element: Any) -> str | None:
        if type(element) is not dict:
            return "it is not an object"
        for each in self.fields:
            value = element.get(each.name)
            if not each.required or (type(value) in each.plain_types and is_finite(value)):
                continue
            if value is None:
                return f"{each.name} is missing"
            try:
                each.text(value)
            except MisfitError as misfit:
                return f"{each.name} {misfit}"
        return None


def columns_of(schema: Mapping[str, Any], *, identity: Iterable[str] = ()) -> list[Column]:
    """Return the columns of a stream in schema order.

    Args:
        schema: The stream's JSON schema.
        identity: Columns that are required whatever the schema says: key and cursor.
    """
    identity = set(identity)
    required = identity | set(schema.get("required", ()))
    columns = []
    for name, declared in schema["properties"].items():
        sql_type, text = column_type(declared)
        columns.append(
            Column(
                name=name,
                sql_type=sql_type,
                text=text,
                required=name in required,
                nullable="null" in declared_types(declared) and name not in identity,
                elements=_elements(declared),
                allowed=frozenset(declared["enum"]) if "enum" in declared else None,
            )
        )
    return columns


def _elements(declared: Mapping[str, Any]) -> Elements | None:
    items = declared.get("items", {})
    if "array" not in declared_types(declared) or declared_types(items) != {"object"}:
        return None
    if "properties" not in items:
        return None
    fields = []
    for column in columns_of(items):
        plain = _PLAIN_TYPES.get(column.sql_type, frozenset()) if column.allowed is None else None
        fields.append(ElementField(column.name, plain or frozenset(), column.required, column.text))
    return Elements(tuple(fields))


def _fits(each: ElementField, element: Mapping[str, Any]) -> bool:
    value = element.get(each.name)
    if value is None or (type(value) in each.plain_types and is_finite(value)):
        return True
    try:
        each.text(value)
    except MisfitError:
        return False
    return True
