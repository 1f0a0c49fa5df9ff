"""Marts of the lake replace PostgreSQL's, all or none, with their indexes, comments and rights."""

from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_manager import OperationalError

from retail_pipeline.lake import Build, Lake
from retail_pipeline.postgres import Database, Role
from retail_pipeline.warehouse.publishing import publish, to_create

NINE = pa.decimal128(38, 9)
MEANS = [0.1, 123456.78901234567, -2.5e-05, 1 / 3, 98765432.12345678]
AMOUNTS = [Decimal(text) for text in ("0.000000001", "-19.99", "12345678901234567.5", "0", "7")]


def write(build: Build, mart: str, rows: dict[str, pa.Array]) -> None:
    folder = f"{build.folder}/warehouse/{mart}"
    build.lake.files.create_dir(folder)
    pq.write_table(pa.table(rows), f"{folder}/part.parquet", filesystem=build.lake.files)


@pytest.fixture
def build(database: Database, lake_address: str) -> Build:
    """A build with a mart of all types, which PostgreSQL has with one old row, and another mart."""
    transformer = database.as_role(Role.TRANSFORMER)
    transformer.execute(
        "create table warehouse.sales (id text not null, amount numeric, mean numeric, lines "
        "integer, rows bigint, share double precision, day date, at timestamptz, is_sale boolean)"
    )
    transformer.execute("create unique index sales_key on warehouse.sales (id)")
    transformer.execute("comment on table warehouse.sales is 'A sale''s line.'")
    transformer.execute("comment on column warehouse.sales.mean is 'A mean.'")
    transformer.execute("insert into warehouse.sales (id) values ('old')")
    transformer.execute("create table warehouse.days (day date)")
    lake = Lake(lake_address)
    with lake.building():
        pass
    build = lake.build
    moment = datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
    rows = {
        "is_sale": pa.array([True, False, None, True, True]),
        "id": pa.array(list("abcde")),
        "amount": pa.array(AMOUNTS, NINE),
        "mean": pa.array(MEANS),
        "lines": pa.array([1, 2, None, 4, 5], pa.int64()),
        "rows": pa.array([1, 2, 3, 4, 2**40], pa.int64()),
        "share": pa.array([0.5, None, 1 / 3, 1e-300, 5.0]),
        "day": pa.array([date(2024, 1, 1)] * 5),
        "at": pa.array([moment] * 5, pa.timestamp("us", "UTC")),
    }
    write(build, "sales", rows)
    write(build, "days", {"day": pa.array([date(2024, 1, 1)])})
    return build


def test_values_indexes_comments_and_rights_are_those_of_the_mart(
    database: Database, build: Build
) -> None:
    transformer = database.as_role(Role.TRANSFORMER)
    assert build.marts() == ["days", "sales"]
    assert to_create(transformer, build, build.marts()) == []
    publish(transformer, build, ["sales", "days"])

    with database.as_role(Role.READER).connect() as connection:
        rows = connection.execute("select * from warehouse.sales order by id").fetchall()
        names = [column.name for column in connection.execute("table warehouse.sales").description]
        comments = connection.execute(
            "select obj_description('warehouse.sales'::regclass, 'pg_class'), "
            "col_description('warehouse.sales'::regclass, 3)"
        ).fetchone()
    assert names[:4] == ["id", "amount", "mean", "lines"]
    assert [row[1] for row in rows] == AMOUNTS
    assert [float(row[2]) for row in rows] == MEANS
    assert rows[0][3:] == (
        *(1, 1, 0.5, date(2024, 1, 1), datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=UTC), True),
    )
    assert rows[1][5] is None and rows[2][3] is None and rows[4][4] == 2**40
    assert comments == ("A sale's line.", "A mean.")
    with pytest.raises(psycopg.errors.UniqueViolation):
        transformer.execute("insert into warehouse.sales (id) values ('a')")


def test_marts_are_replaced_together_or_not_at_all(database: Database, build: Build) -> None:
    transformer = database.as_role(Role.TRANSFORMER)
    write(build, "days", {"day": pa.array(["no day"])})
    with pytest.raises(OperationalError, match="no day"):
        publish(transformer, build, ["sales", "days"])
    assert database.read("warehouse.sales", ["id"])["id"].tolist() == ["old"]
    tables = "select tablename from pg_tables where schemaname = 'warehouse' order by 1"
    assert database.query(tables)["tablename"].tolist() == ["days", "sales"]


def test_a_mart_with_other_columns_is_created_anew(database: Database, build: Build) -> None:
    transformer = database.as_role(Role.TRANSFORMER)
    write(build, "days", {"day": pa.array([date(2024, 1, 1)]), "week": pa.array([1])})
    write(build, "weeks", {"week": pa.array([1])})
    assert to_create(transformer, build, build.marts()) == ["days", "weeks"]
