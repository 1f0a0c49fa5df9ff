"""Formats of transactions files: the same lines in each are the same records."""

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api import source_id
from retail_pipeline.retail_api.source.file_table import read_table
from retail_pipeline.retail_api.source.orders import TransactionsFile, read_transactions_file
from retail_pipeline.settings import FileSource, parse_file
from retail_pipeline_tests.retail_api.spreadsheets import serial, write_xlsx

NAMES = ["customer_id", "order_id", "ts", "amount", "product_id", "quantity"]
LINES = [
    ["0042", "o1", datetime(2024, 1, 5, 9, 30), 19.5, "mug, blue", 1.0],
    ["0042", "o1", datetime(2024, 1, 5, 9, 30), 4.25, 'bowl "M"', 2.0],
    ["c7", "o2", datetime(2024, 2, 29, 23, 59, 59), 100.0, "1234", 1.0],
    ["c7", "o3", datetime(2024, 3, 1), -100.0, "1234", -1.0],
]


def text(separator: str = ",", before: str = "", numbers: Callable[[float], str] = str) -> str:
    def cell(value: object) -> str:
        plain = numbers(value) if isinstance(value, float) else str(value)
        needs_quotes = any(sign in plain for sign in (separator, '"', "\n"))
        return '"' + plain.replace('"', '""') + '"' if needs_quotes else plain

    rows = [NAMES, *LINES]
    return before + "".join(separator.join(map(cell, row)) + "\n" for row in rows)


def records() -> list[dict[str, object]]:
    return [dict(zip(NAMES, map(plain, line), strict=True)) for line in LINES]


def plain(value: object) -> object:
    return str(value) if isinstance(value, datetime) else value


def zipped(folder: Path, members: dict[str, str]) -> Path:
    path = folder / "orders.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def content(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def folder_of_csv(folder: Path) -> Path:
    header, *rows = text().splitlines(keepends=True)
    content(folder / "parts" / "a" / "1.csv", header + "".join(rows[:3]))
    content(folder / "parts" / "a" / "2.csv.gz", gzip.compress((header + rows[3]).encode()))
    content(folder / "parts" / "_SUCCESS", "")
    return folder / "parts"


def folder_of_parquet(folder: Path) -> Path:
    frame = pd.DataFrame(LINES, columns=NAMES)
    (folder / "parts").mkdir()
    frame[:2].to_parquet(folder / "parts" / "1.parquet")
    # A part without leading zeros has another type, and other columns' order.
    frame[2:][NAMES[::-1]].to_parquet(folder / "parts" / "2.parquet")
    return folder / "parts"


def json_lines(folder: Path) -> Path:
    lines = "\n".join(map(json.dumps, records()))
    return content(folder / "orders.json", f"{lines}\n")


SHAPES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "commas": (lambda f: content(f / "o.csv", text()), "CSV, values separated by commas"),
    "semicolons": (lambda f: content(f / "o.csv", text(";")), "semicolons"),
    "tabs": (lambda f: content(f / "o.txt", text("\t")), "tabs"),
    "pipes": (lambda f: content(f / "o.csv", text("|")), "pipes"),
    "a sep line": (lambda f: content(f / "o.csv", text("^", "sep=^\r\n")), "'^', header in line 2"),
    "a title": (
        lambda f: content(f / "o.csv", text(";", "Sales 2024;;;;;\n\nmade by A, B; C\n")),
        "semicolons, header in line 4",
    ),
    "UTF-16": (lambda f: content(f / "o.csv", text("\t").encode("utf-16")), "UTF-16, CSV"),
    "a byte order mark": (lambda f: content(f / "o.csv", "\ufeff" + text()), "commas"),
    "gzip": (lambda f: content(f / "o.csv.gz", gzip.compress(text().encode())), "gzip, CSV"),
    "zip": (lambda f: zipped(f, {"a/": "", "a/o.csv": text(), "__MACOSX/._o": "x"}), "zip of a/o"),
    "JSON": (lambda f: content(f / "o.json", json.dumps(records(), indent=1)), "JSON"),
    "JSON in an object": (
        lambda f: content(f / "o.json", json.dumps({"count": 4, "orders": records()}, indent=1)),
        "JSON",
    ),
    "JSON lines": (json_lines, "JSON"),
    "Parquet": (
        lambda f: [pd.DataFrame(LINES, columns=NAMES).to_parquet(f / "o.pq"), f / "o.pq"][1],
        "Parquet",
    ),
    "Excel": (
        lambda f: write_xlsx(f / "o.xlsx", {"Orders": [["Shop"], [], NAMES, *LINES]}),
        "spreadsheet, sheet Orders, header in row 3",
    ),
    "Excel days": (
        lambda f: write_xlsx(
            f / "o.xlsx",
            {"A": [NAMES, *([*row[:2], serial(row[2]), *row[3:]] for row in LINES)], "B": []},  # type: ignore[arg-type]
        ),
        "spreadsheet, sheet A (not B: name one as o.xlsx#B, or all as o.xlsx#*)",
    ),
    "a folder of CSV": (folder_of_csv, "2 parts, the first: CSV"),
    "a folder of Parquet": (folder_of_parquet, "2 parts, the first: Parquet"),
}


