"""Rows of CSV files: no line is lost, counts add up, quoted newlines belong to values."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.retail_api.source.csv_rows import FileRows, find_layout, read_rows
from retail_pipeline.retail_api.source.orders import read_transactions_file

HEADER = "customer_id,ts,amount,product_id,note\n"


def read(folder: Path, rows: str | bytes, columns: tuple[int, ...] = (0, 1, 2)) -> FileRows:
    data = b"a,b,c\n" + (rows.encode() if isinstance(rows, str) else rows)
    layout = find_layout(data, folder, {"a", "b", "c"}.issubset)
    return read_rows(data, layout, list(columns), folder)


def values(rows: FileRows) -> list[list[str]]:
    return [list(record.values()) for record in rows.table.to_pylist()]


@pytest.mark.parametrize("place", [3, 4], ids=["a used column", "an unused column"])
@pytest.mark.parametrize("closed_later", [True, False])
def test_a_stray_quote_costs_its_own_line_alone(
    tmp_path: Path, place: int, closed_later: bool
) -> None:
    rows = [["c1", "2024-01-01", str(2**at), "p", "n"] for at in range(6)]
    rows[1][place] = '"12 inch'
    if closed_later:
        rows[4][place] = '"14 inch'
    path = tmp_path / "orders.csv"
    path.write_text(HEADER + "".join(",".join(row) + "\n" for row in rows))
    file = read_transactions_file(path, ReadingOptions(accept_loss=1))
    lost = [2, 5] if closed_later else [2]
    assert file.rejected["line"].tolist() == lost
    assert set(file.rejected["reason"]) == {'a quote (") is opened and not closed'}
    assert '"12 inch' in file.rejected["record"][0]["text"]
    assert file.records.items["amount"].sum() == 63 - sum(2 ** (at - 1) for at in lost)
    assert file.lines == 6


def test_a_stray_quote_on_the_last_line_is_noticed(tmp_path: Path) -> None:
    for end in ("", "\n", "\n\n"):
        rows = read(tmp_path, '1,2,3\n4,5,"6' + end)
        assert values(rows) == [["1", "2", "3"]]
        assert [row.line for row in rows.unusable] == [2]


def test_a_quoted_newline_is_part_of_its_value(tmp_path: Path) -> None:
    rows = read(tmp_path, '1,"x\r\n\r\n""z""",3\r\n4,5,6\r\n')
    assert values(rows) == [["1", 'x\r\n\r\n"z"', "3"], ["4", "5", "6"]]
    assert (rows.lines.tolist(), rows.unusable) == ([1, 4], [])


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_empty_lines_are_no_rows_but_count_as_lines(tmp_path: Path, newline: str) -> None:
    rows = read(tmp_path, newline.join(["", "1,2,3", "", "", "4", "5,6,7", "", ""]))
    assert values(rows) == [["1", "2", "3"], ["5", "6", "7"]]
    assert rows.lines.tolist() == [2, 6]
    assert [(row.line, row.text) for row in rows.unusable] == [(5, "4")]


def test_a_quote_inside_a_value_is_a_character(tmp_path: Path) -> None:
    rows = read(tmp_path, '12" pipe,2,3\n4,5,6"\n')
    assert values(rows) == [['12" pipe', "2", "3"], ["4", "5", '6"']]


def test_the_header_may_be_quoted_and_marked(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbf"a, b",c\r\n1,2\r\n'
    layout = find_layout(data, tmp_path, lambda names: "c" in names)
    assert layout.names == ["a, b", "c"]
    assert values(read_rows(data, layout, [1], tmp_path)) == [["2"]]


@given(
    rows=st.lists(
        st.lists(st.text('ab",\n\r\u00e9 ', max_size=6), min_size=3, max_size=3), max_size=8
    ),
)
@settings(max_examples=150, deadline=None)
def test_a_proper_csv_is_read_as_written_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    found = read(tmp_path_factory.mktemp("csv"), text.getvalue())
    if not found.unusable:
        assert values(found) == rows
    # A quoted line with as many commas as a row cannot be distinguished from a row.
    assert any("\n" in value or "\r" in value for row in rows for value in row) or (
        not found.unusable
    )


@given(
    st.lists(
        st.sampled_from(["1,2,3", '4,"5",6', '7,"8,9', '7,8,"9', '"7,8,9', '1,2",3', '1,"2"x,3']),
        min_size=1,
        max_size=8,
    ),
)
@settings(max_examples=150, deadline=None)
def test_every_line_that_looks_like_a_row_is_one_or_is_rejected(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    found = read(tmp_path_factory.mktemp("csv"), "\n".join(lines) + "\n")
    stray = [at for at, text in enumerate(lines, 1) if text[-3:] in ("8,9", ',"9')]
    assert sorted([*found.lines.tolist(), *(row.line for row in found.unusable)]) == list(
        range(1, len(lines) + 1)
    )
    assert [row.line for row in found.unusable] == stray
