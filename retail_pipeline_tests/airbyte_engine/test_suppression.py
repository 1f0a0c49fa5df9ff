"""Suppression by the value of a field: every record lands, is rejected or is suppressed."""

import hashlib
from collections.abc import Sequence

from retail_pipeline.airbyte_engine.destination import (
    Loader,
    Outcome,
)
from retail_pipeline.airbyte_engine.layout import Landing
from retail_pipeline.airbyte_engine.messages import Record
from retail_pipeline.airbyte_engine.suppression import Suppression
from retail_pipeline.postgres import Database
from retail_pipeline_tests.airbyte_engine.test_destination import SCHEMA, SETTINGS, rows, thing


def digest(text: str) -> str:
    return hashlib.sha256(b"key" + text.encode()).hexdigest()


def load(database: Database, records: Sequence[dict]) -> Outcome:
    """Load things; those with the note `secret` are suppressed."""
    kept_out = frozenset(each for (each,) in rows(database, "record_hash", TABLE))
    suppression = Suppression(
        {"things": "note"}, digest, frozenset([digest("secret")]), kept_out=kept_out
    )
    with database.connect(autocommit=True) as session:
        landing = Landing.of("transactional", SETTINGS, SCHEMA)
        loader = Loader(
            session, {"things": landing}, job_id=1, generation=1, suppression=suppression
        )
        for record in records:
            loader.add(Record("things", record, 1_600_000_000_000))
        with session.transaction():
            return loader.merge("c", {})


TABLE = "quality.suppressed_records"


def test_rows_rejected_and_suppressed_add_up_to_the_records(database: Database) -> None:
    served = [
        thing("1", note="open"),
        thing("2", note="secret"),
        thing("2", note="secret", price=2),
        thing("3", note="secret", kind=7),  # suppressed, not rejected
        thing("4", note="open", kind=7),
    ]
    for _ in range(2):  # served again: the counts stay
        outcome = load(database, served)
        assert (outcome.rows_rejected == 1) or (outcome.rows_inserted == 0)
        assert outcome.rows_suppressed == 2
        assert rows(database, "id") == [("1",)]
        assert len(rows(database, "record_hash", TABLE)) == 2
        assert len(rows(database, "record", "quality.rejected_records")) == 1
    assert "secret" not in str(rows(database, "t::text", f"{TABLE} t"))


def test_a_record_that_changes_hands_leaves_and_comes_back(database: Database) -> None:
    days = [f"2020-01-0{day}T00:00:00Z" for day in range(1, 5)]
    load(database, [thing("1", days[0], note="open"), thing("2", days[0], note="open")])
    load(database, [thing("1", days[1], note="secret")])
    assert rows(database, "id") == [("2",)]
    load(database, [thing("1", days[2], note="open")])
    assert rows(database, "id") == [("1",), ("2",)]
    assert rows(database, "record_hash", TABLE) == []
    load(database, [thing("2", days[2], note="secret"), thing("2", days[3], note="open")])
    assert rows(database, "id") == [("1",), ("2",)]
    assert rows(database, "record_hash", TABLE) == []
