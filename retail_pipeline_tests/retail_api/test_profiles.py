"""Profiles: each reads a synthetic export of its shop with refunds, guests and cancelled orders."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.retail_api import source_id
from retail_pipeline.retail_api.records import exact_sum
from retail_pipeline.retail_api.source.column_names import fitting_profile
from retail_pipeline.retail_api.source.lines import read_lines
from retail_pipeline.retail_api.source.orders import (
    TransactionsFile,
    read_transactions_file,
    settled_lines,
)
from retail_pipeline.retail_api.source.profiles import FOLDER, load_profile, shipped
from retail_pipeline.settings import FileSource, parse_file

SHOPIFY = """\
Name,Email,Financial Status,Paid at,Currency,Subtotal,Created at,Lineitem quantity,Lineitem name,\
Lineitem price,Lineitem discount,Refunded Amount,Cancelled at
#1,ann@x.example,paid,2024-01-03 09:36:00 -0500,EUR,12.30,2024-01-03 09:35:00 -0500,3,Mug,4.1,,0.00,
#1,ann@x.example,,,,,2024-01-03 09:35:00 -0500,1,Bowl,10.00,2.50,,
#2,bob@x.example,refunded,2024-01-31 22:00:00 -0500,EUR,8,2024-01-31 22:00:00 -0500,2,Mug,4,0,8,
#3,ann@x.example,partially_refunded,2024-02-03 10:00:00 -0500,EUR,20,2024-02-03 10:00:00 -0500,1,\
Bowl,20,0,5.00,
#4,,paid,2024-02-04 10:00:00 -0500,EUR,20,2024-02-04 10:00:00 -0500,1,Bowl,20,0,0,
#5,cy@x.example,pending,,EUR,7,2024-02-05 10:00:00 -0500,1,Mug,7,0,0,
#6,cy@x.example,paid,2024-02-05 10:00:00 -0500,EUR,9,2024-02-05 10:00:00 -0500,1,Mug,9,0,0,\
2024-02-06 00:00:00 -0500
"""
WOOCOMMERCE = """\
Order Number;Order Status;Order Date;Email (Billing);Item Name;Quantity;Item Cost
10;Completed;2024-01-03 09:36;ann@x.example;Mug;3;4,1
10;;;;Bowl;1;7,5
11;Refunded;2024-01-31 22:00;bob@x.example;Mug;2;4
12;Cancelled;2024-02-01 10:00;bob@x.example;Mug;1;4
13;On hold;2024-02-01 10:00;bob@x.example;Mug;1;5
14;Processing;2024-02-02 10:00;Guest;Bowl;1;20
15;Processing;2024-02-03 10:00;ann@x.example;Bowl;1;15,50
"""
SUPERSTORE = """\
Row ID,Order ID,Order Date,Ship Date,Customer ID,Country/Region,Product ID,Sales,Quantity,Discount
1,CA-1,1/3/2024,1/5/2024,AA-1,United States,P-1,12.3,3,0
2,CA-1,1/3/2024,1/5/2024,AA-1,United States,P-2,7.5,1,0.2
3,CA-2,2/13/2024,2/15/2024,AA-1,United States,P-2,15.5,1,0
4,CA-3,2/14/2024,2/15/2024,,United States,P-2,20,1,0
"""
GENERIC = """\
Order No|Customer Number|Order Date|SKU|Qty|Unit Price|Currency|Status
1|a|2024-01-03|m|3|4.10|EUR|shipped
1|a|2024-01-03|b|1|7.50|EUR|shipped
2|b|2024-01-31|m|2|4|EUR|returned
3|b|2024-02-01|m|1|5|EUR|cancelled
4||2024-02-02|b|1|20|EUR|shipped
5|a|2024-02-03|b|1|15.50|EUR|shipped
"""
UCI = """\
Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country
1,m,"MUG, BLUE",3,1/3/2024 9:36,4.10,a,France
1,b,BOWL,1,1/3/2024 9:36,7.50,a,France
2,b,BOWL,1,2/13/2024 10:00,18.00,a,France
C3,b,BOWL,-1,2/14/2024 10:00,2.50,a,France
4,b,BOWL,1,2/14/2024 10:00,20,,France
"""


def olist(folder: Path) -> Path:
    tables = {
        "olist_order_items_dataset.csv": "order_id,order_item_id,product_id,price,freight_value\n"
        "o1,1,m,12.30,9\no1,2,b,7.50,9\no2,1,b,4.00,9\no3,1,b,15.50,9\no4,1,b,20,9\n",
        "olist_orders_dataset.csv": "order_id,customer_id,order_status,order_purchase_timestamp\n"
        "o3,k3,delivered,2024-02-03 10:00:00\no1,k1,delivered,2024-01-03 23:30:00\n"
        "o2,k2,canceled,2024-01-31 10:00:00\no4,k9,shipped,2024-02-04 10:00:00\n",
        "olist_customers_dataset.csv": "customer_id,customer_unique_id,customer_state\n"
        "k1,ann,SP\nk2,bob,SP\nk3,ann,RJ\n",
    }
    for name, text in tables.items():
        (folder / name).write_text(text)
    return folder


def written(text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "export.csv"
        path.write_text(text)
        return path

    return write


EXPORTS: dict[str, tuple[Callable[[Path], Path], dict[str, str], dict[str, str], int]] = {
    # The net amount of each customer, the lines left out with their amounts, the added returns.
    "shopify": (
        written(SHOPIFY),
        {"ann@x.example": "34.80", "bob@x.example": "0.0"},
        {"status is pending": "7", "cancelled is filled": "9"},
        2,
    ),
    "woocommerce": (
        written(WOOCOMMERCE),
        {"ann@x.example": "35.3", "bob@x.example": "0"},
        {"status is cancelled": "4", "status is on hold": "5"},
        1,
    ),
    "olist": (olist, {"ann": "35.30"}, {"status is canceled": "4"}, 0),
    "superstore": (written(SUPERSTORE), {"AA-1": "35.3"}, {}, 0),
    "generic-orders": (
        written(GENERIC),
        {"a": "35.3", "b": "0"},
        {"status is cancelled": "5"},
        1,
    ),
    "uci-online-retail": (written(UCI), {"a": "35.3"}, {}, 0),
}


def money(file: TransactionsFile) -> dict[str, Decimal]:
    header = file.records.transactions
    customers = header["user_id"].astype(object).repeat(header["line_count"]).to_numpy()
    amounts = file.records.items["amount"].groupby(customers)
    return {str(name): exact_sum(values.to_numpy()) for name, values in amounts}


@pytest.mark.parametrize("name", EXPORTS)
def test_a_profile_reads_its_export(tmp_path: Path, name: str) -> None:
    write, expected, left_out, refunds = EXPORTS[name]
    source = FileSource(write(tmp_path), ReadingOptions(profile=name))
    lines = read_lines(source.path, source.options)
    found = {rule.reason: rule.amount for rule in lines.file.left_out}
    assert found == {reason: Decimal(amount) for reason, amount in left_out.items()}
    assert lines.file.refunds == refunds
    assert len(lines.good) + len(lines.rejected) == lines.count - len(left_out) + refunds
    file = read_transactions_file(source.path, source.options)
    assert money(file) == {customer: Decimal(net) for customer, net in expected.items()}
    assert file.records.transactions["currency"].nunique() <= 1
    assert file.records.transactions["transacted_at"].dt.year.eq(2024).all()
    [guest] = [loss for loss in file.losses if loss.treatment == "no customer"]
    assert (guest.lines, guest.net_amount) == (1, 20)


@pytest.mark.parametrize("name", shipped())
@given(data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_lines_and_money_of_a_dirty_export_are_used_or_told(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    profile = load_profile(name)
    words = (*profile.left_out.get("status", ()), *profile.refunded, "paid")
    rows = data.draw(st.lists(dirty_lines(words), min_size=1, max_size=8))
    columns = {at: profile.columns[at][0] for at in rows[0] if at in profile.columns}
    if profile.line_total is None:
        columns["amount"] = profile.columns["amount"][0]
    frame = pd.DataFrame(rows)
    frame["amount"] = [
        format(value, "f") if value is not None else "?" for value in map(worth, rows)
    ]
    frame[list(columns)].rename(columns=columns).to_csv(tmp_path / "export.csv", index=False)
    options = ReadingOptions(profile=name, accept_loss=1.0)
    try:
        found = read_lines(tmp_path / "export.csv", options)
    except UsageError as error:
        known = ("can be used", "has no lines", "has a customer")
        assert any(words in str(error) for words in known)
        return
    used = settled_lines(found.good)
    lost = [loss for loss in found.losses if loss.treatment in ("rejected", "left out")]
    assert found.count == len(rows)
    assert len(used) - found.file.refunds + sum(loss.lines for loss in lost) == len(rows)
    refunded = exact_sum(used["amount"].to_numpy()[len(used) - found.file.refunds :])
    told = exact_sum(used["amount"].to_numpy()) - refunded + sum(loss.net_amount for loss in lost)
    assert refunded == -sum(x.net_amount for x in found.losses if x.treatment == "refunded")
    assert told == sum(filter(None, map(worth, rows)))


def dirty_lines(statuses: tuple[str, ...]) -> st.SearchStrategy[dict[str, str]]:
    """Lines by standard column names; each value may be missing or unreadable."""
    return st.fixed_dictionaries(
        {
            "order_id": st.sampled_from(["1", "2", ""]),
            "customer_id": st.sampled_from(["a", "b", "NA", ""]),
            "ts": st.sampled_from(["2024-01-13 10:00:00", "2024-02-28", "never", ""]),
            "quantity": st.sampled_from(["1", "3", "some", ""]),
            "unit_price": st.sampled_from(["4.1", "10.25", "much", ""]),
            "status": st.sampled_from([*statuses, ""]),
        }
    )


def worth(line: dict[str, str]) -> Decimal | None:
    known = line["quantity"].isdigit() and line["unit_price"][-1:].isdigit()
    return Decimal(line["quantity"]) * Decimal(line["unit_price"]) if known else None


def test_every_shipped_profile_is_tried_and_its_export_suggests_it(tmp_path: Path) -> None:
    assert set(EXPORTS) == set(shipped())
    for name, (write, *_) in EXPORTS.items():
        folder = tmp_path / name
        folder.mkdir()
        path = write(folder)
        if path.is_file():
            header = path.read_text().splitlines()[0]
            mark = max(",;|", key=header.count)
            assert fitting_profile(header.split(mark)) == name
            with pytest.raises(UsageError, match=f"--profile {name} reads"):
                read_lines(path, ReadingOptions())


def test_times_of_a_shop_are_in_its_zone(tmp_path: Path) -> None:
    file = read_transactions_file(olist(tmp_path), ReadingOptions(profile="olist"))
    first = file.records.transactions["transacted_at"].min()
    assert first == pd.Timestamp("2024-01-04 02:30")  # 23:30 in São Paulo


def test_several_currencies_are_refused_unless_they_are_left_out(tmp_path: Path) -> None:
    options = ReadingOptions(profile="shopify")
    text = SHOPIFY.replace(",EUR,7,", ",USD,7,")  # the pending order
    read_transactions_file(written(text)(tmp_path), options)
    text = SHOPIFY.replace(",EUR,20,", ",USD,20,")
    with pytest.raises(UsageError, match=r"several currencies \(EUR, USD\)"):
        read_transactions_file(written(text)(tmp_path), options)


def test_statuses_that_no_rule_uses_are_told(tmp_path: Path) -> None:
    path = written(GENERIC)(tmp_path)
    columns = "customer_id=Customer Number,ts=Order Date,amount=Unit Price"
    source = parse_file(str(path), "--transactions", columns=columns)
    [told] = [x for x in read_lines(path, source.options).losses if x.treatment == "sold"]
    assert (told.lines, told.net_amount, told.first_line) == (2, 9, 3)
    assert "Status, for which there is no rule, says cancelled, returned" in told.reason
    plain = "customer_id,ts,amount,status\na,2024-01-01,5,paid\na,2024-01-02,-5,refunded\n"
    assert read_lines(written(plain)(tmp_path), ReadingOptions()).losses == ()


def test_a_part_that_was_refunded_keeps_the_decimal_mark(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "columns: {customer_id: k, ts: t, amount: a, order_id: o, status: s, refunded_amount: r}\n"
        "partly_refunded: part\n"
    )
    path = written("k;t;a;o;s;r\nx;2024-01-01;1.219,50;1;part;100,25\n")(tmp_path)
    file = read_transactions_file(path, ReadingOptions(profile=str(tmp_path / "p.yaml")))
    assert money(file) == {"x": Decimal("1119.25")}


def test_fields_that_only_the_first_line_of_an_order_has_are_told(tmp_path: Path) -> None:
    rows = "1,a,2024-01-01,5\n1,,,6\n2,b,2024-01-02,5\n2,b,,7\n"
    path = written("order_id,customer_id,ts,amount\n" + rows)(tmp_path)
    with pytest.raises(UsageError, match="lack what another line of their order has"):
        read_transactions_file(path)
    file = read_transactions_file(path, ReadingOptions(profile="generic-orders"))
    assert money(file) == {"a": 11, "b": 12}
    alone = written("order_id,customer_id,ts,amount\n1,a,2024-01-01,5\n2,,,6\n3,,,6\n")(tmp_path)
    with pytest.raises(UsageError) as caught:
        read_transactions_file(alone)
    assert "carry_down" not in str(caught.value)


def test_columns_on_the_command_line_replace_those_of_the_profile(tmp_path: Path) -> None:
    path = written(GENERIC)(tmp_path)
    source = parse_file(
        str(path),
        "--transactions",
        profile="generic-orders",
        columns='customer_id=SKU,amount="Unit Price"',
    )
    assert money(read_transactions_file(source.path, source.options)) == {
        "m": Decimal("4.1"),
        "b": Decimal("43"),
    }
    assert source_id(source) != source_id(FileSource(path, ReadingOptions(profile="olist")))


def test_a_copied_profile_is_another_source_once_it_is_changed(tmp_path: Path) -> None:
    path, copy = written(GENERIC)(tmp_path), tmp_path / "mine.yaml"
    copy.write_text((FOLDER / "generic-orders.yaml").read_text())
    source = FileSource(path, ReadingOptions(profile=str(copy)))
    first, before = source_id(source), money(read_transactions_file(path, source.options))
    copy.write_text(copy.read_text().replace("left_out:", "left_out:\n  country: [none]"))
    assert source_id(source) != first
    assert "profile=mine&" in first
    assert money(read_transactions_file(path, source.options)) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: {}\nlinetotal: 1", "linetotal is not known, is line_total meant?"),
        ("columns: {customer: Email}", "columns: 'customer' is not one of customer_id, ts"),
        ("columns: {}\ndate_order: ymd", "date_order: input should be 'dmy' or 'mdy'"),
        ("columns: [", "is not proper YAML"),
        ("- a", "must be a table of settings"),
    ],
)
def test_a_faulty_profile_is_one_clear_message(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_profile(str(tmp_path / "p.yaml"))
    assert message in str(caught.value)


def test_an_unknown_profile_is_told_with_the_one_that_is_meant() -> None:
    with pytest.raises(UsageError, match=r"no profile 'shopfy'; is shopify meant\?"):
        load_profile("shopfy")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "Customer ID,When,Value",
            ["no column customer_id", "no column ts", 'customer_id="Customer ID"', "ts=…"],
        ),
        ("customer_id,TS,amount", ["no column ts", "ts=TS"]),
        ("customer_id,ts,amount,amount", ["the column amount twice"]),
        ("customer,ts,ts,Total", ["no column customer_id", "the column ts twice", "amount=Total"]),
        (",".join(f"field {at}" for at in range(200)), ["field 9", "… (200)"]),
    ],
)
def test_all_faults_of_a_header_are_told_at_once(
    tmp_path: Path, header: str, told: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        read_lines(written(f"{header}\n")(tmp_path), ReadingOptions())
    assert all(words in str(caught.value) for words in told)
    assert len(str(caught.value)) < 700
    assert "field 10," not in str(caught.value)


def test_a_column_that_the_user_names_must_be_there(tmp_path: Path) -> None:
    options = ReadingOptions(columns=(("customer_id", "Emial"), ("ts", "Order Date")))
    with pytest.raises(UsageError, match=r"no column 'Emial' \(is 'Email' meant\?\)"):
        read_lines(written("Email,Order Date,amount\n")(tmp_path), options)


@pytest.mark.parametrize(
    "names", [("Invoice", "Price", "Customer ID"), ("InvoiceNo", "UnitPrice", "CustomerID")]
)
def test_online_retail_in_its_own_columns_equals_the_prepared_file(
    online_retail_ii: Path, tmp_path: Path, names: tuple[str, str, str]
) -> None:
    prepared = pd.read_parquet(online_retail_ii).head(100_000)
    prepared.to_parquet(tmp_path / "prepared.parquet")
    given = ("invoice", "unit_price", "customer_id")
    others = {"product_id": "StockCode", "quantity": "Quantity", "ts": "InvoiceDate"}
    columns = {**dict(zip(given, names, strict=True)), **others, "country": "Country"}
    raw = prepared.rename(columns=columns)[list(columns.values())]
    raw["InvoiceDate"] = prepared["ts"].dt.strftime("%-m/%-d/%Y %-H:%M")
    raw.to_csv(tmp_path / "raw.csv", index=False)
    one = read_transactions_file(tmp_path / "prepared.parquet").records
    two = read_transactions_file(
        tmp_path / "raw.csv", ReadingOptions(profile="uci-online-retail")
    ).records
    transactions = two.transactions.assign(currency=one.transactions["currency"])
    pd.testing.assert_frame_equal(one.transactions, transactions)
    pd.testing.assert_frame_equal(one.items, two.items)
