"""The checks count rejected records: a rejected one stops no run, a lost one does."""

from decimal import Decimal
from pathlib import Path

from retail_pipeline.postgres import Database
from retail_pipeline.settings import FileSource, Settings
from retail_pipeline_tests.ingestion.test_ingestion import checks, run

LONG, OTHER = "k" * 500, "c" * 110
"""The order of the other customer becomes `LONG-OTHER@2020-01-02`, which is too long for a key."""

SERVED = [("1", LONG, "12.30"), (OTHER, LONG, "7.001"), ("1", "B", "-2")]


def test_rows_and_money_with_the_rejected_part_add_up(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    lines = [f"{row[0]},{row[1]},2020-01-0{day},{row[2]}" for day, row in enumerate(SERVED, 1)]
    path.write_text("customer_id,order_id,ts,amount\n" + "\n".join(lines) + "\n")
    settings = Settings(source=FileSource(path), home=tmp_path / "home")
    result = run(database, settings, streams=["transactions"])
    assert result.success

    found = checks(result)
    rows = found["transactions", "rows_equal_the_api"]
    assert rows.passed
    assert {name: rows.metadata[name].value for name in ("rows", "rejected", "difference")} == {
        **{"rows": 2, "rejected": 1, "difference": 0}
    }
    money = found["transactions", "money_equals_the_api"]
    assert money.passed or money.severity.value == "WARN"
    assert money.metadata["rejected"].value == 1

    with database.connect() as connection:
        [(landed,)] = connection.execute(
            "select sum((line ->> 'amount')::numeric) from transactional.transactions, "
            "jsonb_array_elements(items) as line"
        ).fetchall()
        [(rejected,)] = connection.execute(
            "select sum((line ->> 'amount')::numeric) from quality.rejected_records, "
            "jsonb_array_elements(record -> 'items') as line"
        ).fetchall()
    assert (landed, rejected) == (Decimal("10.30"), Decimal("7.001"))
    assert landed + rejected == sum(Decimal(amount) for *_, amount in SERVED)

    database.execute(f"delete from transactional.transactions where transaction_id = '{LONG}'")
    lost = checks(run(database, settings, streams=["transactions"]))
    assert not lost["transactions", "rows_equal_the_api"].passed
    assert not lost["transactions", "money_equals_the_api"].passed
