"""A column of times in any usual spelling, parsed to UTC.

Each value is parsed alone, except that two things are decided for the whole column: the order of
day and month in dates like 12/1/2010, and whether numbers count seconds or milliseconds since 1970.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import DateOrder
from retail_pipeline.retail_api.source.values import by_distinct_value, mask, shown
from retail_pipeline.retail_api.source.values import texts as texts_of

NEVER = np.datetime64("NaT", "us")

_FIRST_TIME, _LAST_TIME = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")
"""The range of pandas' nanosecond timestamps."""

_CLOCK = r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
_USUAL = rf"^\d{{4}}-\d{{2}}-\d{{2}}({_CLOCK})?$"
_USUAL_ZONED = rf"^\d{{4}}-\d{{2}}-\d{{2}}{_CLOCK}(Z|[+-]\d{{2}}:?\d{{2}})$"

_RESPELLED = (
    ("[\u00a0\u202f\u2009]", " "),
    ("\u2212", "-"),
    (r"^(\d{4}-?\d{2}-?\d{2})[T ]?(\d{2})(\d{2})(\d{2})([^0-9:]|$)", r"\1T\2:\3:\4\5"),
    (r"^(\d{4}-?\d{2}-?\d{2})[T ]?(\d{2})(\d{2})([^0-9:]|$)", r"\1T\2:\3\4"),
    (r"(:\d{2}(?:\.\d+)?) ([+-]\d{2}):?(\d{2})$", r"\1\2:\3"),
    (r"(:\d{2}(?:\.\d+)?) (?:UTC|GMT)$", r"\1Z"),
)
"""Replacements that give ISO 8601 from spellings close to it: other blanks and minus signs, times
without colons, a blank before the zone, UTC for Z."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_ANY = (
    r"(?i)^(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? +)?(?:"
    r"(?P<y>\d{4})(?P<p>[-/.]?)(?P<m>\d{1,2})(?P<q>[-/.]?)(?P<d>\d{1,2})"
    r"|(?P<a>\d{1,2})(?P<s>[-/.])(?P<b>\d{1,2})(?P<t>[-/.])(?P<y1>\d{4})"
    rf"|(?P<d2>\d{{1,2}})[-. ]+(?P<n2>{_NAME})\.?,?[- ]+(?P<y2>\d{{4}})"
    rf"|(?P<n3>{_NAME})\.? +(?P<d3>\d{{1,2}}),? +(?P<y3>\d{{4}})"
    r")(?:[T ,]+(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})"
    r"(?:[.,](?P<fraction>\d+))?)?)? ?(?P<half>[ap]\.?m\.?)?)?"
    r" ?(?:(?P<zero>z|utc|gmt)|(?:utc|gmt)?(?P<sign>[+-])(?P<zh>\d{1,2})(?::?(?P<zm>\d{2}))?"
    r"(?::?(?P<zs>\d{2}))?)?(?P<tail>(?: ?(?:\([^()]*\)|\[[^\[\]]*\]|[a-z]{1,5}))*)$"
)
"""A date, a time and a zone; a name after an offset, as in `+02:00 (CEST)`, is ignored."""

_EPOCHS = ((r"^\d{9,10}(\.\d+)?$", 1e6), (r"^\d{13}$", 1e3), (r"^\d{16}$", 1), (r"^\d{19}$", 1e-3))
"""Units of numbers since 1970: the pattern of such numbers, and the unit in microseconds."""

_MOST_STRAY = 0.01
"""The largest share of distinct texts that may be no numbers in a column of numbers."""


def read_times(
    column: pa.ChunkedArray,
    path: Path,
    *,
    zone: str = "UTC",
    date_order: DateOrder | None = None,
) -> np.ndarray:
    """Return a column as UTC times; missing and invalid ones are NaT.

    Args:
        column: Times, dates, text or numbers.
        path: The file, for messages.
        zone: The IANA name of the zone of times without a zone.
        date_order: The order of day and month; by default that of the lines with a day above 12.

    Raises:
        UsageError: The column holds flags, or the order of day and month is unknown.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        found = _typed_times(column)
        return found if getattr(kind, "tz", None) else _localized(found, zone)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = pa.chunked_array([texts_of(column)])
    if not pa.types.is_string(column.type):
        raise UsageError(f"the column ts of {path} holds {kind}; it must hold times or text")
    return by_distinct_value(column, lambda texts: _parsed(texts, path, zone, date_order))


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


