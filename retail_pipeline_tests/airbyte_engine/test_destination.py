"""The destination alone: landed, nulled and rejected records, and which version wins."""

from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retail_pipeline.airbyte_engine.columns import columns_of
from retail_pipeline.airbyte_engine.destination import (
    Loader,
    Outcome,
)
from retail_pipeline.airbyte_engine.files import (
    StreamSettings,
    SyncMode,
)
from retail_pipeline.airbyte_engine.layout import ColumnTypeError, Landing
from retail_pipeline.airbyte_engine.messages import Record, StreamState
from retail_pipeline.airbyte_engine.rendering import record_hash
from retail_pipeline.airbyte_engine.values import MisfitError
from retail_pipeline.postgres import Database

SCHEMA = {
    "type": "object",
    "required": ["id", "kind", "changed_at"],
    "properties": {
        "id": {"type": "string"},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "price": {"type": ["null", "number"]},
        "size": {"type": ["null", "integer"]},
        "note": {"type": ["null", "string"]},
        "day": {"type": ["null", "string"], "format": "date"},
        "changed_at": {"type": "string", "format": "date-time"},
        "lines": {
            "type": ["null", "array"],
            "items": {
                "type": "object",
                "required": ["amount"],
                "properties": {
                    "amount": {"type": "number"},
                    "text": {"type": ["null", "string"]},
                },
            },
        },
    },
}
SETTINGS = StreamSettings(
    name="things",
    sync_mode="incremental_deduped_history",
    cursor_field=["changed_at"],
    primary_key=[["id"]],
)
OVERWRITE = SETTINGS.model_copy(update={"sync_mode": SyncMode.FULL_REFRESH_OVERWRITE_DEDUPED})


def thing(id_: object = "1", changed_at: object = "2020-01-01T00:00:00Z", **fields) -> dict:
    return {"id": id_, "kind": "a", "changed_at": changed_at, **fields}


def load(
    database: Database,
    records: Iterable[dict],
    how: StreamSettings = SETTINGS,
    schema: dict = SCHEMA,
) -> Outcome:
    with database.connect(autocommit=True) as session:
        landing = Landing.of("transactional", how, schema)
        loader = Loader(session, {"things": landing}, job_id=1, generation=3)
        for record in records:
            loader.add(Record("things", record, 1_600_000_000_000))
        with session.transaction():
            return loader.merge("c", {"things": StreamState("things", {"at": "x"})})


def rows(database: Database, columns: str, table: str = "transactional.things") -> list[tuple]:
    with database.connect() as session:
        return session.execute(f"select {columns} from {table} order by 1").fetchall()


def test_the_table_is_laid_out_as_airbyte_does(database: Database) -> None:
    load(database, [thing(price=0.001, size=5, day="2020-02-29", note="a\tb\nc\\d\re")])
    with database.connect() as session:
        layout = session.execute(
            "select column_name, data_type, is_nullable from information_schema.columns "
            "where table_name = 'things' order by ordinal_position"
        ).fetchall()
    assert layout[:4] == [
        ("_airbyte_raw_id", "character varying", "NO"),
        ("_airbyte_extracted_at", "timestamp with time zone", "NO"),
        ("_airbyte_meta", "jsonb", "NO"),
        ("_airbyte_generation_id", "bigint", "NO"),
    ]
    types = ["character varying"] * 2 + ["numeric", "bigint", "character varying", "date"]
    assert [row[1] for row in layout[4:]] == [*types, "timestamp with time zone", "jsonb"]
    [(meta, generation, price, note)] = rows(
        database, "_airbyte_meta, _airbyte_generation_id, price, note"
    )
    assert (meta["changes"], generation) == ([], 3)
    assert (price, note) == (Decimal("0.001"), "a\tb\nc\\d\re")


def test_the_latest_by_cursor_then_by_order_wins(database: Database) -> None:
    older, newer = "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"
    load(database, [thing("1", newer, note="new"), thing("1", older, note="old")])
    assert rows(database, "id, note") == [("1", "new")]
    outcome = load(database, [thing("1", older, note="stale"), thing("2", older, note="first")])
    assert (outcome.rows_inserted, outcome.rows_updated) == (1, 0)
    before = rows(database, "id, _airbyte_raw_id, note")
    outcome = load(database, [thing("1", newer, note="new"), thing("2", older, note="second")])
    after = rows(database, "id, _airbyte_raw_id, note")
    assert (outcome.rows_inserted, outcome.rows_updated) == (0, 1)
    assert after[0] == before[0]  # read again unchanged: its row is not written
    assert after[1][2] == "second"


def test_bad_keys_cursors_and_required_fields_are_rejected(database: Database) -> None:
    bad = [
        thing(None),
        thing(""),
        thing({"x": 1}),
        thing("3", "yesterday"),
        thing("4", kind="c"),
        {"id": "5", "changed_at": "2020-01-01T00:00:00Z"},
        thing("6\x00", note="NUL in the key"),
        thing("".join(chr(0x10000 + 7 * n) for n in range(601))),  # too long for an index
    ]
    outcome = load(database, [thing("1"), *bad, *bad])
    assert (outcome.rows_inserted, outcome.rows_rejected) == (1, len(bad))
    reasons = {row[0] for row in rows(database, "reason", "quality.rejected_records")}
    assert reasons == {
        "id is missing",
        "the key is empty",
        "the key is longer than 600 characters",
        "id is an object, not text",
        "changed_at is 'yesterday', not a time like 2011-06-01T00:00:00Z",
        "kind is 'c', not one of a, b",
        "kind is missing",
        "id holds a NUL character",
    }
    load(database, [thing("3", "2020-01-05T00:00:00Z")])
    left = rows(database, "record ->> 'id'", "quality.rejected_records")
    assert ("3",) not in left and len(left) == len(bad) - 1  # corrected, so no longer rejected


