"""Pages with faulty records: served = rows + rejected + suppressed, by pages or one by one."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retail_pipeline.airbyte_engine.destination import (
    Loader,
    Outcome,
)
from retail_pipeline.airbyte_engine.layout import Landing
from retail_pipeline.airbyte_engine.messages import Record
from retail_pipeline.airbyte_engine.suppression import Suppression
from retail_pipeline.postgres import Database
from retail_pipeline_tests.airbyte_engine.test_destination import JSON, SCHEMA, SETTINGS

LANDING = Landing.of("transactional", SETTINGS, SCHEMA)
AT = 1_600_000_000_000
SECRETS = Suppression({"things": "note"}, str, frozenset(["secret"]))

BAD_KEYS = [None, "", {}, "\ud800", "k" * 601]
DIRTY = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["a", "b", "b", 1, None]),
        "changed_at": st.sampled_from(
            ["2020-01-01T00:00:00Z", "2020-01-02T00:00:00.5+23:59", "2020-02-30T00:00:00Z", None]
        ),
        "note": st.sampled_from(["secret", "tab\tline\nback\\slash", "\x00", "\ud800", "Zoë"])
        | JSON,
        "lines": st.lists(st.fixed_dictionaries({"amount": JSON, "text": JSON}), max_size=3) | JSON,
        **dict.fromkeys(("price", "size", "day", "unknown"), JSON),
    },
)
SOUND = st.fixed_dictionaries(
    {
        "kind": st.just("a"),
        "changed_at": st.just("2020-01-01T00:00:00Z"),
        "price": st.floats() | st.integers(),
        "lines": st.lists(
            st.builds(lambda n: {"amount": n, "text": "x\\y"}, st.floats() | st.just(1))
        ),
    }
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(SOUND | SOUND | DIRTY, max_size=50),
    st.sampled_from(BAD_KEYS),
)
def test_every_record_is_a_row_or_rejected_or_suppressed(
    database: Database, records: list[dict[str, Any]], bad_key: Any
) -> None:
    for number, record in enumerate(records):
        record["id"] = bad_key if number % 7 == 3 else f"id{number}"
        record["n"] = number  # not a column; it makes every record unique
    by_page, pages = landed(database, records, None)
    one_by_one, singles = landed(database, records, Suppression({}, str, frozenset()))
    assert pages == singles
    kept_out, _ = landed(database, records, SECRETS)
    secret = sum(record.get("note") == "secret" for record in records)
    assert (by_page.rows_suppressed, kept_out.rows_suppressed) == (0, secret)
    assert by_page.rows_read == one_by_one.rows_read == kept_out.rows_read == len(records)


def landed(
    database: Database, records: list[dict[str, Any]], suppression: Suppression | None
) -> tuple[Outcome, list[tuple]]:
    """Load into an empty table, check the sum, and return outcome, rows and rejected records."""
    with database.connect(autocommit=True) as session:
        session.execute("drop table if exists transactional.things")
        session.execute("truncate quality.rejected_records, quality.suppressed_records")
        loader = Loader(
            session, {"things": LANDING}, job_id=1, generation=1, suppression=suppression
        )
        if suppression is None:
            for start in range(0, len(records), 20):
                page = records[start : start + 20]
                loader.add_page(LANDING.renderer.render(page, first=start + 1, emitted_at=AT))
        else:
            for record in records:
                loader.add(Record("things", record, AT))
        with session.transaction():
            outcome = loader.merge("c", {})
        rows = session.execute(
            "select to_jsonb(t) - '_airbyte_raw_id', t._airbyte_meta -> 'changes' "
            "from transactional.things t"
        ).fetchall()
        finite = "price not in ('NaN', 'Infinity', '-Infinity')"
        odd = session.execute(f"select price from transactional.things where not {finite}")
        assert odd.fetchall() == []  # some servers write such numbers, which JSON does not have
        refused = session.execute(
            "select stream, record_hash, record, reason from quality.rejected_records"
        ).fetchall()
    rejected = sum(stream == "things" for stream, *_ in refused)
    assert outcome.rows_inserted == len(rows)
    assert len(rows) + rejected + outcome.rows_suppressed == len(records)
    for row, _ in rows:
        del row["_airbyte_meta"]["sync_id"]
    return outcome, sorted([*rows, *refused], key=str)
