"""`forget` reaches what Superset keeps: a person typed into queries, charts and links."""

from pathlib import Path

from retail_pipeline.bi.applying import apply_bundle
from retail_pipeline.bi.superset import Superset
from retail_pipeline.loopback import listener
from retail_pipeline.postgres import Database
from retail_pipeline.privacy.artifacts import redact_files
from retail_pipeline.privacy.mentions import Person
from retail_pipeline_tests.bi.small_bundle import write
from retail_pipeline_tests.bi.superset_client import SupersetUser

PERSON = Person("K-4711", {"Jane Doe-Example", "jane@example.org"})


def test_no_byte_of_superset_mentions_a_forgotten_person(
    superset: Superset, shown: Database, tmp_path: Path
) -> None:
    apply_bundle(superset, shown, folder=write(tmp_path))
    with listener(0) as free:
        port = int(free.getsockname()[1])
    superset.start(port)
    analyst = SupersetUser(superset, "analyst")
    database, dataset = analyst.ids("database")["Warehouse"], analyst.ids("dataset")["days"]
    sql = f"select * from days where country in ('{PERSON.customer_id}', 'jane@example.org')"
    execute = {"database_id": database, "sql": sql, "schema": "warehouse", "client_id": "1" * 10}
    filtered = f'{{"adhoc_filters": [{{"comparator": "{PERSON.customer_id}"}}], "x": "day"}}'
    chart = {"slice_name": "Jane Doe-Example", "viz_type": "table", "params": filtered}
    form = {"datasource_id": dataset, "datasource_type": "table", "form_data": filtered}
    link = {"formData": {"datasource": f"{dataset}__table", "comparator": PERSON.customer_id}}
    for path, content in (
        ("/api/v1/sqllab/execute/", execute),
        ("/api/v1/saved_query/", {"db_id": database, "label": "q", "sql": sql}),
        ("/api/v1/chart/", {**chart, "datasource_id": dataset, "datasource_type": "table"}),
        ("/api/v1/explore/form_data", form),
        ("/api/v1/explore/permalink", link),
    ):
        answer = analyst.send("POST", path, **content)
        assert answer.status_code in (200, 201), (path, answer.text[:300])
    pattern = PERSON.pattern()
    assert PERSON.customer_id.encode() in (superset.folder / "superset.db").read_bytes()
    found = {each.path.name for each in redact_files(superset.folder, pattern)}
    assert found == {"superset.db"}
    for file in superset.folder.glob("*"):
        if file.is_file():
            assert not pattern.search(file.read_text(errors="surrogateescape")), file
    assert list(redact_files(superset.folder, pattern)) == []
    # Superset goes on: the chart stays, without the person.
    assert "[forgotten]" in analyst.ids("chart")
    superset.stop()


def test_customer_1_is_not_taken_for_an_id_of_superset(
    superset: Superset, shown: Database, tmp_path: Path
) -> None:
    folder = write(tmp_path)
    apply_bundle(superset, shown, folder=folder)
    for customer_id in ("1", "2", "3"):
        list(redact_files(superset.folder, Person(customer_id).pattern()))
    assert apply_bundle(superset, shown, folder=folder) == []
