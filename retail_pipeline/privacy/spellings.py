r"""Patterns that find a text in the spellings that programs give it.

`ada+1@x.de` is `ada%2B1%40x.de` in an address, `ada&#43;1@x.de` in a page and `ada\u002b1@x.de` in
JSON. ASCII letters and digits are written as they are by all of these; each other character has
several forms, and any mixture of them is found.
"""

import re
import unicodedata
from contextlib import suppress
from functools import cache
from html.entities import html5
from typing import Final

_SHORTEST_NUMBER: Final = 7
"""Fewest digits of a telephone number that is searched for in other spellings."""

_PHONE: Final = re.compile(r"\+?[\d\s()./\-]+")
_COUNTRY_CODE: Final = re.compile(
    r"(?:\+|00)(1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3})"
)
_SEPARATOR: Final = r"(?:[\s().\-/+\u00a0]|%20|%2[89DFdf]){0,3}"
_ESCAPES: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
_BEFORE_A_WORD: Final = (
    *(r"%[0-9A-Fa-f]{2}", r"\\[nrtbf]", r"\\u[0-9A-Fa-f]{4}", r"\\x[0-9A-Fa-f]{2}"),
    *(r"\[\dm", r"\[\d\dm", r"\[\d;\d\dm"),
)
"""Escaped characters and a terminal's colors end in a letter or digit that belongs to no word."""


def id_pattern(customer_id: str) -> str:
    """Return the pattern of an id as a word of its own, in any spelling of its characters.

    The id `17` is not found in `170`, `3.17`, `a-17` or `2024-17`.
    """
    first, rest = _character(customer_id[0]), spelled(customer_id[1:])
    if not _is_plain(customer_id[0]):  # it has no fixed width to look back over
        return rf"(?<![\w\-])(?<!\w\.){first}{rest}(?![\w\-])(?!\.\w)"
    escaped = "|".join(f"(?<={each}{first})" for each in _BEFORE_A_WORD)
    starts = rf"(?:(?<![\w\-]{first})(?<!\w\.{first})|{escaped})"
    return rf"{first}{starts}{rest}(?![\w\-])(?!\.\w)"


def detail_pattern(detail: str) -> str:
    """Return the pattern of a detail: e-mails in any case, numbers with any separators."""
    if _PHONE.fullmatch(detail) and len(re.sub(r"\D", "", detail)) >= _SHORTEST_NUMBER:
        return f"{re.escape(detail)}|{_phone(detail)}"
    normalize = unicodedata.normalize
    forms = {detail, normalize("NFC", detail), normalize("NFD", detail)}
    return "|".join(sorted({each for form in forms for each in _alternatives(form)}))


def _alternatives(text: str) -> list[str]:
    """Return patterns that each begin with a literal, for which the search is many times faster."""
    if "@" not in text:
        return [head + spelled(text[1:]) for head in _forms(text[0])]
    heads = [form for head in {text[0].lower(), text[0].upper()} for form in _forms(head)]
    return [f"{head}(?i:{spelled(text[1:])})" for head in heads]


def spelled(text: str) -> str:
    """Return the pattern of a text in any spelling of its characters."""
    return "".join(map(_character, text))


def _phone(number: str) -> str:
    """Return the pattern of a telephone number without its country code and leading zero.

    `+44 7700 900123` is found as `07700/900123`, `0044-7700-900123` and `(7700) 900 123`.
    """
    compact = re.sub(r"[^\d+]", "", number.replace("(0)", ""))
    code = _COUNTRY_CODE.match(compact)
    digits = compact[code.end() :] if code else compact
    digits = re.sub(r"\D", "", digits).lstrip("0")
    if len(digits) < _SHORTEST_NUMBER - 1:
        return spelled(number)
    first = digits[0]
    codes = [each + r"\d" * n for each in (r"\+", "00") for n in (1, 2, 3)]
    before = ["0", "%2[0-9A-Fa-f]", *([code[1], code[1] + r"\."] if code else codes)]
    starts = "|".join(
        [rf"(?<!\d{first})(?<!\d\.{first})", *(f"(?<={each}{first})" for each in before)]
    )
    return f"{first}(?:{starts}){_SEPARATOR}{_SEPARATOR.join(digits[1:])}(?!\\d)"


def _is_plain(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _character(character: str) -> str:
    forms = _forms(character)
    return f"(?:{'|'.join(forms)})" if len(forms) > 1 else forms[0]


@cache
def _forms(character: str) -> list[str]:
    """Return the patterns of a character: as it is, or escaped once or more often."""
    if _is_plain(character):
        return [character]
    code = ord(character)
    utf8 = character.encode("utf-8", "surrogatepass")
    utf16 = character.encode("utf-16-be", "surrogatepass")
    names = [re.escape(name) for name, value in html5.items() if value == character]
    forms = [
        re.escape(character),
        "".join(rf"\\\\*u{_hex(utf16[i : i + 2])}" for i in range(0, len(utf16), 2)),
        "&(?:amp;)*(?:" + "|".join([f"#0*{code};", f"#[xX]0*{_hex(code)};", *names]) + ")",
        *_bytes_in_text(utf8),
    ]
    if character in _ESCAPES:
        forms.append(rf"\\\\*{_ESCAPES[character]}")
    if character in "\"'/":
        forms += [character * 2, rf"\\\\*{character}{{1,2}}"]
    if character == "\\":
        forms.append(r"\\\\+")
    if character == " ":
        forms.append(r"\+")
    if code > 0x7F:  # in a file that is not UTF-8, whose bytes are read as lone surrogates
        for encoding in ("latin-1", "cp1252"):
            with suppress(UnicodeEncodeError):
                byte = character.encode(encoding)
                forms += [chr(0xDC00 + byte[0]), *_bytes_in_text(byte)]
    return list(dict.fromkeys(forms))


def _bytes_in_text(data: bytes) -> list[str]:
    """Return the patterns of bytes in an address (`%C3%A9`) and in Python's text of bytes."""
    percent = "".join(f"%(?:25)*{_hex(data[i : i + 1])}" for i in range(len(data)))
    return [percent, "".join(rf"\\\\*x{_hex(data[i : i + 1])}" for i in range(len(data)))]


def _hex(value: bytes | int) -> str:
    """Return the pattern of a number in hexadecimal digits of any case."""
    digits = value.hex() if isinstance(value, bytes) else f"{value:x}"
    return re.sub("[a-f]", lambda digit: f"[{digit[0]}{digit[0].upper()}]", digits)