def _localized(times: np.ndarray, zone: str) -> np.ndarray:
    """Return local times in UTC: the first if two are possible, the next if none is."""
    if zone == "UTC":
        return times
    local = pd.DatetimeIndex(times).tz_localize(
        zone, ambiguous=np.ones(len(times), dtype=bool), nonexistent="shift_forward"
    )
    return local.tz_convert(None).to_numpy().astype("datetime64[us]")


def _parsed(values: pa.Array, path: Path, zone: str, date_order: DateOrder | None) -> np.ndarray:
    texts = pc.utf8_trim_whitespace(values)
    found = _usual(texts, zone)
    odd = np.isnat(found) & ~mask(texts.is_null())
    if not odd.any():
        return found
    texts = texts.filter(pa.array(odd))
    for pattern, replacement in _RESPELLED:
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    read = _usual(texts, zone)
    rest = np.isnat(read)
    if rest.any():
        read[rest] = _unusual(texts.filter(pa.array(rest)), path, zone, date_order)
    if np.isnat(found).all() and np.isnat(read).all():
        read = _counted(texts)
    found[odd] = read
    return found


def _usual(texts: pa.Array, zone: str) -> np.ndarray:
    """Return texts in ISO 8601 as times, and NaT for all others."""
    found = np.full(len(texts), NEVER, "datetime64[us]")
    for pattern in (_USUAL, _USUAL_ZONED):
        part = mask(pc.match_substring_regex(texts, pattern).fill_null(False))
        some = texts.filter(pa.array(part)).to_pandas()
        read = pd.to_datetime(some, format="ISO8601", utc=True, errors="coerce")
        times = read.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        found[part] = _localized(times, zone) if pattern == _USUAL else times
    return found


def _counted(texts: pa.Array) -> np.ndarray:
    """Return numbers of one unit since 1970 as times; all NaT if they are no such numbers."""
    filled = int(mask(pc.greater(pc.binary_length(texts), 0)).sum())
    for pattern, unit in _EPOCHS:
        fits = mask(pc.match_substring_regex(texts, pattern))
        if fits.sum() >= (1 - _MOST_STRAY) * filled > 0:
            number = pc.if_else(pa.array(fits), texts, None).cast(pa.float64())
            count = number.to_numpy(zero_copy_only=False) * unit
            known = fits & (count < 9e15)
            return np.where(known, np.where(known, count, 0).round().astype("M8[us]"), NEVER)
    return np.full(len(texts), NEVER, "datetime64[us]")


def _unusual(texts: pa.Array, path: Path, zone: str, date_order: DateOrder | None) -> np.ndarray:
    """Return texts of unusual spelling as times; those of no known spelling are NaT."""
    parts = pc.extract_regex(texts, _ANY)
    known = ~mask(parts.is_null())
    day, is_day = _days(parts, texts, path, date_order)
    hour, minute, second, offset_h, offset_m, offset_s = (
        _integers(parts, name) for name in ("hour", "minute", "second", "zh", "zm", "zs")
    )
    half = _text(parts, "half")
    halved, late = half != "", np.char.startswith(np.char.lower(half), "p")
    is_clock = np.where(halved, (hour >= 1) & (hour <= 12), hour <= 23) & (minute < 60)
    midnight = ~halved & (hour == 24) & (minute == 0) & (second == 0)
    hour = np.where(halved, hour % 12 + 12 * late, hour)
    sign, zero = _text(parts, "sign"), _text(parts, "zero")
    is_zoned = (sign != "") | (zero != "")
    is_zone = (offset_h <= 15) & (offset_m < 60) & (offset_s < 60)
    is_zone &= is_zoned | (_text(parts, "tail") == "")
    is_zone &= (sign == "") | (_text(parts, "hour") != "") | (_text(parts, "zm") != "")
    good = known & is_day & (is_clock | midnight) & (second < 60) & is_zone
    fraction = np.array([text[:6].ljust(6, "0") for text in _text(parts, "fraction")], dtype=object)
    seconds = hour * 3600 + minute * 60 + second
    clock = seconds * 1_000_000 + fraction.astype(np.int64)
    found = np.where(good, day.astype("datetime64[us]") + clock.astype("m8[us]"), NEVER)
    found[~is_zoned] = _localized(found[~is_zoned], zone)
    offset = (offset_h * 3600 + offset_m * 60 + offset_s) * np.where(sign == "-", -1, 1)
    return found - (offset * 1_000_000).astype("m8[us]")