def served(file: TransactionsFile) -> list[list[object]]:
    header = file.records.transactions
    lines = header.loc[header.index.repeat(header["line_count"])].reset_index(drop=True)
    items = file.records.items
    columns = [lines["user_id"], lines["transaction_id"], lines["transacted_at"]]
    columns += [items[name] for name in ("amount", "product_id", "quantity")]
    return [list(row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_lines_in_every_format_are_the_same_records(tmp_path: Path, shape: str) -> None:
    write, words = SHAPES[shape]
    path = write(tmp_path)
    assert words in read_table(path).words
    file = read_transactions_file(path)
    expected = sorted(LINES, key=lambda line: (line[2], line[1]))
    assert served(file) == [[line[0], line[1], line[2], *line[3:]] for line in expected]
    assert file.rejected.empty


def test_a_sheet_is_named_after_the_path(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "o.xlsx", {"A": [["x"]], "My sales": [NAMES, *LINES]})
    source = parse_file(f"{path}#My sales", "--transactions")
    assert str(source) == f"file:{path}?sheet=My sales"
    assert read_transactions_file(source.path, source.options).lines == 4
    with pytest.raises(UsageError, match=r"no sheet 'B'; its sheets are A, My sales"):
        read_transactions_file(path, parse_file(f"{path}#B", "--transactions").options)


def test_all_sheets_are_read_as_one(tmp_path: Path) -> None:
    halves = {"2024": [NAMES, *LINES[:2]], "2025": [["Sales"], NAMES, *LINES[2:]]}
    source = parse_file(f"{write_xlsx(tmp_path / 'o.xlsx', halves)}#*", "--transactions")
    assert len(served(read_transactions_file(source.path, source.options))) == len(LINES)


def test_lines_of_parts_are_counted_on(tmp_path: Path) -> None:
    content(tmp_path / "1.csv", "customer_id,ts,amount\na,2024-01-01,1\nb,2024-01-01,2\n")
    content(tmp_path / "2.csv", "amount,customer_id,ts\n3,c,2024-01-02\n4,5\n")
    table = read_table(tmp_path)
    assert table.table["customer_id"].to_pylist() == ["a", "b", "c"]
    assert (table.lines.tolist(), table.unusable[0].line, table.count) == ([1, 2, 3], 4, 4)


def test_a_changed_part_is_another_source(tmp_path: Path) -> None:
    content(tmp_path / "1.csv", "customer_id,ts,amount\na,2024-01-01,1\n")
    content(tmp_path / "2.csv", "customer_id,ts,amount\nb,2024-01-01,1\n")
    first = source_id(FileSource(tmp_path))
    content(tmp_path / "2.csv", "customer_id,ts,amount\nb,2024-01-01,10\n")
    assert source_id(FileSource(tmp_path)) != first


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv.gz", gzip.compress(text().encode())[:-9], "damaged gzip file"),
        ("a.zip", b"PK\x03\x04 nothing", "damaged or locked zip"),
        ("a.json", "[1, 2", "not proper JSON"),
        ("a.csv", '"customer_id,ts,amount"\n"a,2024-01-01,5"\n', "in quotes as a whole"),
        ("a.json", "[1, 2]", "neither an array of objects"),
        ("a.json", '[{"customer_id": {"a": 1}, "ts": 1, "amount": 1}]', "customer_id .* objects"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0 old", "cannot be read as a spreadsheet"),
        ("a.csv", b"customer_id,ts,amount\nM\xfcller,2024-01-01,1\n", "iconv -f WINDOWS-1252"),
    ],
)
def test_what_cannot_be_read_is_one_clear_message(
    tmp_path: Path, name: str, data: str | bytes, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_transactions_file(content(tmp_path / name, data))
    assert name in str(caught.value)
    assert len(str(caught.value)) < 400


def test_archives_and_folders_of_different_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds 2 files \(a.csv, b.csv\); unpack it"):
        read_table(zipped(tmp_path, {"a.csv": text(), "b.csv": text()}))
    content(tmp_path / "parts" / "1.csv", "customer_id,ts,amount\na,2024-01-01,1\n")
    content(tmp_path / "parts" / "2.csv", "customer_id,ts,total\na,2024-01-01,1\n")
    with pytest.raises(UsageError, match=r"1.csv and 2.csv differ in amount, total"):
        read_table(tmp_path / "parts")


@pytest.mark.parametrize("address", ["https://u:pw@x.example/o.csv?key=s", "s3://bucket/o.csv"])
def test_an_address_is_refused_without_its_secrets(address: str) -> None:
    with pytest.raises(UsageError, match="is an address: download it") as caught:
        parse_file(address, "--transactions")
    assert "pw" not in str(caught.value)
    assert "key" not in str(caught.value)


def test_a_bad_line_of_json_lines_is_rejected_alone(tmp_path: Path) -> None:
    good = json.dumps(records()[0])
    text = f"{good}\n\n{{oops\n" + f"{good}\n" * 120
    file = read_transactions_file(content(tmp_path / "o.jsonl", text))
    assert (file.lines, file.rejected["line"].tolist()) == (122, [3])
    assert file.rejected["reason"].tolist() == ["not a JSON object"]
