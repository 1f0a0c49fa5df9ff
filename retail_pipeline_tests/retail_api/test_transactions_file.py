"""Transactions files: orders, returns, bad lines, exact money, clear messages for bad files."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.retail_api import default_as_of
from retail_pipeline.retail_api.records import exact_sum, totals_of
from retail_pipeline.retail_api.source.orders import TransactionsFile, read_transactions_file
from retail_pipeline.settings import FileSource

Row = dict[str, object]

LENIENT = ReadingOptions(accept_loss=1.0)
"""For tiny files, in which a bad line is a large share."""


def write(folder: Path, rows: list[Row], *, parquet: bool = False) -> Path:
    frame = pd.DataFrame(rows)
    path = folder / ("orders.parquet" if parquet else "orders.csv")
    frame.to_parquet(path) if parquet else frame.to_csv(path, index=False)
    return path


def line(**values: object) -> Row:
    return {"customer_id": "c1", "ts": "2024-03-01 10:00:00", "amount": "5.00", **values}


def lines_by_transaction(file: TransactionsFile) -> dict[str, list[float]]:
    header, items = file.records.transactions, file.records.items
    ids = header["transaction_id"].repeat(header["line_count"]).to_numpy()
    return items["amount"].groupby(ids).agg(list).to_dict()


def money_by_customer(file: TransactionsFile) -> dict[str, Decimal]:
    header = file.records.transactions
    customers = header["user_id"].repeat(header["line_count"]).to_numpy()
    amounts = file.records.items["amount"].groupby(customers)
    return {str(name): exact_sum(values.to_numpy()) for name, values in amounts}


def test_an_order_is_its_id_alone_with_the_time_and_country_of_its_first_line(
    tmp_path: Path,
) -> None:
    rows = [
        line(order_id="7", country="France"),
        line(order_id="8"),
        line(order_id="7", ts="2024-03-01 11:00:00", country="Spain"),
    ]
    file = read_transactions_file(write(tmp_path, rows))
    order = file.records.transactions.set_index("transaction_id").loc["7"]
    assert order["transacted_at"] == pd.Timestamp("2024-03-01 10:00:00")
    assert (order["user_id"], order["country"], order["line_count"]) == ("c1", "France", 2)


def test_customers_who_share_an_order_id_have_an_order_each(tmp_path: Path) -> None:
    rows = [
        line(order_id="7", amount="1", ts="2024-03-01 08:00:00"),
        line(order_id="7", amount="20", customer_id="c2", ts="2024-03-01 09:00:00"),
        line(order_id="7", amount="2"),
        line(order_id="7", amount="-3", customer_id="c2"),
        line(order_id="7-c2", amount="400", customer_id="c3"),
    ]
    file = read_transactions_file(write(tmp_path, rows))
    assert lines_by_transaction(file) == {
        "7": [1, 2],
        "7-c2-c2": [20],
        "7-c2-c2-return": [-3],
        "7-c2": [400],
    }
    assert money_by_customer(file) == {"c1": 3, "c2": 17, "c3": 400}
    times = file.records.transactions.set_index("transaction_id")["transacted_at"]
    assert times["7-c2-c2"] == pd.Timestamp("2024-03-01 09:00:00")


def test_days_that_share_an_order_id_have_an_order_each_the_earliest_keeps_it(
    tmp_path: Path,
) -> None:
    rows = [
        line(order_id="7", amount="-100", ts="2024-02-20"),
        line(order_id="7", amount="100", ts="2024-01-01"),
        line(order_id="7", amount="5", ts="2024-02-20", customer_id="c2"),
    ]
    file = read_transactions_file(write(tmp_path, rows))
    assert lines_by_transaction(file) == {
        "7": [100],
        "7@2024-02-20": [-100],
        "7-c2@2024-02-20": [5],
    }


LINES = st.builds(
    line,
    order_id=st.sampled_from(["1", "2", ""]),
    customer_id=st.sampled_from(["c1", "c2"]),
    ts=st.sampled_from([f"2024-01-0{day} {hour}" for day in (1, 2, 3, 4) for hour in ("01", "20")]),
    amount=st.integers(-9, 9).map(str),
)


@given(lines=st.lists(LINES, min_size=1, max_size=12), day=st.integers(2, 4))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_records_as_of_a_date_follow_from_the_lines_before_it(
    tmp_path: Path, lines: list[dict], day: int
) -> None:
    as_of = f"2024-01-0{day}"
    until = [each for each in lines if each["ts"] < as_of]
    assume(until)
    whole = read_transactions_file(write(tmp_path, lines)).records.before(date.fromisoformat(as_of))
    cut = read_transactions_file(write(tmp_path, until)).records
    for name in ("transactions", "items", "users", "products"):
        pd.testing.assert_frame_equal(
            getattr(whole, name), getattr(cut, name), check_dtype=False, check_categorical=False
        )


def test_without_order_id_a_customers_lines_of_one_timestamp_are_an_order(tmp_path: Path) -> None:
    rows = [line(), line(customer_id="c2"), line(), line(ts="2024-03-01T10:00:01")]
    first = read_transactions_file(write(tmp_path, rows))
    again = read_transactions_file(write(tmp_path, rows))
    assert sorted(len(amounts) for amounts in lines_by_transaction(first).values()) == [1, 1, 2]
    assert lines_by_transaction(first) == lines_by_transaction(again)


def test_an_order_of_mixed_signs_is_a_sale_with_its_id_and_a_return(tmp_path: Path) -> None:
    rows = [
        line(order_id="1", amount="10", quantity="2"),
        line(order_id="1", amount="-3", quantity="-1"),
        line(order_id="2", amount="-4", quantity="-1"),
        line(order_id="2", amount="0", quantity="1"),
    ]
    file = read_transactions_file(write(tmp_path, rows))
    assert lines_by_transaction(file) == {"1": [10], "1-return": [-3], "2": [-4, 0]}
    kinds = file.records.transactions.set_index("transaction_id")["type"]
    assert kinds.to_dict() == {"1": "sale", "1-return": "return", "2": "return"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([("100", "1"), ("-10", "1")], {"1": [100, -10]}),
        ([("100", "1"), ("-60", "1"), ("-40", "2")], {"1": [100, -60, -40]}),
        ([("100", "1"), ("-10", "")], {"1": [100], "1-return": [-10]}),
        ([("100", "1"), ("-10", "-1")], {"1": [100], "1-return": [-10]}),
        ([("100", "1"), ("-101", "1")], {"1": [100], "1-return": [-101]}),
        ([("-10", "1")], {"1": [-10]}),
    ],
)
def test_a_voucher_stays_in_its_sale(
    tmp_path: Path, lines: list[tuple[str, str]], expected: dict[str, list[float]]
) -> None:
    rows = [line(order_id="1", amount=amount, quantity=quantity) for amount, quantity in lines]
    file = read_transactions_file(write(tmp_path, rows))
    assert lines_by_transaction(file) == expected
    kinds = file.records.transactions.set_index("transaction_id")["type"]
    is_return = {"1": lines == [("-10", "1")], "1-return": True}
    assert kinds.to_dict() == {name: "return" if is_return[name] else "sale" for name in expected}


def test_an_order_that_is_named_like_a_return_keeps_a_place_of_its_own(tmp_path: Path) -> None:
    rows = [
        line(order_id="1", amount="10"),
        line(order_id="1", amount="-3"),
        line(order_id="1-return", amount="7"),
    ]
    file = read_transactions_file(write(tmp_path, rows))
    assert sorted(lines_by_transaction(file).values()) == [[-3], [7], [10]]


def test_a_marked_return_counts_as_one_whatever_its_sign(tmp_path: Path) -> None:
    rows = [line(order_id="1", amount="3", quantity="2", is_return="True")]
    items = read_transactions_file(write(tmp_path, rows)).records.items
    assert (items["amount"].tolist(), items["quantity"].tolist()) == ([-3], [-2])


def test_equal_lines_are_no_duplicates(tmp_path: Path) -> None:
    file = read_transactions_file(write(tmp_path, [line(order_id="1"), line(order_id="1")]))
    assert file.records.items["line_number"].tolist() == [1, 2]


def test_ids_of_a_csv_are_verbatim(tmp_path: Path) -> None:
    rows = [line(customer_id="007", order_id="000489434", product_id="1e5"), line(order_id="NA")]
    file = read_transactions_file(write(tmp_path, rows))
    assert set(file.records.transactions["transaction_id"]) == {"000489434", "NA"}
    assert file.records.users["user_id"].tolist() == ["007", "c1"]
    assert file.records.products["product_id"].tolist() == ["1e5"]


def test_numeric_ids_of_a_parquet_file_lose_no_digit(tmp_path: Path) -> None:
    rows = [line(customer_id=13085.0, order_id=9_007_199_254_740_993, amount=1.5)]
    file = read_transactions_file(write(tmp_path, rows, parquet=True))
    order = file.records.transactions.iloc[0]
    assert (order["user_id"], order["transaction_id"]) == ("13085", "9007199254740993")


def parquet(folder: Path, **columns: object) -> Path:
    path = folder / "typed.parquet"
    given = {"customer_id": ["a", "b"], "ts": ["2024-01-01"] * 2, "amount": [1.5, 2.5]}
    pq.write_table(pa.table({**given, **columns}), path)
    return path


def test_missing_ids_among_numbers_are_missing(tmp_path: Path) -> None:
    ids = pa.array([np.nan, 13085.0])
    file = read_transactions_file(parquet(tmp_path, customer_id=ids))
    assert set(file.records.transactions["user_id"]) == {None, "13085"}
    assert file.records.users["user_id"].tolist() == ["13085"]
    no_ids = {"order_id": pa.array([np.nan, 7.0]), "product_id": pa.array([np.nan, 8.5])}
    file = read_transactions_file(parquet(tmp_path, **no_ids))
    ids = file.records.transactions["transaction_id"].tolist()
    assert sorted(ids) == ["7", "a@2024-01-01T00:00:00.000000Z"]
    assert file.records.products["product_id"].tolist() == ["8.5"]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([1e16, 123456789.0]), ["10000000000000000", "123456789"]),
        (pa.array([1e20, -0.0]), ["100000000000000000000", "0"]),
        (pa.array([13085.0, 0.5], pa.float32()), ["13085", "0.5"]),
        (pa.array([Decimal("7.00"), Decimal("8.50")]), ["7", "8.50"]),
        (pa.array([b"x", b"y"]), ["x", "y"]),
        (pa.array(["x", "y"], pa.string_view()), ["x", "y"]),
        (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([7, 8]).dictionary_encode(), ["7", "8"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_ids_are_text_whatever_type_they_are_stored_in(
    tmp_path: Path, ids: pa.Array, expected: list[str]
) -> None:
    file = read_transactions_file(parquet(tmp_path, customer_id=ids, product_id=ids))
    assert set(file.records.users["user_id"]) == set(expected)
    assert set(file.records.products["product_id"]) == set(expected)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([2**40, 1_704_067_200], pa.timestamp("s")),
        pa.array([2**55, 1_704_067_200_000], pa.timestamp("ms", "Europe/Paris")),
        pa.array([2**62, 1_704_067_200_000_000], pa.timestamp("us", "UTC")),
        pa.array([2**30, 19_723], pa.date32()),
        pa.array(["9999-12-31", "2024-01-01"]),
    ],
    ids=lambda times: str(times.type),
)
def test_a_line_with_a_time_out_of_range_is_rejected(tmp_path: Path, times: pa.Array) -> None:
    path = parquet(tmp_path, ts=times)
    file = read_transactions_file(path, LENIENT)
    assert file.rejected["reason"].str.contains("ts is not a date").tolist() == [True]
    assert file.records.transactions["transacted_at"].tolist() == [pd.Timestamp("2024-01-01")]
    assert default_as_of(FileSource(path)) == date(2024, 1, 2)


def test_empty_columns_are_absent_unless_required(tmp_path: Path) -> None:
    nothing = pa.nulls(2)
    path = parquet(tmp_path, quantity=nothing, currency=nothing, order_id=nothing)
    assert len(read_transactions_file(path).records.items) == 2
    for name in ("customer_id", "ts", "amount"):
        with pytest.raises(UsageError, match=f"column {name} of .* holds no value"):
            read_transactions_file(parquet(tmp_path, **{name: nothing}))


@pytest.mark.parametrize("ids", [pa.array([b"\xff", b"y"]), pa.array([["x"], ["y"]])])
def test_ids_that_are_no_text_are_one_clear_message(tmp_path: Path, ids: pa.Array) -> None:
    with pytest.raises(UsageError, match=r"the column customer_id of .* holds"):
        read_transactions_file(parquet(tmp_path, customer_id=ids))


@pytest.mark.parametrize("name", ["customer_id", "order_id", "product_id"])
def test_a_line_with_a_nul_character_in_an_id_is_rejected(tmp_path: Path, name: str) -> None:
    rows = [line(**{name: "a\0b"}), line(**{name: "c"})]
    file = read_transactions_file(write(tmp_path, rows), LENIENT)
    assert file.rejected["line"].tolist() == [1]
    assert file.rejected["reason"][0].startswith(f"{name} has a NUL character")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0.1, 2.55, 1234567.89], pa.float32()).cast(pa.string()).cast(pa.float32()),
        pa.array([Decimal("0.10"), Decimal("2.55"), Decimal("1234567.89")]),
        pa.array(["0.1", "+2.55", " 1234567.89 "]),
        pa.array(["0.1", "2.55", "1234567.89"]).dictionary_encode(),
    ],
    ids=["float32", "decimal", "text", "dictionary"],
)
def test_amounts_are_the_decimals_that_the_file_shows(tmp_path: Path, column: pa.Array) -> None:
    path = tmp_path / "typed.parquet"
    ids, times = pa.array(["a", "b", "c"]), pa.array(["2024-01-01"] * 3)
    pq.write_table(pa.table({"customer_id": ids, "ts": times, "amount": column}), path)
    amounts = read_transactions_file(path).records.items["amount"].tolist()
    assert amounts[:2] == [0.1, 2.55]
    assert amounts[2] == (1234567.9 if column.type == pa.float32() else 1234567.89)


TIMES = {
    "2024-03-01": "2024-03-01 00:00:00",
    "20240302": "2024-03-02 00:00:00",
    "2024-03-01 10:11": "2024-03-01 10:11:00",
    "2024-03-01T10:11:12": "2024-03-01 10:11:12",
    "2024-03-02T10:11:12Z": "2024-03-02 10:11:12",
    "2024-03-01T10:11:12.345678+02:00": "2024-03-01 08:11:12.345678",
    "2024-03-01T00:00:00-0800": "2024-03-01 08:00:00",
    "20240301T000000+0530": "2024-02-29 18:30:00",
}


@given(order=st.permutations(list(TIMES)))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_times_are_utc_unless_they_say_otherwise_whatever_stands_before_them(
    tmp_path: Path, order: list[str]
) -> None:
    lines = [line(ts=ts, order_id=f"o{number}") for number, ts in enumerate(order)]
    header = read_transactions_file(write(tmp_path, lines)).records.transactions
    found = header.set_index("transaction_id")["transacted_at"]
    assert [found[f"o{number}"] for number in range(len(order))] == [
        pd.Timestamp(TIMES[ts]) for ts in order
    ]


def test_ids_of_a_bad_line_are_spelled_as_those_of_a_good_one(tmp_path: Path) -> None:
    rows = [
        line(customer_id=13085.0, order_id=7.0, amount=None),
        line(customer_id=13085.0, order_id=None, amount=1.0),
    ]
    file = read_transactions_file(write(tmp_path, rows, parquet=True), LENIENT)
    assert file.records.transactions["user_id"].tolist() == ["13085"]
    (record,) = file.rejected["record"]
    assert (record["customer_id"], record["order_id"]) == ("13085", "7")


def test_a_bad_line_is_rejected_alone_with_its_reason(tmp_path: Path) -> None:
    rows = [
        line(order_id="1", amount="1.10"),
        line(order_id="1", amount="ten"),
        line(order_id="1", ts="31/02/2024"),
        line(order_id="1", customer_id="  "),
        line(order_id="1", amount="inf", ts=""),
        line(order_id="1", amount="2.20"),
    ]
    file = read_transactions_file(write(tmp_path, rows), LENIENT)
    assert lines_by_transaction(file) == {"1": [1.1, 2.2]}
    assert file.rejected[["line", "reason"]].to_numpy().tolist() == [
        [2, "amount is not a number: 'ten'"],
        [3, "ts is not a date: '31/02/2024'"],
        [4, "customer_id is missing, but another line of its order has one"],
        [5, "ts is missing; amount is not a number: 'inf'"],
    ]
    assert file.rejected["record"][0]["amount"] == "ten"
    assert file.lines == len(file.records.items) + len(file.rejected) == 6


def test_a_csv_row_of_another_shape_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "customer_id,ts,amount\nc1,2024-01-01,1\nc2,2024-01-01,1,2,3\nc3,2024-01-01,x\n"
    )
    file = read_transactions_file(path, LENIENT)
    assert file.rejected["line"].tolist() == [2, 3]
    assert "5 values where 3 are expected" in file.rejected["reason"][0]
    assert file.lines == 3


def test_equal_bad_lines_are_distinct_records(tmp_path: Path) -> None:
    file = read_transactions_file(
        write(tmp_path, [line(), line(amount="x"), line(amount="x")]), LENIENT
    )
    assert file.rejected["record_hash"].nunique() == 2


def test_unreadable_optional_values_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [
        line(quantity="two", unit_price="2.5"),
        line(quantity="2", unit_price=""),
        line(quantity="1e16", unit_price="1"),
    ]
    file = read_transactions_file(write(tmp_path, rows), LENIENT)
    assert file.nulled == {"quantity": 2}
    assert file.records.items["quantity"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize(
    "column", [["1.0", "0.0"], ["TRUE", "no"], [1.0, 0.0], [1, 0], [1.0, None]]
)
@pytest.mark.parametrize("parquet", [False, True], ids=["csv", "parquet"])
def test_a_return_is_marked_by_numbers_as_well(
    tmp_path: Path, column: list[object], parquet: bool
) -> None:
    rows = [line(order_id=str(at), is_return=mark) for at, mark in enumerate(column)]
    file = read_transactions_file(write(tmp_path, rows, parquet=parquet))
    assert file.records.transactions["type"].tolist() == ["return", "sale"]
    assert not file.nulled


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", ""]),
            st.sampled_from(["2024-01-01 10:00", "2024-01-02", "never"]),
            st.sampled_from(["1.10", "-0.30", "0", "x", "2e1"]),
            st.sampled_from(["1", "2", ""]),
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_line_is_served_once_or_rejected_and_no_penny_is_lost(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, str, str, str]]
) -> None:
    names = ("customer_id", "ts", "amount", "order_id")
    rows: list[Row] = [dict(zip(names, row, strict=True)) for row in values]
    named = {(r["order_id"], str(r["ts"])[:10]) for r in rows if r["customer_id"]}
    good = [r for r in rows if r["ts"] != "never" and r["amount"] != "x"]
    # A blank customer is a guest, unless another line of the order has a customer.
    good = [
        r
        for r in good
        if r["customer_id"] or not r["order_id"] or (r["order_id"], str(r["ts"])[:10]) not in named
    ]
    path = write(tmp_path_factory.mktemp("file"), rows)
    if not any(r["customer_id"] for r in good):
        with pytest.raises(UsageError, match=r"none of the|no line of .* has a customer"):
            read_transactions_file(path, LENIENT)
        return
    file = read_transactions_file(path, LENIENT)
    totals = totals_of(file.records.transactions, file.records.items)
    assert totals.lines == len(good)
    assert len(file.rejected) == len(rows) - len(good)
    assert totals.net_amount == sum(Decimal(str(row["amount"])) for row in good)
    assert file.records.transactions["transaction_id"].is_unique
    for name, money in money_by_customer(file).items():
        given = (Decimal(str(r["amount"])) for r in good if r["customer_id"] == name)
        assert money == sum(given)
    for amounts in lines_by_transaction(file).values():
        assert min(amounts) >= 0 or max(amounts) <= 0


def test_a_file_without_products_has_an_empty_stream(tmp_path: Path) -> None:
    file = read_transactions_file(write(tmp_path, [line()]))
    assert file.records.products.empty
    assert file.records.items["product_id"].isna().all()


def test_a_user_is_known_since_the_first_transaction(tmp_path: Path) -> None:
    rows = [
        line(order_id="2", ts="2024-05-01"),
        line(order_id="1", ts="2024-04-01", country="Eire"),
    ]
    file = read_transactions_file(write(tmp_path, [{"country": "", **row} for row in rows]))
    user = file.records.users.iloc[0]
    assert (user["created_at"], user["country"]) == (pd.Timestamp("2024-04-01"), "Eire")


def test_the_default_as_of_date_is_the_day_after_the_last_timestamp(tmp_path: Path) -> None:
    rows = [line(ts="2024-05-01 00:00:00"), line(ts="2024-04-01"), line(ts="9/9/29")]
    assert default_as_of(FileSource(write(tmp_path, rows))) == date(2024, 5, 2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "gone.csv does not exist"),
        ("a.csv", "customer_id,ts\na,2024-01-01\n", "has no column amount; it needs"),
        ("a.csv", "", "a.csv"),
        ("a.csv", "customer_id,ts,amount\n", "has no lines"),
        ("a.csv", "customer_id,ts,amount\na,soon,1\n", "none of the 1 lines.*ts is not a date"),
        ("a.csv", "customer_id,ts,amount,ts\na,2024-01-01,1,2\n", "the column ts twice"),
        ("a.parquet", "PAR1 not really", "cannot be read: .*"),
        ("a.csv", b"customer_id,ts,amount\n\xff\x81,2024-01-01,1\n", "is not UTF-8; save"),
        ("a.csv", b"customer_id,ts,amount\n\xff,2024-01-01\n", "is not UTF-8; save"),
        ("a.csv", b"customer_id,ts,amount,stra\xdfe\n", "is not UTF-8; save"),
        ("a.csv", "customer_id,ts,amount\n".encode("utf-16"), "has no lines"),
        ("a.csv", "customer_id,ts,amount\n".encode("utf-16-le"), "or UTF-16.*save it as UTF-8"),
        ("a.csv", 'customer_id,ts,"amount\nc1,2024-01-01,1\n', "header of .* quote"),
        (
            "a.csv",
            "customer_id,ts,amount,currency\na,2024-01-01,1,EUR\na,2024-01-01,1,GBP\n",
            r"several currencies \(EUR, GBP\)",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_message(
    tmp_path: Path, name: str, content: str | bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message) as caught:
        read_transactions_file(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no files"):
        read_transactions_file(tmp_path)


@given(st.lists(st.decimals(-10_000, 10_000, places=3, allow_nan=False), max_size=40))
@settings(max_examples=50, deadline=None)
def test_sums_are_exact(values: list[Decimal]) -> None:
    assert exact_sum(np.array([float(v) for v in values], dtype=float)) == sum(values, Decimal(0))


def test_real_transactions_keep_their_totals(online_retail_ii: Path) -> None:
    raw = pd.read_parquet(online_retail_ii)
    file = read_transactions_file(online_retail_ii)
    totals = totals_of(file.records.transactions, file.records.items)
    cents = (raw["amount"] * 1000).round().astype("int64").sum()
    assert totals.net_amount == Decimal(int(cents)) / 1000
    assert totals.lines == len(raw) == file.lines
    assert totals.transactions == raw["invoice"].nunique()
    assert len(file.records.users) == raw["customer_id"].nunique()
    assert len(file.records.products) == raw["product_id"].nunique()
    returned = raw.loc[raw["is_return"], "invoice"].nunique()
    assert totals.returns == returned
    assert default_as_of(FileSource(online_retail_ii)) == date(2011, 12, 10)
