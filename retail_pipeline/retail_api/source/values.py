"""Parsers of a file's columns: texts, times, numbers and flags, as arrays of the column's length.

Each distinct text of a column is parsed once. An invalid value is missing in the result; `lines`
decides whether that rejects the line.
"""

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LONGEST_SHOWN = 76

RETURN_WORDS = (
    *("true", "t", "yes", "y", "1", "-1", "x"),
    *("return", "returned", "refund", "refunded", "credit", "credited", "credit note"),
    *("chargeback", "charged back"),
)
"""Values of `is_return` that mark a return, in lower case."""

SALE_WORDS = (
    *("false", "f", "no", "n", "0", "sale", "sold", "order", "purchase", "paid", "complete"),
    *("completed", "fulfilled", "shipped", "delivered", "na", "n/a", "nan", "null", "none", "-"),
)
"""Values of `is_return` that mark a sale, as does a blank value."""

_FLAG_SPELLINGS = (
    (r"^(-?[01])\.0*$", r"\1"),
    ("^\u2212", "-"),
    (r"([a-z])[_ -]+([a-z])", r"\1 \2"),
)
_DECIMAL_ID = r"^\d+\.\d*[1-9]\d*$"
_WHOLE_ID = r"^(\d+)\.0+$"


def texts(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as trimmed text; blank text, NaN and infinity are null.

    Whole numbers are written without a decimal point: ids with gaps arrive as floats or decimals,
    in text files too, and 13085.0 means 13085. Leading zeros stay.
    """
    values = column.combine_chunks()
    if pa.types.is_floating(values.type):
        values = _float_texts(values)
    elif pa.types.is_decimal(values.type):
        values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")
    elif not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    else:
        encoded = values.dictionary_encode()
        distinct = encoded.dictionary
        plain = _whole_ids(pc.utf8_trim_whitespace(distinct))
        plain = pc.if_else(pc.equal(pc.binary_length(plain), 0), None, plain)
        return values if plain.equals(distinct) else plain.take(encoded.indices)
    return pc.if_else(pc.equal(pc.binary_length(values), 0), pa.scalar(None, pa.string()), values)


def _whole_ids(values: pa.Array) -> pa.Array:
    """Return texts, with whole numbers written without decimals unless others have decimals."""
    if not pc.any(pc.match_substring_regex(values, _WHOLE_ID)).as_py():
        return values
    if pc.any(pc.match_substring_regex(values, _DECIMAL_ID)).as_py():
        return values
    return pc.replace_substring_regex(values, _WHOLE_ID, r"\1")


def _float_texts(values: pa.Array) -> pa.Array:
    """Return floats as their shortest exact text, whole numbers without point and exponent."""
    encoded = values.dictionary_encode()
    texts = encoded.dictionary.cast(pa.string()).to_pylist()
    numbers = encoded.dictionary.cast(pa.float64()).to_pylist()
    written = [
        str(int(number)) if number.is_integer() else text if math.isfinite(number) else None
        for number, text in zip(numbers, texts, strict=True)
    ]
    return pa.array(written, pa.string()).take(encoded.indices)


def flags(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return two masks: where a flag is yes, and where it is neither yes nor no; missing is no.

    If a column has both 1 and -1, both are neither: they may be yes and no, or two signs.
    """
    if pa.types.is_boolean(column.type):
        yes = mask(column.fill_null(False))
        return yes, np.zeros_like(yes)
    distinct, at = distinct_values(pa.chunked_array([texts(column)]))
    words = pc.utf8_lower(distinct)
    for pattern, replacement in _FLAG_SPELLINGS:
        words = pc.replace_substring_regex(words, pattern, replacement)
    yes, no = (mask(pc.is_in(words, pa.array(known))) for known in (RETURN_WORDS, SALE_WORDS))
    one, minus = (mask(pc.equal(words, text).fill_null(False)) for text in ("1", "-1"))
    if one.any() and minus.any():
        yes &= ~(one | minus)
    unreadable = ~yes & ~no & ~mask(words.is_null())
    return yes[at], unreadable[at]


def missing(column: pa.ChunkedArray) -> np.ndarray:
    """Return a mask of missing values: null, NaN or blank text."""
    if pa.types.is_floating(column.type):
        return mask(pc.is_null(column, nan_is_null=True))
    return mask(texts(column).is_null() if pa.types.is_string(column.type) else column.is_null())


def mask(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return Arrow booleans as a numpy mask."""
    if isinstance(values, pa.ChunkedArray):
        return values.to_numpy()
    return values.to_numpy(zero_copy_only=False)


def by_distinct_value(
    column: pa.ChunkedArray, parse: Callable[[pa.Array], np.ndarray]
) -> np.ndarray:
    """Return the parsed values of a column, with each distinct text parsed once."""
    distinct, codes = distinct_values(column)
    return parse(distinct)[codes]


def distinct_values(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Return a column's distinct values, of which the last is null, and each line's index."""
    encoded = column.combine_chunks().dictionary_encode()
    distinct = pa.concat_arrays([encoded.dictionary, pa.nulls(1, encoded.dictionary.type)])
    return distinct, encoded.indices.fill_null(len(distinct) - 1).to_numpy()


def shown(value: object) -> str:
    """Return a value of the file for a message, in quotes and at most 80 characters long."""
    text = str(value)
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…")
