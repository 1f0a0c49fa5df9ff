"""Parsers of a file's columns: texts, times, numbers and flags, as arrays of the column's length.

Each distinct text of a column is parsed once. An invalid value is missing in the result; `lines`
decides whether that rejects the line.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.errors import UsageError

NEVER = np.datetime64("NaT", "us")

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_DATE = r"^\s*\d{4}-?\d{2}-?\d{2}"
_ZONED = r"[T ].*([Zz]|[+-]\d{2}(:?\d{2})?)$"

_FIRST_TIME, _LAST_TIME = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")
"""The range of pandas' nanosecond timestamps."""

_YES = ("true", "t", "yes", "y", "1")
_NO = ("false", "f", "no", "n", "0")


def texts(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as unchanged text; blank text, NaN and infinity are null.

    Whole numbers are written without a decimal point: ids with gaps arrive as floats or decimals,
    and 13085.0 means 13085.
    """
    values = column.combine_chunks()
    if pa.types.is_floating(values.type):
        values = _float_texts(values)
    elif pa.types.is_decimal(values.type):
        values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")
    elif not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(values)), 0)
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)


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


def times(column: pa.ChunkedArray, path: Path, zone: str) -> np.ndarray:
    """Return a column as UTC times; missing and invalid ones are NaT.

    Args:
        column: Times, dates or text.
        path: The file, for messages.
        zone: The IANA name of the zone of times without a zone.

    Raises:
        UsageError: The column has numbers or flags.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        found = _typed_times(column)
        return found if getattr(kind, "tz", None) else _localized(found, zone)
    if not pa.types.is_string(kind):
        raise UsageError(f"the column ts of {path} holds {kind}; it must hold times or text")
    return _by_distinct_value(column, lambda texts: _parsed_times(texts, zone))


def _localized(times: np.ndarray, zone: str) -> np.ndarray:
    """Return a zone's local times in UTC: of two possible times the first, of none the next."""
    if zone == "UTC":
        return times
    local = pd.DatetimeIndex(times).tz_localize(
        zone, ambiguous=np.ones(len(times), dtype=bool), nonexistent="shift_forward"
    )
    return local.tz_convert(None).to_numpy().astype("datetime64[us]")


def _typed_times(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of timestamps or dates as times; outside pandas' range they are NaT."""
    kind = column.type
    unit = kind.unit if pa.types.is_timestamp(kind) else "D" if kind.bit_width == 32 else "ms"
    counts = column.cast(pa.int32() if unit == "D" else pa.int64()).cast(pa.int64())
    first, last = (time.astype(f"datetime64[{unit}]") for time in (_FIRST_TIME, _LAST_TIME))
    values = counts.fill_null(0).to_numpy()
    bad = mask(column.is_null())
    bad |= (values < first.astype(np.int64)) | (values >= last.astype(np.int64))
    found = np.where(bad, 0, values).view(f"datetime64[{unit}]").astype("datetime64[us]")
    found[bad] = NEVER
    return found


def _parsed_times(values: pa.Array, zone: str) -> np.ndarray:
    dated = pc.if_else(pc.match_substring_regex(values, _DATE), values, None)
    trimmed = pc.utf8_trim_whitespace(dated)
    zoned = mask(pc.match_substring_regex(trimmed, _ZONED).fill_null(False))
    found = np.full(len(trimmed), NEVER, "datetime64[us]")
    for part in (zoned, ~zoned):  # together, pandas applies one text's zone to those without
        some = trimmed.filter(pa.array(part)).to_pandas()
        read = pd.to_datetime(some, format="ISO8601", utc=True, errors="coerce")
        found[part] = read.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    found[~zoned] = _localized(found[~zoned], zone)
    return found


def numbers(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray:
    """Return a column as float64; missing and invalid values are NaN.

    A number keeps its shortest text: 0.1 in a float32 column becomes 0.1, not 0.10000000149.

    Raises:
        UsageError: The column has times or flags.
    """
    kind = column.type
    if pa.types.is_float64(kind) or pa.types.is_integer(kind):
        return column.cast(pa.float64(), safe=False).to_numpy()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.string())
    if not pa.types.is_string(column.type):
        raise UsageError(f"the column {name} of {path} holds {kind}; it must hold numbers")
    return _by_distinct_value(column, _parsed_numbers)


def _parsed_numbers(values: pa.Array) -> np.ndarray:
    trimmed = pc.utf8_trim_whitespace(values)
    valid = pc.match_substring_regex(trimmed, _NUMBER)
    plain = pc.replace_substring_regex(trimmed, r"^\+", "")
    return pc.if_else(valid, plain, None).cast(pa.float64()).to_numpy(zero_copy_only=False)


def flags(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return two masks: where a flag is yes, and where it is neither yes nor no; missing is no."""
    if pa.types.is_boolean(column.type):
        yes = mask(column.fill_null(False))
        return yes, np.zeros_like(yes)
    trimmed = pc.utf8_lower(pc.utf8_trim_whitespace(texts(column)))
    plain = pc.replace_substring_regex(trimmed, r"^([01])\.0*$", r"\1")
    yes, no = (mask(pc.is_in(plain, pa.array(words))) for words in (_YES, _NO))
    return yes, ~yes & ~no & ~missing(column)


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


def _by_distinct_value(
    column: pa.ChunkedArray, parse: Callable[[pa.Array], np.ndarray]
) -> np.ndarray:
    """Return the parsed values of a column, with each distinct text parsed once."""
    encoded = column.combine_chunks().dictionary_encode()
    distinct = pa.concat_arrays([encoded.dictionary, pa.nulls(1, encoded.dictionary.type)])
    codes = encoded.indices.fill_null(len(distinct) - 1).to_numpy()
    return parse(distinct)[codes]
