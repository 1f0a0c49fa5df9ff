"""The options with which a transactions file is read: what its columns, dates and numbers mean.

The options belong to the source: other options are another source, except `accept_loss`.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

MISSING_CUSTOMER_WORDS = ("na", "n/a", "#n/a", "nan", "null", "none", "nil", "empty", "<na>", "-")
"""Words in lower case that mean "no customer" in a column of customer ids; blank text always does.

They are what R, pandas, SQL, Excel and shop systems write for a missing value.
"""

DateOrder = Literal["dmy", "mdy"]
DecimalMark = Literal[".", ","]


@dataclass(frozen=True)
class ReadingOptions:
    """How a file is read; what is not given is recognized from the file, or refused as ambiguous.

    Attributes:
        columns: Pairs of a column's standard name and its name in the file.
        profile: The name of a profile, or the path of a profile's YAML file.
        date_order: The order of day and month in dates like 12/1/2010.
        decimal: The decimal mark of numbers like 1,234.
        accept_loss: The largest share of lines or money that may be lost, 0 to 1; None is the
            usual limit.
        missing_customer_words: Words that mean "no customer", in lower case. An id 0 counts as
            one of them if it is the id of guests and any word is given.
        time_zone: The IANA name of the zone of times without a zone.
    """

    columns: tuple[tuple[str, str], ...] = ()
    profile: str | None = None
    date_order: DateOrder | None = None
    decimal: DecimalMark | None = None
    accept_loss: float | None = None
    missing_customer_words: tuple[str, ...] = MISSING_CUSTOMER_WORDS
    time_zone: str = "UTC"

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
