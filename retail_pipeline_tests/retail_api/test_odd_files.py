"""Odd values in files: each is read rightly or refused with a reason; none is a wrong number."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import DEFAULT_READING, ReadingOptions
from retail_pipeline.retail_api.records import exact_sum
from retail_pipeline.retail_api.source.orders import TransactionsFile, read_transactions_file

NBSP, NARROW, MINUS = "\u00a0", "\u202f", "\u2212"
TWO_WAYS = "can be read in two ways"
NOT_A_DATE = "would be lost.*ts is not a date|none of the.*ts is not a date"
LOST_AMOUNTS = "would be lost.*amount is not a number|none of the.*amount is not a number"


def read(
    folder: Path, options: ReadingOptions = DEFAULT_READING, **columns: Sequence[Any]
) -> TransactionsFile:
    """Read a CSV file of some columns; the others are plain, with a line per minute."""
    count = len(next(iter(columns.values())))
    minutes = pd.date_range("2024-03-01 10:00", periods=count, freq="min").astype(str)
    plain = {
        "customer_id": [f"c{at % 7}" for at in range(count)],
        "order_id": [f"o{at}" for at in range(count)],
        "ts": minutes,
        "amount": [f"{at + 1}.50" for at in range(count)],
    }
    path = folder / "odd.csv"
    pd.DataFrame({**plain, **columns}).to_csv(path, index=False)
    return read_transactions_file(path, options)


def by_order(file: TransactionsFile, name: str) -> list[Any]:
    """Return a column of the transactions, in the order of the file's lines."""
    header = file.records.transactions
    number = header["transaction_id"].str.extract(r"^o(\d+)")[0].astype(int)
    return header.assign(number=number).sort_values("number")[name].tolist()


