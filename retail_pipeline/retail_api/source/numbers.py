"""Numbers as people write them, parsed with one decimal mark per column.

The values of a column must agree on the mark. Any other mark separates thousands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import DecimalMark
from retail_pipeline.retail_api.source.values import (
    by_distinct_value,
    distinct_values,
    mask,
    shown,
)

LARGEST = 1e15
"""The largest number that is read; up to it, cents are exact in a float."""

_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_NO_THOUSANDS = r"\.(\d{0,2}|\d{4,})([eE].*)?$|\d{4}\.|^[+-]?0?\.|^[+-]?0+\d*\.|[eE]"
"""Parts of a plain number whose point cannot be a separator of thousands."""

_RESPELLED = (
    ("[\u00a0\u202f\u2009\u2007]", " "),
    ("[\u2212\u2013\uff0d]", "-"),
    ("[\u2019\u00b4`]", "'"),
    (r"([.,])-+( |$)", r"\1\2"),  # 10,- is ten
)
_CODES = (
    "AED ARS AUD BDT BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HRK HUF IDR ILS INR ISK "
    "JPY KES KRW KWD LKR MAD MXN MYR NGN NOK NZD PEN PHP PKR PLN QAR RON RSD RUB SAR SEK SGD THB "
    "TRY TWD UAH USD VND ZAR"
)
_CURRENCY = (
    rf"(?:(?i:{_CODES.replace(' ', '|')})|(?:US|AU|NZ|CA|HK|R|A|C|S)\$|\p{{Sc}}|[Kk]r\.?|Kč|zł|Ft|"
    r"Fr\.?|Rs\.?|lei)"
)
_ANY = (
    rf"^(?P<open>\()? ?(?P<s1>[+-])? ?(?P<c1>{_CURRENCY})? ?(?P<s2>[+-])? ?"
    rf"(?P<body>[.,]?\d[\d.,' ]*(?:[eE][+-]?\d{{1,3}})?) ?(?P<s3>-)? ?(?P<c2>{_CURRENCY})? ?"
    r"(?P<s4>-)? ?(?P<close>\))?$"
)
_SPACED, _EXPONENT = r"[1-9]\d{0,2}(?: \d{3})+|[1-9]\d{0,2}(?:'\d{3})+", r"(?:[eE][+-]?\d{1,3})?$"
_COMMAS = r"[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3}"
_POINTS = r"[1-9]\d{0,2}(?:\.\d{3})+"
_BODIES: Mapping[DecimalMark, str] = {
    ".": rf"^(?:\d+|{_COMMAS}|{_SPACED})?(?:\.\d*)?{_EXPONENT}",
    ",": rf"^(?:\d+|{_POINTS}|{_SPACED})?(?:,\d*)?{_EXPONENT}",
}
"""The digits of a number, by decimal mark."""

_MOST_STRAY = 0.01
"""The largest share of a column's values that may contradict its decimal mark; they are invalid."""


@dataclass(frozen=True)
class Numbers:
    """Columns as float64 (missing and invalid values are NaN), and the decimal marks of texts."""

    columns: dict[str, np.ndarray]
    marks: dict[str, DecimalMark]


def read_numbers(
    columns: Mapping[str, pa.ChunkedArray], path: Path, decimal: DecimalMark | None = None
) -> Numbers:
    """Return columns as numbers.

    Typed numbers keep their shortest text: 0.1 in a float32 column becomes 0.1, not 0.10000000149.
    A text column is read with the decimal mark on which its values agree. A column that allows both
    marks takes the mark of the file's other columns.

    Args:
        columns: The columns of a file, by name.
        path: The file, for messages.
        decimal: The decimal mark; by default it is recognized.

    Raises:
        UsageError: A column has times, flags or several currencies, or its decimal mark is unknown.
    """
    found, texts = {}, {}
    for name, column in columns.items():
        kind = column.type
        if pa.types.is_float64(kind) or pa.types.is_integer(kind):
            found[name] = column.cast(pa.float64(), safe=False).to_numpy()
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            found[name] = by_distinct_value(column.cast(pa.string()), _plain)
        elif pa.types.is_string(kind):
            texts[name] = _Texts(column, name, path, decimal)
        else:
            raise UsageError(f"the column {name} of {path} holds {kind}; it must hold numbers")
    settled = {each.mark for each in texts.values() if each.mark and each.is_settled}
    marks: dict[str, DecimalMark] = {}
    for name, each in texts.items():
        mark = each.mark or (next(iter(settled)) if len(settled) == 1 else None)
        if mark is None:
            raise each.ambiguous()
        marks[name], found[name] = mark, each.read(mark)
    return Numbers({name: found[name] for name in columns}, marks)


