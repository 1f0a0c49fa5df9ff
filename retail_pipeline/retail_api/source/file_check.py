"""The content of a transactions file in numbers, which `check` prints before anything is stored."""

import csv
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from retail_pipeline.business_day import today
from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.retail_api.source import values
from retail_pipeline.retail_api.source.lines import FileLines, read_lines
from retail_pipeline.retail_api.source.losses import Loss
from retail_pipeline.retail_api.source.orders import settled_lines
from retail_pipeline.retail_api.source.plausibility import SalesFacts, find_doubts
from retail_pipeline.retail_api.source.profiles import with_profile
from retail_pipeline.settings import CODE_LISTS, NO_CODES

_CENT = 0.005
_MOST_EXAMPLES = 3


@dataclass(frozen=True)
class FileCheck:
    """The content of a file in numbers, as a run would load it.

    Attributes:
        words: How the file is read, such as "CSV, values separated by semicolons".
        columns: The file's name of each used column, by its standard name.
        options: How the file is read, with the profile's settings.
        decimal_marks: The decimal mark of each column of numbers that is text.
        lines: The number of lines of the file.
        used: The number of lines that are used.
        refunds: The number of returns that were added for refunded lines.
        orders: The number of orders.
        currency: The currency; empty if the file has none.
        months: A row per month: `month, lines, orders, customers, sales, returns, net_amount`.
        losses: What is not used, by reason.
        excluded: The lines whose code is not a product, by reason: their number and net amount.
            They are loaded but not counted as revenue.
        examples: Up to three rejected lines: number and reason.
        refusal: Why a run would stop, or None.
        doubts: The names of plausibility rules and their sentences.
        days: The first and the last day.
        customers: The customers with a purchase before the cut-off.
        repeat_customers: The number of these with purchases on several days.
        history_days: The days from the first purchase to the cut-off.
        cutoff: The cut-off.
    """

    words: str
    columns: dict[str, str]
    options: ReadingOptions
    decimal_marks: dict[str, str]
    lines: int
    used: int
    refunds: int
    orders: int
    currency: str | None
    months: pd.DataFrame
    losses: tuple[Loss, ...]
    excluded: list[tuple[str, int, float]]
    examples: list[tuple[int, str]]
    refusal: str | None
    doubts: list[tuple[str, str]]
    days: tuple[date, date]
    customers: int
    repeat_customers: int
    history_days: int
    cutoff: date


def check_file(
    path: Path,
    options: ReadingOptions,
    *,
    cutoff: date | None = None,
    codes: str = NO_CODES,
    time_zone: str = "UTC",
    day: date | None = None,
) -> FileCheck:
    """Return the content of a file in numbers, with its losses and doubts.

    Args:
        path: The file.
        options: How it is read.
        cutoff: The date before which the history counts; by default the day after the last line.
        codes: The list of codes that are no products.
        time_zone: The zone of days and of the cut-off (`RETAIL_TIME_ZONE`).
        day: The day of the check; by default the current one.

    Raises:
        UsageError: The file cannot be read, or no line can be used.
    """
    file = read_lines(path, replace(options, accept_loss=1.0))
    refusal = None
    if file.losses:
        try:
            read_lines(path, options)
        except UsageError as error:
            refusal = str(error)
    local = file.good["time"].dt.tz_localize("UTC").dt.tz_convert(time_zone).dt.tz_localize(None)
    lines = settled_lines(file.good).assign(time=local, day=local.dt.normalize())
    days = lines["day"].min().date(), lines["day"].max().date()
    cutoff = cutoff or days[1] + timedelta(days=1)
    purchases = _purchases(lines[lines["time"] < pd.Timestamp(cutoff)])
    by_customer = purchases.groupby("customer_id", observed=True).size()
    first = purchases["day"].min()
    rejected = zip(file.rejected["line"], file.rejected["reason"], strict=True)
    return FileCheck(
        words=file.file.words,
        columns=file.file.columns,
        options=with_profile(options),
        decimal_marks=dict(file.decimal_marks),
        lines=file.count,
        used=len(lines) - file.file.refunds,
        refunds=file.file.refunds,
        orders=int(lines["order"].max()) + 1,
        currency=file.currency,
        months=_months(lines),
        losses=file.losses,
        excluded=_excluded(lines, codes),
        examples=[(int(line), str(reason)) for line, reason in rejected][:_MOST_EXAMPLES],
        refusal=refusal,
        doubts=list(find_doubts(sales_facts(file, lines, day or today(time_zone), cutoff))),
        days=days,
        customers=len(by_customer),
        repeat_customers=int((by_customer > 1).sum()),
        history_days=0 if purchases.empty else (pd.Timestamp(cutoff) - first).days,
        cutoff=cutoff,
    )


