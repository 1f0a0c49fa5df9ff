"""Landing rows for the tests of the warehouse, written directly into Airbyte's tables."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
from psycopg.types.json import Jsonb

from retail_pipeline.postgres import Database

AIRBYTE_COLUMNS: dict[str, Any] = {
    "_airbyte_raw_id": "r",
    "_airbyte_extracted_at": "2024-01-01T00:00:00Z",
    "_airbyte_meta": Jsonb({}),
    "_airbyte_generation_id": 1,
}


def land(database: Database, stream: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Insert API records into a landing table; lists and dicts become jsonb."""
    with database.connect() as connection:
        for record in records:
            row = {
                **AIRBYTE_COLUMNS,
                **{k: Jsonb(v) if isinstance(v, list | dict) else v for k, v in record.items()},
            }
            marks = ", ".join(["%s"] * len(row))
            connection.execute(
                f"insert into transactional.{stream} ({', '.join(row)}) values ({marks})",
                list(row.values()),
            )


def transaction(
    transaction_id: str,
    customer_id: str | None,
    transacted_at: str,
    lines: list[Any],
    **changes: Any,
) -> dict[str, Any]:
    """Return a transaction of the API: a sale in GBP, recorded when it happened."""
    return {
        "transaction_id": transaction_id,
        "user_id": customer_id,
        "transacted_at": transacted_at,
        "recorded_at": transacted_at,
        "updated_at": transacted_at,
        "type": "sale",
        "currency": "GBP",
        "country": "France",
        "channel": "web",
        "items": lines,
        **changes,
    }


def line(
    amount: float, *, product_id: str | None = "A1", quantity: float = 1, discount: float = 0
) -> dict[str, Any]:
    """Return a line of a transaction; its number is its position."""
    return {
        "product_id": product_id,
        "quantity": quantity,
        "unit_price": (amount + discount) / quantity,
        "discount": discount,
        "amount": amount,
    }


def land_file(database: Database, path: Path) -> pd.DataFrame:
    """Land a file by COPY, each invoice as a transaction, and return its lines."""
    lines = pd.read_parquet(path)
    with database.connect() as connection:
        connection.execute(
            "create temporary table lines (customer_id text, invoice text, ts timestamptz, "
            "product_id text, quantity numeric, unit_price numeric, amount numeric, country text, "
            "is_return boolean)"
        )
        with connection.cursor().copy("copy lines from stdin with (format csv)") as copy:
            copy.write(
                lines.assign(ts=lines["ts"].astype(str) + "+00").to_csv(index=False, header=False)
            )
        _transactions_from_lines(connection)
    return lines


def _transactions_from_lines(connection: psycopg.Connection) -> None:
    connection.execute(
        """
        insert into transactional.transactions
        select 'r', now(), '{}', 1, invoice, min(customer_id), min(ts), min(ts), min(ts),
            case when bool_or(is_return) then 'return' else 'sale' end, 'GBP', min(country), null,
            jsonb_agg(jsonb_build_object('product_id', product_id, 'quantity', quantity,
                'unit_price', unit_price, 'discount', 0, 'amount', amount))
        from lines group by invoice
        """
    )
    connection.execute(
        """
        insert into transactional.users (_airbyte_raw_id, _airbyte_extracted_at, _airbyte_meta,
            _airbyte_generation_id, user_id, country, created_at, recorded_at, updated_at)
        select 'r', now(), '{}', 1, customer_id, min(country), min(ts), min(ts), min(ts)
        from lines group by customer_id
        """
    )
    connection.execute(
        """
        insert into transactional.products (_airbyte_raw_id, _airbyte_extracted_at, _airbyte_meta,
            _airbyte_generation_id, product_id, name, category, price, currency, recorded_at,
            updated_at)
        select 'r', now(), '{}', 1, product_id, product_id, left(product_id, 2), max(unit_price),
            'GBP', min(ts), min(ts)
        from lines group by product_id
        """
    )


_AT = "2024-01-02T10:00:00Z"
_AMOUNTS: list[Any] = ["NaN", "Infinity", "-Infinity", None, "ten", {"a": 1}, [1], True, 2e15]
_ODD = [{"product_id": "A1", "amount": amount} for amount in _AMOUNTS]
_FINE = [{"product_id": "A1", "amount": amount} for amount in ("12.50", " -1e1 ", 0.001)]
_DOUBLED = [{"line_number": number, "amount": 1} for number in (2, 2, 7)]
ODD_TRANSACTIONS = [
    transaction("odd", "K1", _AT, [line(100), *_ODD]),
    transaction("fine", "K1", _AT, _FINE),
    transaction("doubled", "K2", _AT, _DOUBLED),
    transaction("own", "K2", _AT, [{"line_number": n, "amount": 1} for n in (20, 10)]),
    transaction("some", "K2", _AT, [{"line_number": 2, "amount": 1}, {"amount": 1}]),
    transaction("object", "K3", _AT, [], items=Jsonb({"amount": 1})),
    transaction("words", "K3", _AT, ["text", 5, None]),
    transaction("nothing", "K3", _AT, [], items=None),
    transaction("loan", "K3", _AT, [line(7)], type="loan"),
    {**transaction("timeless", "K3", _AT, [line(9)]), "transacted_at": None},
]
"""Transactions that no shop should send: with lines that are unreadable, doubled or no list."""
