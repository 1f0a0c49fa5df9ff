"""The reasons for which a line of a file is not used, each with a mask of its lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.source.numbers import LARGEST
from retail_pipeline.retail_api.source.values import mask, shown
from retail_pipeline.wording import counted

_LONGEST_ID = 512
"""Most bytes of an id: a row of a PostgreSQL index holds 2,704, and some hold several ids."""

_LOST_DIGITS = r"^\d(\.\d+)?E\+\d+$"
"""A long number as spreadsheets save it: numbers with other last digits have the same text."""

_ZEROS = ("0", "-1")
_GUESTS_SHARE, _GUESTS_MULTIPLE, _GUESTS_ANY_MULTIPLE = 0.05, 3, 10
_SHOWN_WORDS = 5


@dataclass(frozen=True)
class Fault:
    """One reason, and the lines that it applies to.

    Attributes:
        column: The column with the invalid value.
        lines: A mask of the lines.
        words: The end of the reason's sentence, before the value. If the value is blank, the reason
            is that the column is missing.
        shows: Whether the reason includes the value.
    """

    column: str
    lines: np.ndarray
    words: str
    shows: bool = True

    def reason(self, record: Mapping[str, Any]) -> tuple[str, str]:
        """Return the reason of a line without and with its value."""
        value = record.get(self.column)
        if value is None or not str(value).strip():
            words = f"{self.column} is missing"
            if self.column == "customer_id":
                words += ", but another line of its order has one"
            return words, words
        words = f"{self.column} {self.words}"
        return words, f"{words}: {shown(value)}" if self.shows else words


def find_faults(
    ids: Mapping[str, pa.DictionaryArray],
    time: np.ndarray,
    amount: np.ndarray,
    unmarked: np.ndarray,
    missing_customer_words: Sequence[str],
) -> tuple[list[Fault], np.ndarray]:
    """Return the reasons for which lines are not used, and a mask of guests' lines.

    Args:
        ids: The columns of ids.
        time: The times; NaT if invalid.
        amount: The amounts; NaN if invalid.
        unmarked: A mask of lines whose `is_return` is neither yes nor no.
        missing_customer_words: See `ReadingOptions`.
    """
    guests = _guests(ids["customer_id"], missing_customer_words)
    nameless = _carried_down(ids["order_id"], time, guests)
    with np.errstate(invalid="ignore"):
        large = np.abs(amount) > LARGEST
    faults = [
        *(fault for name, id_ in ids.items() for fault in _id_faults(name, id_)),
        Fault("ts", np.isnat(time), "is not a date"),
        Fault("amount", np.isnan(amount), "is not a number"),
        Fault("amount", large, f"is beyond {LARGEST:,.0f}"),
        Fault("is_return", unmarked, "is neither yes nor no"),
        Fault("customer_id", nameless, "is no customer, but another line of its order has one"),
    ]
    faults = [fault for fault in faults if fault.lines.any()]
    for fault in faults:
        guests = guests & ~fault.lines
    return faults, guests


def _id_faults(name: str, ids: pa.DictionaryArray) -> Iterator[Fault]:
    """Yield the faults of a column of ids."""
    distinct = ids.dictionary
    bad = {
        "has a NUL character, which no database stores": pc.match_substring(distinct, "\0"),
        f"is longer than {_LONGEST_ID} bytes": pc.greater(pc.binary_length(distinct), _LONGEST_ID),
    }
    if name != "product_id":
        lost = pc.match_substring_regex(distinct, _LOST_DIGITS)
        bad["has lost its last digits in a spreadsheet"] = lost
    for words, found in bad.items():
        if pc.any(found).as_py():
            yield Fault(name, mask(found.take(ids.indices).fill_null(False)), words)


def _guests(ids: pa.DictionaryArray, words: Sequence[str]) -> np.ndarray:
    """Return a mask of lines without a customer: a blank id, or one of the words.

    Unless `words` is empty, the id 0 or -1 also means a guest if it has more than 10 times the
    lines of the next customer, or more than 3 times and more than 5 % of all lines.
    """
    distinct = ids.dictionary
    at = ids.indices.fill_null(len(distinct)).to_numpy()
    missing = mask(pc.is_in(pc.utf8_lower(distinct), pa.array(list(words), pa.string())))
    zeros = mask(pc.is_in(distinct, pa.array(_ZEROS)))
    if words and zeros.any():
        lines = np.bincount(at, minlength=len(distinct))[: len(distinct)]
        next_customer = lines[~missing & ~zeros].max(initial=1)
        many = lines > _GUESTS_ANY_MULTIPLE * next_customer
        many |= (lines > _GUESTS_SHARE * len(at)) & (lines > _GUESTS_MULTIPLE * next_customer)
        missing |= zeros & many
    return np.append(missing, True)[at]


def _carried_down(
    order_ids: pa.DictionaryArray, time: np.ndarray, guests: np.ndarray
) -> np.ndarray:
    """Return a mask of lines without a customer in orders of which other lines have one.

    They are not purchases of guests: the file has the customer on one line of each order only.
    """
    if not guests.any() or order_ids.null_count == len(order_ids):
        return np.zeros(len(guests), dtype=bool)
    encoded = order_ids.indices.fill_null(-1).to_numpy()
    orders = pd.DataFrame({"order": encoded, "day": time.astype("datetime64[D]"), "has": ~guests})
    has = orders.groupby(["order", "day"], dropna=False)["has"].transform("any").to_numpy()
    return guests & has & (encoded >= 0)


def refuse_unknown_marks(path: Path, marks: pa.ChunkedArray, unreadable: np.ndarray) -> None:
    """Raise an error if a file has values in `is_return` that are neither yes nor no.

    Raises:
        UsageError: There are such values, which leave the sign of amounts unknown.
    """
    if not unreadable.any():
        return
    texts = pd.Series(marks.filter(pa.array(unreadable)).to_pylist()).astype(str)
    counts = texts.value_counts().head(_SHOWN_WORDS)
    examples = ", ".join(f"{shown(word)} ({lines:,})" for word, lines in counts.items())
    raise UsageError(
        f"the column is_return of {path} has {counted(int(unreadable.sum()), 'value')} of unknown "
        f"meaning: {examples}. The sign of the amount is unknown: write true or false, or "
        "leave the column out if returns have negative amounts"
    )