def _days(
    parts: pa.StructArray, texts: pa.Array, path: Path, date_order: DateOrder | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the days of dates and a mask of the valid ones."""
    first, second = _integers(parts, "a"), _integers(parts, "b")
    two = mask(pc.greater(pc.binary_length(pc.struct_field(parts, "a")), 0).fill_null(False))
    order = date_order or _date_order(texts, first, second, two, path)
    names = [_MONTHS.index(name[:3].lower()) + 1 if name else 0 for name in _named(parts)]
    year = sum(_integers(parts, name) for name in ("y", "y1", "y2", "y3"))
    month = _integers(parts, "m") + np.array(names, dtype=np.int64)
    month += second if order == "dmy" else first
    day = sum(_integers(parts, name) for name in ("d", "d2", "d3"))
    day += first if order == "dmy" else second
    good = (month >= 1) & (month <= 12) & (day >= 1) & (year >= 1678) & (year < 2262)
    mark = _text(parts, "p")
    good &= (mark == _text(parts, "q")) & (_text(parts, "s") == _text(parts, "t"))
    lengths = [np.char.str_len(_text(parts, name)) for name in ("m", "d")]
    good &= (mark != "") | (_text(parts, "y") == "") | ((lengths[0] == 2) & (lengths[1] == 2))
    start = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = start.astype("datetime64[D]") + np.where(good, day - 1, 0)
    return days, good & (days.astype("datetime64[M]") == start)


def _date_order(
    texts: pa.Array, first: np.ndarray, second: np.ndarray, two: np.ndarray, path: Path
) -> DateOrder:
    """Return the order of day and month that all dates of the column allow.

    Raises:
        UsageError: Both orders are possible, or some dates allow only the one and some the other.
    """
    two = two & (first > 0) & (second > 0) & (np.minimum(first, second) <= 12)
    day_first = two & (first > 12) & (first <= 31)
    month_first = two & (second > 12) & (second <= 31)
    remedy = "give --date-order dmy (day first) or mdy (month first)"
    if day_first.any() and month_first.any():
        one, other = (shown(texts[int(each.argmax())].as_py()) for each in (day_first, month_first))
        raise UsageError(
            f"the dates of {path} have the day first in {one} and the month first in {other}; "
            f"{remedy}, and the lines of the other order are rejected"
        )
    open_ = two & (first != second)
    if day_first.any() or not open_.any():
        return "dmy"
    if month_first.any():
        return "mdy"
    at = int(open_.argmax())
    day, month = int(first[at]), int(second[at])
    raise UsageError(
        f"the dates of {path} can be read in two ways: {shown(texts[at].as_py())} is "
        f"{day} {_MONTHS[month - 1].title()} or {month} {_MONTHS[day - 1].title()}; {remedy}"
    )


def _named(parts: pa.StructArray) -> list[str]:
    return [one or other for one, other in zip(_text(parts, "n2"), _text(parts, "n3"), strict=True)]


def _text(parts: pa.StructArray, name: str) -> np.ndarray:
    found = pc.struct_field(parts, name).fill_null("")
    return np.array(found.to_pylist() or [""], dtype=str)[: len(found)]


def _integers(parts: pa.StructArray, name: str) -> np.ndarray:
    found = pc.struct_field(parts, name)
    filled = pc.if_else(pc.greater(pc.binary_length(found), 0), found, "0")
    return filled.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
