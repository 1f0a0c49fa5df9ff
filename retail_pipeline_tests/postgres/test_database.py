"""Table I/O: types survive writing and reading, and a table is published whole or not at all."""

import os
import signal
from datetime import date
from threading import Timer

import pandas as pd
import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database


@pytest.fixture
def table(database: Database) -> str:
    database.execute(
        "create table clv.sample (id text primary key, amount numeric, day date, facts jsonb)"
    )
    return "clv.sample"


def test_values_come_back_as_they_were_published(database: Database, table: str) -> None:
    frame = pd.DataFrame(
        {
            "id": ["a", "b"],
            "amount": [0.1, None],
            "day": [date(2020, 2, 29), date(2021, 1, 1)],
            "facts": [{"n": 1}, None],
        }
    )
    database.publish(table, frame, key=["id"])

    back = database.read(table, where="amount = %(amount)s", params={"amount": 0.1})
    assert back.to_dict("records") == [
        {"id": "a", "amount": 0.1, "day": pd.Timestamp("2020-02-29"), "facts": '{"n": 1}'}
    ]
    assert database.query("select facts is null as missing from clv.sample order by id")[
        "missing"
    ].tolist() == [False, True]


def test_a_publication_updates_by_key_and_replaces_the_named_rows(
    database: Database, table: str
) -> None:
    first = pd.DataFrame({"id": ["a", "b"], "amount": [1.0, 2.0]})
    database.publish(table, first, key=["id"])
    database.publish(table, pd.DataFrame({"id": ["b", "c"], "amount": [5.0, 6.0]}), key=["id"])
    assert dict(database.read(table, ["id", "amount"]).to_numpy()) == {"a": 1, "b": 5, "c": 6}

    database.publish(table, first.head(1), key=["id"], replace_where="amount >= 5")
    assert dict(database.read(table, ["id", "amount"]).to_numpy()) == {"a": 1}


def test_a_publication_that_fails_leaves_the_table_as_it_was(
    database: Database, table: str
) -> None:
    database.publish(table, pd.DataFrame({"id": ["a"], "amount": [1.0]}), key=["id"])
    bad = pd.DataFrame({"id": ["b"], "amount": ["much"]})
    with pytest.raises(Exception, match="invalid input syntax"):
        database.publish(table, bad, key=["id"], replace_where="true")
    assert database.read(table)["id"].tolist() == ["a"]


def test_a_repeated_key_and_an_unknown_column_are_named(database: Database, table: str) -> None:
    with pytest.raises(PipelineError, match=r"clv\.sample: 1 rows repeat a key.*'a'"):
        database.publish(table, pd.DataFrame({"id": ["a", "a"]}), key=["id"])
    with pytest.raises(PipelineError, match=r"clv\.sample has no column color"):
        database.publish(table, pd.DataFrame({"id": ["a"], "color": ["red"]}), key=["id"])


def test_rows_are_replaced_in_the_types_of_the_table(database: Database) -> None:
    database.execute(
        "create table clv.plain (id text primary key, day date, n integer, x double precision)"
    )
    days = pd.to_datetime(["2024-01-01", "2024-01-02"])
    rows = pd.DataFrame({"id": ["a", "b"], "day": days, "n": [1, 2], "x": [0.1, None]})
    assert database.replace("clv.plain", rows, "true") == 2
    assert database.replace("clv.plain", rows.iloc[:1].assign(n=7), "id = 'a'") == 1
    back = database.query("select * from clv.plain order by id")
    assert back["n"].tolist() == [7, 2]
    assert back["x"].isna().tolist() == [False, True]
    assert back["day"].tolist() == days.tolist()
    with pytest.raises(PipelineError, match=r"clv\.plain has no column color"):
        database.replace("clv.plain", rows.assign(color="red"), "true")
    assert len(database.query("select * from clv.plain")) == 2


def test_a_column_that_cannot_be_replaced_directly_is_named(database: Database, table: str) -> None:
    with pytest.raises(PipelineError, match=r"clv\.sample\.\w+ is \w+, which takes `publish`"):
        database.replace(table, database.read(table).reset_index(drop=True), "true")


def test_a_table_is_created_and_gains_columns_on_request(database: Database) -> None:
    database.publish("clv.made", pd.DataFrame({"id": ["a"], "x": [1]}), key=["id"], create=True)
    database.publish("clv.made", pd.DataFrame({"id": ["b"], "y": [2.5]}), key=["id"], create=True)
    back = database.query("select * from clv.made order by id")
    assert back.columns.tolist() == ["id", "x", "y"]
    assert back["y"].tolist()[1] == 2.5


def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(PipelineError, match=r"127\.0\.0\.1:1/nowhere cannot be used") as refused:
        Database("postgresql://me:hidden@127.0.0.1:1/nowhere").query("select 1")
    assert "hidden" not in str(refused.value)


def test_migrations_are_applied_once(database: Database) -> None:
    assert database.migrate() == []
    schemas = database.query("select nspname from pg_namespace")["nspname"].tolist()
    layers = {"transactional", "staging", "intermediate", "warehouse", "clv", "quality"}
    assert layers <= set(schemas)


def test_a_ctrl_c_ends_a_query_as_it_ends_python(database: Database) -> None:
    Timer(1.0, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        database.query("select count(*) from generate_series(1, 2000000000)")
