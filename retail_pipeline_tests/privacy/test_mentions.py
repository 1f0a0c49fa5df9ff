"""A person is found in every spelling, and other people's words and bytes stay."""

import gzip
import html
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retail_pipeline.privacy.artifacts import redact_files
from retail_pipeline.privacy.mentions import Person

LETTERS = st.text("abkZ09 .'\"&<+/\\\n@%-éßØğ漢😀", min_size=4, max_size=12)
ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "latin-1": lambda text: text.encode("latin-1", "xmlcharrefreplace"),
    "quote": lambda text: quote(text, safe="").encode(),
    "quote twice": lambda text: quote(quote(text, safe="")).lower().encode(),
    "quote plus": lambda text: quote_plus(text).encode(),
    "html": lambda text: html.escape(text).encode(),
    "html ascii": lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace"),
    "json": lambda text: json.dumps(text).encode(),
    "json in json": lambda text: json.dumps({"a": json.dumps({"b": text})}).encode(),
    "repr": lambda text: repr(text).encode(),
    "repr of bytes": lambda text: repr(text.encode()).encode(),
    "csv": lambda text: ('"' + text.replace('"', '""') + '"').encode(),
}


@given(detail=LETTERS, encoding=st.sampled_from(sorted(ENCODINGS)), compressed=st.booleans())
@example(detail="Zoë O'Quill", encoding="latin-1", compressed=False)
@example(detail="a+b@é.de", encoding="json in json", compressed=True)
def test_no_encoded_form_of_a_detail_stays(detail: str, encoding: str, compressed: bool) -> None:
    if not detail.strip() or (encoding == "quote twice" and detail != detail.lower()):
        return
    form = ENCODINGS[encoding](detail)
    with TemporaryDirectory() as name:
        file = Path(name) / "a.log"
        data = b"\xff 1: " + form + b" kept"
        file.write_bytes(gzip.compress(data) if compressed else data)
        list(redact_files(Path(name), Person("K17", {detail}).pattern()))
        assert file.exists() != compressed
        if not compressed:
            left = file.read_bytes()
            assert left.startswith(b"\xff 1: ") and left.endswith(b" kept")
            assert form.strip(b"\"'b") not in left.removesuffix(b" kept")


@given(text=st.text('abK17 .-é\n{}":,', max_size=40))
def test_texts_without_the_person_keep_every_byte(text: str) -> None:
    pattern = Person("K17", {"Ada Quill", "+44 7700 900123"}).pattern()
    with TemporaryDirectory() as name:
        file = Path(name) / "a.log"
        data = b"\xff" + text.replace("K17", "").encode()
        file.write_bytes(data)
        assert list(redact_files(Path(name), pattern)) == []
        assert file.read_bytes() == data


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ("Ada@x-shop.de", "ADA%40X-Shop.de"),
        ("+49 (0)30 1234567", "030/1234567"),
        ("+49 (0)30 1234567", "0049-30-123 45 67"),
        ("030 1234567", "+49 30 1234567"),
        ("+1 (212) 555-0100", "212.555.0100"),
        ("+1 (212) 555-0100", "1.212.555.0100"),
        ("+447700900123", "tel:0044%20%287700%29%20900123"),
    ],
)
def test_spellings_of_an_email_and_a_phone(detail: str, text: str) -> None:
    assert "[" not in text
    assert Person("K17", {detail}).pattern().search(text)


@pytest.mark.parametrize("text", ["1030 12345678", "9.301234567", "4970 1234567", "Ada@x-shop.dk"])
def test_other_numbers_and_addresses_stay(text: str) -> None:
    assert not Person("K17", {"+49 (0)30 1234567", "Ada@x-shop.de"}).pattern().search(text)


@pytest.mark.parametrize(
    "text", ["K17", "\x1b[31mK17\x1b[0m", r"failed:\nK17 is bad", "?id%3DK17%26x", "&lt;K17&gt;"]
)
def test_an_id_is_a_word_after_escapes_too(text: str) -> None:
    assert "K17" not in Person("K17").pattern().sub("", text)


def test_a_report_keeps_its_images_and_a_document_its_numbers(tmp_path: Path) -> None:
    image = "data:image/png;base64,AAAA/17+17/QQ=="
    (tmp_path / "a.html").write_text(f"<img src='{image}'> 17")
    document = {"customer_id": 17, "rows": 17, "17": 17, "Ada Quill": f"{image} 17"}
    (tmp_path / "a.json").write_text(json.dumps(document))
    list(redact_files(tmp_path, Person("17", {"Ada Quill"}).pattern()))
    assert (tmp_path / "a.html").read_text() == f"<img src='{image}'> [forgotten]"
    assert json.loads((tmp_path / "a.json").read_text()) == {
        **{"customer_id": "[forgotten]", "rows": 17, "17": 17},
        "[forgotten]": f"{image} [forgotten]",
    }


def test_a_database_of_superset_is_redacted_and_works_on(tmp_path: Path) -> None:
    file = tmp_path / "superset.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute('create table "the logs" (id integer primary key, sql text, value blob)')
        rows = [
            (1, "K17: Ada Quill", b"K17"),
            (2, "others", b"\0" * 99 + b"Ada Quill"),
            (3, "c", b""),
        ]
        connection.executemany('insert into "the logs" values (?, ?, ?)', rows)
        connection.commit()
    pattern = Person("K17", {"Ada Quill"}).pattern()
    before = file.read_bytes()
    for write in (False, True):
        assert [each.mentions for each in redact_files(tmp_path, pattern, write=write)] == [2]
        assert (file.read_bytes() == before) != write
    assert b"Ada Quill" not in file.read_bytes()
    with closing(sqlite3.connect(file)) as connection:
        kept = connection.execute('select id, sql from "the logs"').fetchall()
    assert kept == [(1, "[forgotten]: [forgotten]"), (3, "c")]


def test_secrets_and_python_environments_are_not_searched(tmp_path: Path) -> None:
    for name in (
        "pgpass/login",
        "superset/secret.key",
        "superset/venv/pyvenv.cfg",
        "superset/venv/a.so",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"17:\0 17")
    assert list(redact_files(tmp_path, Person("17").pattern())) == []