def _excluded(lines: pd.DataFrame, codes: str) -> list[tuple[str, int, float]]:
    with CODE_LISTS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["code_list"] == codes]
    reasons = {row["product_code"]: row["exclusion_reason"] for row in rows}
    found = lines["product_id"].astype(object).str.upper().map(reasons) if reasons else None
    if found is None or found.isna().all():
        return []
    groups = lines.groupby(found)["amount"].agg(["size", "sum"])
    return [(str(row[0]), int(row[1]), float(row[2])) for row in groups.itertuples()]


def _purchases(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the customer-days with a positive net amount."""
    net = lines.groupby(["customer_id", "day"], observed=True)["amount"].sum()
    return net[net > _CENT / 10].reset_index()


def _months(lines: pd.DataFrame) -> pd.DataFrame:
    """Return lines, orders, customers and money by month, months without lines included."""
    month = lines["day"].dt.to_period("M")
    returned = lines["amount"].where(lines["is_return"], 0.0)
    sold = lines["amount"] - returned
    table = (
        lines.assign(month=month, sales=sold, returns=returned)
        .groupby("month")
        .agg(
            lines=("amount", "size"),
            orders=("order", "nunique"),
            customers=("customer_id", "nunique"),
            sales=("sales", "sum"),
            returns=("returns", "sum"),
            net_amount=("amount", "sum"),
        )
    )
    return table.rename_axis("month").reset_index().astype({"month": str})


def sales_facts(file: FileLines, lines: pd.DataFrame, day: date, as_of: date) -> SalesFacts:
    """Return the numbers of a file's lines that the rules of plausibility need."""
    by_customer = lines["customer_id"].value_counts()
    before = lines.loc[lines["time"] < pd.Timestamp(as_of), "day"]
    last = before.max() if len(before) else lines["day"].max()
    currencies = file.file.column("currency")
    return SalesFacts(
        lines=len(lines),
        customers=int((by_customer > 0).sum()),
        top_customer=str(by_customer.index[0]),
        top_customer_lines=int(by_customer.iloc[0]),
        last_day=last.date(),
        today=day,
        as_of=as_of,
        future_lines=int((lines["day"] > pd.Timestamp(day)).sum()),
        currencies=() if currencies is None else _distinct(currencies),
        **_gap(lines["day"]),
        **_prices(lines),
        **_orders(lines),
    )


def _distinct(column: pa.ChunkedArray) -> tuple[str, ...]:
    return tuple(sorted(values.texts(column).drop_null().unique().to_pylist()))


def _gap(day: pd.Series) -> dict[str, Any]:
    counts = day.value_counts().sort_index()
    if len(counts) < 2:
        return {}
    days = counts.index.to_numpy()
    at = int(np.diff(days).argmax())
    ends = pd.Timestamp(days[at]).date(), pd.Timestamp(days[at + 1]).date()
    return {"gap": ends, "lines_before_gap": int(counts.iloc[: at + 1].sum())}


def _prices(lines: pd.DataFrame) -> dict[str, Any]:
    amount, quantity, price = (
        lines[name].abs().to_numpy() for name in ("amount", "quantity", "unit_price")
    )
    several = np.isfinite(quantity) & (quantity != 1) & (quantity != 0)
    priced = np.isfinite(quantity * price)
    return {
        "priced_lines": int(priced.sum()),
        "unequal_lines": int((priced & ~_equal(amount, quantity * price)).sum()),
        "several_pieces": int((priced & several & (price > 0)).sum()),
        "unit_amounts": int((priced & several & (price > 0) & _equal(amount, price)).sum()),
        "quantity_correlation": _rank_correlation(quantity, amount, several),
    }


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one - other) <= _CENT + 1e-6 * np.abs(other)


def _rank_correlation(
    quantity: np.ndarray, amount: np.ndarray, several: np.ndarray
) -> float | None:
    """Return the rank correlation of quantity and amount; None with too few lines.

    It takes 50 lines with a quantity, a fifth of them of several pieces.
    """
    known = np.isfinite(quantity)
    if known.sum() < 50 or several.sum() < 0.2 * known.sum():
        return None
    ranks = pd.DataFrame({"quantity": quantity[known], "amount": amount[known]}).rank()
    if ranks.nunique().min() < 2:
        return None
    return float(ranks["quantity"].corr(ranks["amount"]))


def _orders(lines: pd.DataFrame) -> dict[str, Any]:
    sold = lines.loc[(lines["amount"] > 0) & lines["product_id"].notna()]
    orders = sold.assign(product=sold["product_id"].cat.codes).groupby("order")
    found = orders.agg(
        products=("product", "nunique"), least=("amount", "min"), most=("amount", "max")
    )
    several = found[found["products"] > 1]
    return {
        "orders_of_products": len(several),
        "orders_of_one_amount": int((several["least"] == several["most"]).sum()),
    }
