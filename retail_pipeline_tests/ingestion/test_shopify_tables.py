"""The example `shopify_tables`: marts from tables that another Airbyte fills, without a sync."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.ingestion.test_open_shop import copied_project, run_marts

EXAMPLE = PROJECT_ROOT / "examples" / "shopify_tables"
TABLES = ("products", "customers", "orders", "order_refunds")
TYPES = {dict: "jsonb", list: "jsonb", int: "bigint", bool: "boolean", str: "text"}


def rows(table: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (EXAMPLE / "rows" / f"{table}.jsonl").open()]


def fill(connection: psycopg.Connection, table: str) -> None:
    """Create and fill a table as Airbyte's PostgreSQL destination does."""
    records = rows(table)
    known = {name: value for row in records for name, value in row.items() if value is not None}
    types = {
        name: "timestamptz" if name.endswith("_at") else TYPES[type(known.get(name, ""))]
        for name in records[0]
    }
    columns = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
    connection.execute(
        f"create table shopify.{table} (_airbyte_raw_id text not null default 'r', "
        "_airbyte_extracted_at timestamptz not null default '2025-01-01 02:00+00', "
        "_airbyte_meta jsonb not null default '{}', "
        f"_airbyte_generation_id bigint not null default 1, {columns})"
    )
    for row in records:
        values = [Jsonb(each) if isinstance(each, list | dict) else each for each in row.values()]
        connection.execute(
            sql.SQL("insert into shopify.{} ({}) values ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            ),
            values,
        )


def expected() -> pd.DataFrame:
    """Return the lines of the example's rows with exact amounts."""
    refunded = {each["order_id"] for each in rows("order_refunds")}
    orders, lines = {}, []
    for each in rows("orders"):
        is_out = each["test"] or (each["cancelled_at"] and each["id"] not in refunded)
        customer = (each["customer"] or {}).get("id")
        orders[each["id"]] = ("left out" if is_out else "sale", customer and str(customer))
        for item in each["line_items"]:
            off = sum(Decimal(str(part["amount"])) for part in item["discount_allocations"])
            amount = Decimal(str(item["price"])) * item["quantity"] - off
            lines.append((str(each["id"]), *orders[each["id"]], each["created_at"], amount))
    for each in rows("order_refunds"):
        kind, customer = orders[each["order_id"]]
        for back in each["refund_line_items"]:
            amount = -Decimal(str(back["subtotal"]))
            kind = "return" if kind == "sale" else kind
            lines.append((f"refund-{each['id']}", kind, customer, each["created_at"], amount))
    return pd.DataFrame(lines, columns=["id", "kind", "customer", "at", "amount"])


def sums(lines: pd.DataFrame, by: Any) -> dict[Any, Decimal]:
    return {key: amount for key, amount in lines.groupby(by)["amount"].sum().items() if amount}


def test_marts_of_existing_tables_are_right_to_the_penny(
    database: Database, tmp_path: Path
) -> None:
    project = copied_project(tmp_path / "project", EXAMPLE, "records_of: shopify")
    with database.connect() as connection:
        connection.execute("create schema shopify")
        for table in TABLES:
            fill(connection, table)
        connection.execute("grant usage on schema shopify to retail_transformer")
        connection.execute("grant select on all tables in schema shopify to retail_transformer")
    done = run_marts(
        project, database, tmp_path, "--as-of", "2025-01-01", RETAIL_SOURCE="tables:shopify"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = expected()
    counted = lines[lines["kind"] != "left out"]
    assert set(lines["kind"]) == {"sale", "return", "left out"}
    with database.connect() as connection:

        def found(query: str) -> dict[Any, Decimal]:
            return {key: value for key, value in connection.execute(query).fetchall() if value}

        facts = "select transaction_id, net_amount from warehouse.fct_transactions"
        assert found(f"{facts} where not is_excluded") == sums(counted, "id")
        left_out = sums(lines[lines["kind"] == "left out"], "id")
        assert found(f"{facts} where exclusion_reason = 'neither sale nor return'") == left_out
        days = pd.to_datetime(counted["at"]).dt.date
        revenue = "select date_day, net_amount from warehouse.revenue_daily"
        assert found(revenue) == sums(counted, days)
        customers = "select customer_id, net_amount from warehouse.dim_customers"
        assert found(customers) == sums(counted, "customer")
        assert found("select product_id, price from warehouse.dim_products") == {
            str(each["id"]): Decimal(str(each["variants"][0]["price"])) for each in rows("products")
        }
        money_alone = (
            "select transaction_id, 1 from warehouse.fct_transactions where line_count = 0"
        )
        assert set(found(money_alone)) == {
            f"refund-{each['id']}"
            for each in rows("order_refunds")
            if not each["refund_line_items"]
        }
    assert "have no customer" in done.stdout  # guests
    assert "neither sale nor return" in done.stdout