class _Texts:
    """A column of text as numbers, under each decimal mark that its values allow.

    Attributes:
        mark: The decimal mark; None if both are possible and give different numbers.
        is_settled: Whether some value allows only this mark.
    """

    def __init__(
        self, column: pa.ChunkedArray, name: str, path: Path, mark: DecimalMark | None
    ) -> None:
        self._name, self._path = name, path
        self._texts, self._codes = distinct_values(column)
        self._texts = pc.utf8_trim_whitespace(self._texts)
        plain = _plain(self._texts)
        blank = pc.equal(pc.binary_length(self._texts), 0).fill_null(True)
        points = mask(pc.match_substring(self._texts, ".").fill_null(False))
        decimals = mask(pc.match_substring_regex(self._texts, _NO_THOUSANDS).fill_null(False))
        self.mark: DecimalMark | None = mark or "."
        self.is_settled = bool((points & decimals).any())
        self._readings: dict[DecimalMark, np.ndarray] = {".": plain}
        odd = (np.isnan(plain) & ~mask(blank)).any() or (points.any() and not self.is_settled)
        if odd or mark == ",":
            self._readings = self._read_closely()
            if mark is None:
                self._decide()

    def read(self, mark: DecimalMark) -> np.ndarray:
        if mark not in self._readings:
            self._readings = self._read_closely()
        return self._readings[mark][self._codes]

    def ambiguous(self) -> UsageError:
        point, comma = self._readings["."], self._readings[","]
        at = int(np.flatnonzero((point != comma) & ~np.isnan(point) & ~np.isnan(comma))[0])
        return UsageError(
            f"the column {self._name} of {self._path} can be read in two ways: {self._shown(at)} "
            f"is {point[at]:.15g} or {comma[at]:.15g}; give the decimal mark with --decimal . or "
            "--decimal ,"
        )

    def _decide(self) -> None:
        """Set the mark.

        Raises:
            UsageError: Some values allow only one mark, and many others only the other.
        """
        point, comma = self._readings["."], self._readings[","]
        lines = np.bincount(self._codes, minlength=len(self._texts))
        only_point, only_comma = (
            np.isnan(comma) & ~np.isnan(point),
            np.isnan(point) & ~np.isnan(comma),
        )
        points, commas = int(lines[only_point].sum()), int(lines[only_comma].sum())
        self.is_settled = points + commas > 0
        if min(points, commas) > _MOST_STRAY * max(points, commas):
            one, other = int(only_point.argmax()), int(only_comma.argmax())
            raise UsageError(
                f"the column {self._name} of {self._path} has the decimal mark . in "
                f"{self._shown(one)} and , in {self._shown(other)}; give --decimal . or "
                "--decimal , which makes values with the other mark invalid"
            )
        if self.is_settled:
            self.mark = "." if points > commas else ","
        elif ((point != comma) & ~np.isnan(point)).any():
            self.mark = None

    def _read_closely(self) -> dict[DecimalMark, np.ndarray]:
        """Return the distinct values under both marks, with signs and currencies.

        Raises:
            UsageError: The values have several currencies.
        """
        texts = self._texts
        for pattern, replacement in _RESPELLED:
            texts = pc.replace_substring_regex(texts, pattern, replacement)
        parts = pc.extract_regex(texts, _ANY)
        self._refuse_currencies(parts)
        opened, closed = (
            mask(pc.greater(pc.binary_length(_part(parts, name)), 0)) for name in ("open", "close")
        )
        signs = sum(
            mask(pc.equal(_part(parts, name), "-")).astype(int) for name in ("s1", "s2", "s3", "s4")
        )
        signs = signs + opened
        valid = (opened == closed) & (signs <= 1) & ~mask(parts.is_null())
        body = pc.utf8_trim_whitespace(_part(parts, "body"))
        found: dict[DecimalMark, np.ndarray] = {}
        for mark, pattern in _BODIES.items():
            good = pc.and_(pc.match_substring_regex(body, pattern), pa.array(valid))
            digits = pc.replace_substring_regex(body, f"[^0-9eE+{mark}-]", "")
            digits = pc.replace_substring(digits, ",", ".")
            number = pc.if_else(good, digits, None).cast(pa.float64())
            found[mark] = number.to_numpy(zero_copy_only=False) * np.where(signs == 1, -1.0, 1.0)
        return found

    def _refuse_currencies(self, parts: pa.StructArray) -> None:
        pairs = pc.binary_join_element_wise(_part(parts, "c1"), _part(parts, "c2"), " ")
        names = pc.utf8_upper(pc.utf8_trim(pairs, " ."))
        known = [name for name in pc.unique(names).to_pylist() if name]
        if len(known) > 1:
            raise UsageError(
                f"the column {self._name} of {self._path} holds several currencies "
                f"({', '.join(sorted(known)[:5])}); convert its amounts to one or split the file"
            )

    def _shown(self, at: int) -> str:
        return shown(self._texts[at].as_py())


def _part(parts: pa.StructArray, name: str) -> pa.Array:
    return pc.struct_field(parts, name).fill_null("")


def _plain(texts: pa.Array) -> np.ndarray:
    trimmed = pc.utf8_trim_whitespace(texts)
    valid = pc.match_substring_regex(trimmed, _PLAIN)
    digits = pc.replace_substring_regex(trimmed, r"^\+", "")
    return pc.if_else(valid, digits, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
