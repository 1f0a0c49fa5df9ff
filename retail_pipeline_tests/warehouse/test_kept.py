"""What is up to date is kept: rows, views, verdicts of tests; a failed test is repeated."""

from datetime import date

import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.warehouse.run import dbt_build
from retail_pipeline_tests.warehouse.landing import land, line, transaction

AS_OF = date(2024, 4, 15)


def test_a_build_keeps_what_has_no_news_and_repeats_what_failed(database: Database) -> None:
    known = {"recorded_at": "2023-01-01T00:00:00Z"}
    land(database, "users", [{"user_id": "K1", "country": "France", **known}])
    land(database, "products", [{"product_id": "A1", "category": "Mugs", "price": 3, **known}])
    sale = transaction("T1", "K1", "2024-01-01T10:00:00Z", [line(9), line(3)])
    back = transaction("R1", "K1", "2024-01-03T10:00:00Z", [line(-3, quantity=-1)], type="return")
    land(database, "transactions", [sale, back])
    dbt_build(database.url, as_of=AS_OF)
    before, books = _files(database), _books(database)
    tests = [name for name in books if name.startswith("test.")]
    assert len(tests) > 40

    database.execute("drop view staging.stg_retail__user_contacts")
    dbt_build(database.url, as_of=AS_OF)
    after = _files(database)
    rebuilt = {name for name in before if before[name] != after[name]}
    assert rebuilt == {"staging.stg_retail__user_contacts"}
    rebuilt_book = {"stg_retail__user_contacts": _books(database)["stg_retail__user_contacts"]}
    assert _books(database) == books | rebuilt_book

    # A return that brought money in: the test of its customer's rows alone sees it.
    wrong = transaction("R2", "K2", "2024-02-01T10:00:00Z", [line(5)], type="return")
    land(database, "transactions", [wrong])
    for _ in range(2):
        with pytest.raises(PipelineError, match="not_negative_customer_day_entries_returns_amount"):
            dbt_build(database.url, as_of=AS_OF)
    database.execute("delete from transactional.transactions where transaction_id = 'R2'")
    dbt_build(database.url, as_of=AS_OF)
    assert set(database.read("warehouse.customer_days")["customer_id"]) == {"K1"}


def _files(database: Database) -> dict[str, int]:
    """The relations that dbt makes by the number of the file, or of the view, that they are now."""
    with database.connect() as connection:
        rows = connection.execute(
            "select relnamespace::regnamespace || '.' || relname, "
            "case relkind when 'v' then oid else relfilenode end from pg_class "
            "where relnamespace::regnamespace::text in ('staging', 'intermediate', 'warehouse') "
            "and relkind in ('r', 'v')"
        ).fetchall()
    return dict(rows)


def _books(database: Database) -> dict[str, int]:
    """The last build that had news, by model or test."""
    with database.connect() as connection:
        return dict(
            connection.execute("select model, last_build from increments.builds").fetchall()
        )