def amounts(file: TransactionsFile) -> list[float]:
    header = file.records.transactions.assign(amount=file.records.items["amount"])
    number = header["transaction_id"].str.extract(r"^o(\d+)")[0].astype(int)
    return header.assign(number=number).sort_values("number")["amount"].tolist()


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "2.5", "+3", "4e1", ".5", "6."], [1, 2.5, 3, 40, 0.5, 6]),
        (["1,234.50", "2.00", "12,345,678.90"], [1234.5, 2, 12345678.9]),
        (["1,23,456.00", "5.5"], [123456, 5.5]),
        (["1.234,50", "2,00", "12.345.678,90"], [1234.5, 2, 12345678.9]),
        (["169,42", "3,5", "7"], [169.42, 3.5, 7]),
        (["1 234,50", f"1{NBSP}234,50", f"1{NARROW}234,50", "2,0"], [1234.5, 1234.5, 1234.5, 2]),
        (["1 234.50", "2.0"], [1234.5, 2]),
        (["1'234.50", "1\u2019234.50", "2.0"], [1234.5, 1234.5, 2]),
        (["1.234.567", "12"], [1234567, 12]),
        (["1,234", "0.50"], [1234, 0.5]),
        (["1,234", "0,50"], [1.234, 0.5]),
        (["1.234", "0.50"], [1.234, 0.5]),
        (["0.001", "1.234"], [0.001, 1.234]),
        (["1.234", "1234.567"], [1.234, 1234.567]),
        (["(5.00)", "7.00", "5.00-", f"{MINUS}3.00", "-2.00"], [-5, 7, -5, -3, -2]),
        (["$1,234.50", "-$5.00", "$-3.10", "($4.00)"], [1234.5, -5, -3.1, -4]),
        (["€ 1.234,50", "1,00 €", "-3,00€"], [1234.5, 1, -3]),
        (["£2.50", "1.25"], [2.5, 1.25]),
        (["10,50 kr", "kr. 12,50"], [10.5, 12.5]),
        (["EUR 10.00", "5.50 EUR", "7.25 eur"], [10, 5.5, 7.25]),
        (["R$ 10,50", "R$ 1.234,00"], [10.5, 1234]),
        (["10,-", "12,50"], [10, 12.5]),
        (["1,5E+05", "2,5"], [150000, 2.5]),
        (["1,234", "5,678"], TWO_WAYS),
        (["1.234", "999"], TWO_WAYS),
        (["12,50", "12.50"], r"decimal mark \. in '12.50' and , in '12,50'"),
        (["1.234,50", "1,234.50"], r"decimal mark \. in"),
        (["$1.00", "€2.00"], r"several currencies \(\$, €\)"),
        (["5 pcs", "6 pcs", "1.0"], LOST_AMOUNTS),
        (["5 %", "6 %", "1.0"], LOST_AMOUNTS),
        (["--5", "(-5)", "1.0"], LOST_AMOUNTS),
        (["12 34", "1 2", "1.0"], LOST_AMOUNTS),
        (["10-20", "10/20", "1.0"], LOST_AMOUNTS),
        (["inf", "nan", "1.0"], LOST_AMOUNTS),
        (["1e16", "1E+40", "1.0"], "would be lost.*amount is beyond 1,000,000,000,000,000"),
        (["0x1F", "1_000", "1.0"], LOST_AMOUNTS),
        (["=12.50", '="12.50"', "1.0"], LOST_AMOUNTS),
    ],
    ids=lambda value: str(value)[:60],
)
def test_amounts(tmp_path: Path, texts: list[str], expected: list[float] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            read(tmp_path, amount=texts)
    else:
        assert amounts(read(tmp_path, amount=texts)) == expected


def test_an_ambiguous_mark_is_that_of_the_option_or_of_another_column(tmp_path: Path) -> None:
    for mark, expected in ((".", [1234.0]), (",", [1.234])):
        assert amounts(read(tmp_path, ReadingOptions(decimal=mark), amount=["1,234"])) == expected
    file = read(tmp_path, amount=["12,50", "1,25"], quantity=["1,000", "2,000"])
    assert file.records.items["quantity"].tolist() == [1, 2]
    with pytest.raises(UsageError, match=f"column quantity of .*{TWO_WAYS}"):
        read(tmp_path, amount=["12", "1"], quantity=["1,000", "2,000"])


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-03-01 10:00:00+5", "2024-03-01 10:00:00"], ["05:00", "10:00"]),
        (["2024-03-01 10:00:00+05:30:00", "2024-03-01 10:00"], ["04:30", "10:00"]),
        (["2024-03-01 10:00:00+01:00[Europe/Paris]", "2024-03-01 10:00"], ["09:00", "10:00"]),
        (["2024-03-01 10:00:00 +02:00 (CEST)", "2024-03-01 10:00"], ["08:00", "10:00"]),
        (["2024-03-01 10:00:00 -0500 EST", "2024-03-01 10:00"], ["15:00", "10:00"]),
        (["2024-03-01 10:00:00 -0500 UTC", "2024-03-01T10:00"], ["15:00", "10:00"]),
        (["2024-03-01 10:00:00-5:00", "2024-03-01 10:00:00+2"], ["15:00", "08:00"]),
        (["2024-03-01 10:00:00 UTC", "2024-03-01 10:01:00.5 GMT"], ["10:00", "10:01"]),
        (["2024-03-01 10:00:00 -0500", "2024-03-01T10:00:00Z"], ["15:00", "10:00"]),
        (["2024-03-01 10:00:00,123", "2024-03-01 10:00:00.123456789"], ["10:00", "10:00"]),
        (["2024-02-29 24:00:00", "2024-03-01 00:00:00+00"], ["00:00", "00:00"]),
        (["2024/03/01", "20240301", "2024-3-1 7:05"], ["00:00", "00:00", "07:05"]),
        (["20240301T101112Z", "202403011012", "20240301101300"], ["10:11", "10:12", "10:13"]),
        (["1/3/2024 8:26", "13/3/2024 8:26"], ["08:26", "13 08:26"]),
        (["3/1/2024 8:26", "3/13/2024 8:26"], ["08:26", "13 08:26"]),
        (
            ["3/1/2024 8:26 AM", "3/13/2024 12:26 AM", "3/1/2024 12:00 PM"],
            ["08:26", "13 00:26", "12:00"],
        ),
        (["01.03.2024 10:00", "13.03.2024"], ["10:00", "13 00:00"]),
        (["1 Mar 2024 10:00", "Mar 1, 2024 8:26 PM", "01-MAR-2024"], ["10:00", "20:26", "00:00"]),
        (["Fri, 01 Mar 2024 10:00:00 +0100", "March 1, 2024"], ["09:00", "00:00"]),
        (["Fri Mar 01 2024 10:00:00 GMT+0100 (CET)"], ["09:00"]),
        (["1709287200", "1709287260.5"], ["10:00", "10:01"]),
        (["1709287200000", "1709287260000"], ["10:00", "10:01"]),
        (["3/1/2024 8:26", "4/2/2024 8:26"], f"{TWO_WAYS}: '3/1/2024 8:26' is 3 Jan or 1 Mar"),
        (["13/3/2024", "3/13/2024"], "day first in '13/3/2024' and the month first in '3/13/2024'"),
        (["3/1/24", "13/3/24"], NOT_A_DATE),
        (["1709287200", "2024-03-01", "1709287260"], NOT_A_DATE),
        (["2024-02-30", "2023-02-29", "2024-03-01"], NOT_A_DATE),
        (["2024-13-01", "2024-00-10", "2024-03-01"], NOT_A_DATE),
        (["2024-03-01 25:00", "2024-03-01 10:61", "2024-03-01"], NOT_A_DATE),
        (["2024-03-01 10:00:00 EST", "2024-03-01 10:00 PST", "2024-03-01"], NOT_A_DATE),
        (["2024-03-01 10:00[Europe/Paris]", "2024-03-01 1:00 Europe/Paris", "x"], NOT_A_DATE),
        (["0000-00-00 00:00:00", "0000-00-00 00:00:00", "2024-03-01"], NOT_A_DATE),
        (["2024-03", "2024", "2024-03-01"], NOT_A_DATE),
        (["45352.5", "45353.5"], NOT_A_DATE),
        (["10:00", "11:00", "2024-03-01"], NOT_A_DATE),
    ],
    ids=lambda value: str(value)[:60],
)
def test_times(tmp_path: Path, texts: list[str], expected: list[str] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            read(tmp_path, ts=texts)
        return
    found = by_order(read(tmp_path, ts=texts), "transacted_at")
    days = [each if " " in each else f"1 {each}" for each in expected]
    assert [f"{time.day} {time:%H:%M}" for time in found] == days
    assert {(time.year, time.month) for time in found} == {(2024, 3)}


def test_the_order_of_day_and_month_is_that_of_the_option(tmp_path: Path) -> None:
    for order, month in (("dmy", 1), ("mdy", 3)):
        [time] = by_order(
            read(tmp_path, ReadingOptions(date_order=order), ts=["3/1/2024"]), "transacted_at"
        )
        assert time.month == month


def test_a_time_without_zone_is_that_of_the_shop(tmp_path: Path) -> None:
    texts = ["2024-07-01 00:30", "2024-01-01", "2024-07-01 00:30Z", "2024-03-31 02:30"]
    found = by_order(
        read(tmp_path, ReadingOptions(time_zone="Europe/Paris"), ts=texts), "transacted_at"
    )
    assert [str(time) for time in found] == [
        *("2024-06-30 22:30:00", "2023-12-31 23:00:00", "2024-07-01 00:30:00"),
        "2024-03-31 01:00:00",  # no such time: the clock goes from 2 to 3
    ]


@pytest.mark.parametrize("type_", [pa.int64(), pa.float64(), pa.string()])
def test_seconds_since_1970_are_times_in_any_type(tmp_path: Path, type_: pa.DataType) -> None:
    path = tmp_path / "epoch.parquet"
    ts = pa.array([1_709_287_200, 1_709_287_260, None]).cast(type_)
    pq.write_table(pa.table({"customer_id": ["a"] * 3, "ts": ts, "amount": [1.0] * 3}), path)
    times = (
        read_transactions_file(path, ReadingOptions(accept_loss=1))
        .records.transactions["transacted_at"]
        .astype(str)
    )
    assert times.tolist() == ["2024-03-01 10:00:00", "2024-03-01 10:01:00"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["refunded", "paid", "Returned", "completed"], [True, False, True, False]),
        (["YES", "no", "", "Y"], [True, False, False, True]),
        (["True", "nan", "False", "TRUE"], [True, False, False, True]),
        (["1.0", "0.0", "", "1"], [True, False, False, True]),
        (["-1", "0", f"{MINUS}1", "0"], [True, False, True, False]),
        (["credit_note", "Sale", "charged-back", "sold"], [True, False, True, False]),
        (["1", "-1", "1", "1"], r"is_return of .* has 4 values .*'1' \(3\), '-1' \(1\)"),
        (["refunded", "partially refunded", "paid", "paid"], r"'partially refunded' \(1\)"),
        (["cancelled", "paid", "paid", "paid"], r"'cancelled' \(1\)"),
        (["2", "0", "1", "0"], r"has 1 value of .*'2' \(1\)"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_words_of_returns(tmp_path: Path, words: list[str], expected: list[bool] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            read(tmp_path, is_return=words)
        return
    file = read(tmp_path, is_return=words)
    assert [kind == "return" for kind in by_order(file, "type")] == expected
    assert [amount < 0 for amount in amounts(file)] == expected


@pytest.mark.parametrize(
    "word", ["NA", "n/a", "NaN", "NULL", "None", "#N/A", "empty", "", " Guest "]
)
def test_a_word_for_no_customer_is_a_guest(tmp_path: Path, word: str) -> None:
    file = read(tmp_path, customer_id=["c1", word, "c2", "c1"])
    assert by_order(file, "user_id") == ["c1", None, "c2", "c1"]
    assert set(file.records.users["user_id"]) == {"c1", "c2"}
    [loss] = file.losses
    assert (loss.treatment, loss.lines, float(loss.net_amount)) == ("no customer", 1, 2.5)
    if word.strip():
        file = read(tmp_path, ReadingOptions(missing_customer_words=()), customer_id=["c1", word])
        assert by_order(file, "user_id") == ["c1", word.strip()]


def test_the_id_0_is_a_guest_only_where_it_stands_out(tmp_path: Path) -> None:
    many = [str(at) for at in range(10)] * 5
    assert "0" in by_order(read(tmp_path, customer_id=many), "user_id")
    guests = [*many, *["0"] * 51]
    assert "0" not in by_order(read(tmp_path, customer_id=guests), "user_id")
    no_words = ReadingOptions(missing_customer_words=())
    assert "0" in by_order(read(tmp_path, no_words, customer_id=guests), "user_id")


def test_a_customer_named_on_one_line_of_the_order_is_no_guest_on_the_others(
    tmp_path: Path,
) -> None:
    ids = {"customer_id": ["c1", "", "c2", ""], "order_id": ["o1", "o1", "o2", "o2"]}
    with pytest.raises(UsageError, match=r"another line of its order has one.*--profile"):
        read(tmp_path, **ids)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["123", " 123", "123.0", "0123"], {"123", "0123"}),
        (["7.0", "8.0", f"{NBSP}7"], {"7", "8"}),
        (["7.0", "8.5"], {"7.0", "8.5"}),
        (["v1.0", "7.0"], {"v1.0", "7"}),
        (["5.01E+12", "5.02E+12", "1"], "has lost its last digits in a spreadsheet: '5.01E[+]12'"),
        (["k" * 513, "k" * 514, "1"], r"customer_id is longer than 512 bytes: '.{1,80}'"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, list) else "",
)
def test_ids(tmp_path: Path, ids: list[str], expected: set[str] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            read(tmp_path, customer_id=ids)
    else:
        assert set(by_order(read(tmp_path, customer_id=ids), "user_id")) == expected


@pytest.mark.parametrize("name", ["quantity", "unit_price"])
def test_a_number_beyond_the_limit_is_left_out_and_counted(tmp_path: Path, name: str) -> None:
    file = read(tmp_path, **{name: ["1", "1E+40", "2"]})
    assert file.nulled == {name: 1}
    assert file.records.items[name].isna().sum() == 1
    with pytest.raises(UsageError, match=f"2 of 3 values of the column {name} .*'x', 'y'"):
        read(tmp_path, **{name: ["x", "y", "2"]})


GOOD = [f"{at}.25" for at in range(1, 401)]


@pytest.mark.parametrize(
    ("lost", "columns", "reason"),
    [
        (range(0, 400, 200), {}, None),
        (range(0, 400, 50), {}, r"8 of 400 lines .*\(2.0% of the lines, .*; 8 amounts"),
        (range(3), {"country": ["Eire"] * 3 + ["Spain"] * 397}, "all 3 lines of the country Eire"),
        (range(2), {"is_return": ["yes"] * 2 + ["no"] * 398}, "all 2 returns"),
        (range(3), {"ts": ["2024-02-01"] * 3 + ["2024-03-01"] * 397}, "all 3 lines of 2024-02"),
    ],
)
def test_a_loss_that_is_a_rule_is_refused_and_a_stray_one_is_not(
    tmp_path: Path, lost: range, columns: dict[str, list[str]], reason: str | None
) -> None:
    texts = ["?" if at in lost else text for at, text in enumerate(GOOD)]
    if reason is None:
        assert len(read(tmp_path, amount=texts, **columns).rejected) == len(lost)
        return
    with pytest.raises(UsageError, match=reason) as refused:
        read(tmp_path, amount=texts, **columns)
    share = float(str(refused.value).rpartition("--accept-loss ")[2])
    file = read(tmp_path, ReadingOptions(accept_loss=share), amount=texts, **columns)
    assert len(file.rejected) == len(lost)
    with pytest.raises(UsageError, match="would be lost"):
        read(tmp_path, ReadingOptions(accept_loss=share - 0.001), amount=texts, **columns)


def test_large_amounts_that_are_all_lost_are_refused(tmp_path: Path) -> None:
    texts = [*(["1.25"] * 400), "1;234.50", "2;345.60", "3;456.70"]
    with pytest.raises(UsageError, match="all 3 amounts of more than 1 digit"):
        read(tmp_path, amount=texts)


def test_a_file_with_exchanged_signs_is_refused(tmp_path: Path) -> None:
    texts = [f"-{text}" for text in GOOD[:90]] + GOOD[:10]
    with pytest.raises(UsageError, match=r"more returns than sales: 90 lines with 4,117\.50"):
        read(tmp_path, amount=texts)
    assert len(read(tmp_path, amount=[text.removeprefix("-") for text in texts]).rejected) == 0


def test_one_line_with_much_money_is_no_stray_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"1 of 400 lines .*99\.\d% of the money"):
        read(tmp_path, amount=["1"] * 399 + ["99999"], ts=["2024-03-01"] * 399 + ["?"])


@pytest.mark.parametrize("column", ["customer_id", "ts", "amount", "is_return", "quantity"])
def test_no_message_is_longer_than_a_screen(tmp_path: Path, column: str) -> None:
    rows = [f"{'?' * 3000}{at}" for at in range(300)]
    with pytest.raises(UsageError) as refused:
        read(tmp_path, **{column: rows})
    assert len(str(refused.value)) < 1500
    assert "\n" not in str(refused.value)


ODD = {
    "customer_id": st.sampled_from(["a", "b", "c ", "", "NA", "k" * 600, "1.5E+11"]),
    "order_id": st.sampled_from(["1", "2", "3", ""]),
    "ts": st.sampled_from(["2024-01-01", "2024-01-02 10:00:00 UTC", "never", "31/01/2024", ""]),
    "amount": st.sampled_from(["1.10", "-0.30", "1,000.50", "(2.20)", "x", "", "1e20", "0"]),
    "quantity": st.sampled_from(["1", "2.5", "x", "", "1e30"]),
    "is_return": st.sampled_from(["yes", "no", "", "maybe"]),
}
SIGNS = {"1.10": "1.10", "-0.30": "-0.30", "1,000.50": "1000.50", "(2.20)": "-2.20", "0": "0"}


@given(rows=st.lists(st.fixed_dictionaries(ODD), min_size=1, max_size=15))
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_lines_and_money_in_are_those_used_and_lost_as_printed(
    tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    path = tmp_path / "odd.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    try:
        file = read_transactions_file(path, ReadingOptions(accept_loss=1))
    except UsageError as refused:
        assert any(words in str(refused) for words in ("none of the", "no line of", "no value"))
        return
    given_ = [
        (
            -abs(Decimal(SIGNS[r["amount"]]))
            if r["is_return"] == "yes"
            else Decimal(SIGNS[r["amount"]])
        )
        for r in rows
        if r["amount"] in SIGNS
    ]
    used = exact_sum(file.records.items["amount"].to_numpy())
    rejected = [loss for loss in file.losses if loss.treatment == "rejected"]
    assert len(rows) == file.lines == len(file.records.items) + len(file.rejected)
    assert sum(loss.lines for loss in rejected) == len(file.rejected)
    assert used + sum(loss.net_amount for loss in rejected) == sum(given_)
    assert sum(loss.unknown_amounts for loss in rejected) == len(rows) - len(given_)
    guests = file.records.transactions[file.records.transactions["user_id"].isna()]
    assert guests["line_count"].sum() == sum(
        loss.lines for loss in file.losses if loss.treatment == "no customer"
    )
    assert file.nulled.get("quantity", 0) == sum(
        loss.lines for loss in file.losses if loss.treatment == "nulled"
    )