def test_optional_misfits_are_nulled_and_noted(database: Database) -> None:
    load(
        database,
        [thing("1", price="12.30", size="x", day="2020-02-30", note=["no"], lines="none")],
    )
    [(price, size, day, note, lines, meta)] = rows(
        database, "price, size, day, note, lines, _airbyte_meta"
    )
    assert price == Decimal("12.30")  # amounts as text stay exact
    assert (size, day, note, lines) == (None, None, None, None)
    assert [change["field"] for change in meta["changes"]] == ["size", "note", "day", "lines"]


def test_a_line_that_lacks_its_amount_rejects_its_record(database: Database) -> None:
    lines = {**SCHEMA["properties"]["lines"], "type": "array"}
    required = {
        **SCHEMA,
        "required": [*SCHEMA["required"], "lines"],
        "properties": {**SCHEMA["properties"], "lines": lines},
    }
    odd_text = [{"amount": 1, "text": "ok"}, {"amount": 2, "text": 3 * [1]}]
    load(
        database,
        [thing("1", lines=odd_text), thing("2", lines=[{"amount": 1}, {"amount": "?"}])],
        schema=required,
    )
    [(kept, meta)] = rows(database, "lines, _airbyte_meta")
    assert kept == [{"amount": 1, "text": "ok"}, {"amount": 2, "text": None}]
    assert [change["field"] for change in meta["changes"]] == ["lines[1].text"]
    [(record, reason)] = rows(database, "record, reason", "quality.rejected_records")
    assert (record["id"], len(record["lines"])) == ("2", 2)  # with the money of all its lines
    assert reason == "lines has an element whose amount is '?', not a number, at position 1"


def test_new_columns_are_added_and_a_full_refresh_overwrites(database: Database) -> None:
    load(database, [thing("1"), thing("2")])
    wider = {**SCHEMA, "properties": {**SCHEMA["properties"], "extra": {"type": "boolean"}}}
    load(database, [thing("3", extra=True), thing("3", extra=False)], OVERWRITE, wider)
    assert rows(database, "id, extra") == [("3", False)]


def test_a_column_that_is_gone_is_kept(database: Database) -> None:
    load(database, [thing("1", size=5, note="kept")])
    properties = dict(SCHEMA["properties"])
    del properties["note"]
    later = thing("1", "2020-01-02T00:00:00Z", size=6)
    load(database, [later], schema={**SCHEMA, "properties": properties})
    assert rows(database, "id, size, note") == [("1", 6, "kept")]


def test_a_changed_type_fails_and_leaves_everything(database: Database) -> None:
    load(database, [thing("1", price=0.001)])
    before = rows(database, "to_jsonb(t)", "transactional.things t")
    for name, kind in (("price", "integer"), ("size", "number")):
        properties = {**SCHEMA["properties"], name: {"type": ["null", kind]}}
        with pytest.raises(ColumnTypeError, match=f"{name} is .*, and the manifest declares .*: "):
            load(database, [thing("2")], schema={**SCHEMA, "properties": properties})
    assert rows(database, "to_jsonb(t)", "transactional.things t") == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.fixed_dictionaries({"id": st.sampled_from(["1", "2", 3, None, "\ud800"])})
        | st.fixed_dictionaries(
            {
                "id": st.sampled_from(["1", "2", "4"]),
                "kind": st.sampled_from(["a", "b", 1]),
                "changed_at": st.sampled_from(["2020-01-01T00:00:00Z", "2020-01-01", None]),
                **dict.fromkeys(("price", "size", "note", "day", "lines"), JSON),
            }
        ),
        max_size=8,
    )
)
def test_every_record_lands_or_is_rejected(database: Database, records: list[dict]) -> None:
    with database.connect(autocommit=True) as session:
        session.execute("drop table if exists transactional.things")
        session.execute("delete from quality.rejected_records")
    outcome = load(database, records)
    assert outcome.rows_read == len(records)
    landed = {row[0] for row in rows(database, "id")}
    columns = columns_of(SCHEMA, identity=["id", "changed_at"])
    fit = {str(record["id"]) for record in records if fits(record, columns)}
    assert landed == fit
    unfit = {record_hash(record) for record in records if not fits(record, columns)}
    aside = rows(database, "record_hash", "quality.rejected_records where stream = 'things'")
    lost = unfit - {row[0] for row in aside}
    # Once a record has landed, the rejected version of its key is deleted.
    assert all(str(record.get("id")) in landed for record in records if record_hash(record) in lost)


def fits(record: dict, columns) -> bool:
    for column in columns:
        if column.required:
            if record.get(column.name) is None:
                return False
            try:
                column.text(record[column.name])
            except MisfitError:
                return False
    return True
