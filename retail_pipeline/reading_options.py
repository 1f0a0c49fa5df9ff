"""The options for reading a transactions file: the meaning of its columns, dates and numbers.

The options are part of the source, so other options make another source, except `accept_loss`.
"""

import difflib
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MISSING_CUSTOMER_WORDS = (
    *("na", "n/a", "n.a.", "#n/a", "<na>", "nan", "null", "(null)", r"\n", "none", "nil", "empty"),
    *("-", "undefined", "not set", "(not set)", "(blank)", "guest", "anonymous", "unknown"),
)
"""Words in lower case that mean "no customer" in a column of customer ids; blank text always does.
R, pandas, SQL, Excel and shop systems write them for a missing value.
"""

STANDARD_COLUMNS = (
    *("customer_id", "ts", "amount", "order_id", "product_id", "quantity", "unit_price"),
    *("country", "currency", "is_return"),
)
"""The columns of a transactions file; the first three are required."""

PROFILE_COLUMNS = ("status", "cancelled", "discount", "refunded_amount")
"""Columns that only the rules of a profile use."""

DateOrder = Literal["dmy", "mdy"]
DecimalMark = Literal[".", ","]


@dataclass(frozen=True)
class ReadingOptions:
    """The options for reading a file; others are inferred from it, or required if it is ambiguous.

    Attributes:
        columns: Pairs of a column's standard name and its name in the file.
        profile: The name of a profile, or the path of a profile's YAML file.
        date_order: The order of day and month in dates like 12/1/2010.
        decimal: The decimal mark of numbers like 1,234.
        accept_loss: The largest share of lines or money that may be lost, 0 to 1; None is the usual
            limit.
        missing_customer_words: Words that mean "no customer", in lower case. Unless there are none,
            an id 0 with very many lines counts as one of them.
        sheet: The name of a spreadsheet's sheet; by default the first.
        time_zone: The IANA name of the zone of times without a zone.
    """

    columns: tuple[tuple[str, str], ...] = ()
    profile: str | None = None
    date_order: DateOrder | None = None
    decimal: DecimalMark | None = None
    accept_loss: float | None = None
    missing_customer_words: tuple[str, ...] = MISSING_CUSTOMER_WORDS
    time_zone: str = "UTC"
    sheet: str | None = None

    @property
    def identity(self) -> str:
        """The options that differ from the default and change what is read, as text."""
        default, own = DEFAULT_READING, replace(self, accept_loss=None)
        names = (field.name for field in fields(self))
        pairs = ((name, getattr(own, name)) for name in names)
        return "&".join(
            f"{name}={value!r}" for name, value in pairs if value != getattr(default, name)
        )


DEFAULT_READING = ReadingOptions()


def parse_reading(texts: Mapping[str, str]) -> ReadingOptions:
    """Return the options that texts describe, by the names of `ReadingOptions`.

    Raises:
        ValueError: A name or a value is invalid; the message begins with the option's name.
    """
    given: dict[str, Any] = {}
    known = [field.name for field in fields(ReadingOptions)]
    for name, text in texts.items():
        if name not in known:
            raise ValueError(f"{name!r} is no reading option; they are {', '.join(known)}")
        given[name] = _PARSERS.get(name, str)(text)
    return ReadingOptions(**given)


def reading_texts(options: ReadingOptions) -> dict[str, str]:
    """Return the texts from which `parse_reading` makes these options; defaults are left out."""
    return {name: text for name, text in _texts(options) if text}


def _texts(options: ReadingOptions) -> Iterator[tuple[str, str]]:
    for field in fields(options):
        value = getattr(options, field.name)
        if value == getattr(DEFAULT_READING, field.name):
            continue
        if field.name == "columns":
            value = ",".join(f'"{name}={column}"' for name, column in value)
        elif field.name == "missing_customer_words":
            value = ",".join(value) or "none"
        yield field.name, str(value)


def _columns(text: str) -> tuple[tuple[str, str], ...]:
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace, lexer.whitespace_split = ",", True
    lexer.quotes, lexer.commenters, lexer.escape = '"', "", ""
    shape = 'columns must look like customer_id=Email,ts="Created at"'
    try:
        pairs = [tuple(map(str.strip, word.partition("=")[::2])) for word in lexer]
    except ValueError:
        raise ValueError(f"{shape}; a quote is not closed") from None
    names = [{"invoice": "order_id"}.get(name, name) for name, _ in pairs]
    known = (*STANDARD_COLUMNS, *PROFILE_COLUMNS)
    for name, (_, column) in zip(names, pairs, strict=True):
        if not column:
            raise ValueError(f"{shape}; {name!r} names no column")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"is {near[0]} meant?" if near else f"the names are {', '.join(known)}"
            raise ValueError(f"columns gives {name!r}, which is no column of order lines; {remedy}")
        if names.count(name) > 1:
            raise ValueError(f"columns gives {name} twice")
    return tuple(zip(names, (column for _, column in pairs), strict=True))


def _one_of(name: str, words: tuple[str, ...]) -> Any:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{name} must be {' or '.join(words)}; got {text!r}")
        return text

    return parse


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"accept_loss must be a share from 0 to 1, or like 5%; got {text!r}")
    return share


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"time_zone must be a name like Europe/Berlin; got {text!r}") from None
    return text


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word.strip().lower() for word in text.split(","))
    return () if words == ("none",) else words


_PARSERS: dict[str, Any] = {
    "columns": _columns,
    "date_order": _one_of("date_order", get_args(DateOrder)),
    "decimal": _one_of("decimal", get_args(DecimalMark)),
    "accept_loss": _share,
    "missing_customer_words": _words,
    "time_zone": _zone,
}
