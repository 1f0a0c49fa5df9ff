"""Profiles of known exports: the meaning of their columns and values, as YAML files to copy.

The shipped ones are in `retail_api/profiles/`. `column_names` finds the columns of a profile in a
file, and `order_rules` applies its rules to the rows.
"""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, field_validator

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import (
    DEFAULT_READING,
    PROFILE_COLUMNS,
    STANDARD_COLUMNS,
    DateOrder,
    DecimalMark,
    ReadingOptions,
)
from retail_pipeline.settings import NO_CODES, FileSource, Settings, parse_code_list

FOLDER: Final = Path(__file__).resolve().parent.parent / "profiles"
GENERIC: Final = "generic-orders"
ANY: Final = "*"
"""Stands for every value in `left_out`."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JoinedFile(_Rules):
    """A file of a folder, and the column by which its rows are added to those before it."""

    file: str
    by: str | None = None


class Profile(_Rules):
    """The meaning of an export's columns and values.

    Attributes:
        about: The export's name, for messages.
        columns: The possible names of each column in the file; the first one that the file has is
            used.
        line_total: How a line's amount is computed where the file has none.
        carry_down: Whether a blank field of a line takes the value of the order's first line.
        left_out: Values, by column, of lines that are no sales; `*` is every value.
        refunded: Values of `status` of lines that were sold and taken back.
        partly_refunded: Values of `status` of orders of which `refunded_amount` was taken back.
        return_orders: The beginning of the order ids of returns.
        currency: The currency of a file without such a column.
        date_order: See `ReadingOptions`.
        decimal: See `ReadingOptions`.
        time_zone: See `ReadingOptions`.
        missing_customer_words: See `ReadingOptions`.
        non_product_codes: The list, in the seed `non_product_codes`, of codes that are no products.
        join: The files of a folder that are read as one table; the first has the lines.
    """

    about: str = ""
    columns: dict[str, Texts]
    line_total: Literal["quantity * unit_price", "quantity * unit_price - discount"] | None = None
    carry_down: bool = False
    left_out: dict[str, Texts] = {}
    refunded: Texts = ()
    partly_refunded: Texts = ()
    return_orders: str | None = None
    currency: str | None = None
    date_order: DateOrder | None = None
    decimal: DecimalMark | None = None
    time_zone: str | None = None
    missing_customer_words: Texts | None = None
    non_product_codes: str | None = None
    join: tuple[JoinedFile, ...] = ()

    @field_validator("columns", "left_out")
    @classmethod
    def _known_columns(cls, value: dict[str, Any]) -> dict[str, Any]:
        known = (*STANDARD_COLUMNS, *PROFILE_COLUMNS)
        if unknown := [name for name in value if name not in known]:
            raise ValueError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return value


STANDARD: Final = Profile(
    about="the standard columns",
    columns={name: (name,) for name in STANDARD_COLUMNS} | {"order_id": ("order_id", "invoice")},
)
"""The profile of a file whose columns have the standard names."""


def shipped() -> list[str]:
    """Return the names of the shipped profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def profile_of(options: ReadingOptions) -> Profile:
    """Return the profile of reading options; columns given in the options replace its own.

    Raises:
        UsageError: The profile does not exist or is invalid.
    """
    profile = STANDARD if options.profile is None else load_profile(options.profile)
    given: dict[str, tuple[str, ...]] = {name: (column,) for name, column in options.columns}
    return profile.model_copy(update={"columns": {**profile.columns, **given}})


def with_profile(options: ReadingOptions) -> ReadingOptions:
    """Return reading options in which the settings of the profile fill those that are not given.

    Raises:
        UsageError: The profile does not exist or is invalid.
    """
    profile = profile_of(options)
    names = ("date_order", "decimal", "time_zone", "missing_customer_words")
    held = {name: getattr(profile, name) for name in names}
    return replace(
        options,
        **{
            name: value
            for name, value in held.items()
            if value is not None and getattr(options, name) == getattr(DEFAULT_READING, name)
        },
    )


def profile_text(name: str) -> str:
    """Return the YAML text of a profile.

    Raises:
        UsageError: There is no such profile.
    """
    path = FOLDER / f"{name}.yaml" if name in shipped() else Path(name)
    if not path.is_file():
        near = difflib.get_close_matches(name, shipped(), n=1)
        remedy = f"is {near[0]} meant?" if near else f"there are {', '.join(shipped())}"
        raise UsageError(f"there is no profile {name!r}; {remedy} A path of a YAML file works too")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"the profile {path} cannot be read as UTF-8 text") from None


def code_list(settings: Settings) -> str:
    """Return the list of codes that are no products: of the settings, or of the file's profile.

    Raises:
        UsageError: The profile is invalid, or names a list that does not exist.
    """
    given, source = settings.non_product_codes, settings.source
    if given != NO_CODES or not isinstance(source, FileSource):
        return given
    own = profile_of(source.options).non_product_codes
    return parse_code_list(own, "non_product_codes of the profile") if own else given


def load_profile(name: str) -> Profile:
    """Return a shipped profile, or that of a YAML file.

    Raises:
        UsageError: There is no such profile, or its file is invalid; all faults are named.
    """
    return _parsed(name, profile_text(name))


@cache
def _parsed(name: str, text: str) -> Profile:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"the profile {name} is not proper YAML: {reason}") from None
    if not isinstance(content, Mapping):
        raise UsageError(f"the profile {name} must be a table of settings, like {FOLDER}")
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        faults = [_fault(each) for each in error.errors()]
        raise UsageError(f"the profile {name} is invalid: {'; '.join(faults[:10])}") from None


def _fault(error: Mapping[str, Any]) -> str:
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), Profile.model_fields, n=1)
        return f"{place} is not known" + (f", is {near[0]} meant?" if near else "")
    if error["type"] == "value_error":
        return f"{place}: {error['ctx']['error']}"
    return f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}"
