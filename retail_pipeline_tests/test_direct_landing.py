"""Records that land without a sync equal those that a sync lands."""

from pathlib import Path

from retail_pipeline.airbyte_engine.engine import Engine
from retail_pipeline.direct_landing import land_records
from retail_pipeline.ingestion.specs import load_folder
from retail_pipeline.postgres import Database
from retail_pipeline.retail_api import open_dataset
from retail_pipeline.retail_api.server.serve import serving
from retail_pipeline.settings import FileSource

LINES = """customer_id,order_id,ts,amount,country
ann,o1,2024-01-05,10,Ger\0many
ann,o2,2024-01-06,20,Germany
bob,o3,2024-01-07,30,\0
cid,o4,2024-01-08,40,C:\\u0000
"""


def countries(database: Database) -> dict[str, str | None]:
    found = database.query(
        "select user_id as id, country from transactional.users union all "
        "select transaction_id, country from transactional.transactions"
    )
    return dict(zip(found["id"], found["country"], strict=True))


def sync_all(database: Database, source: FileSource) -> None:
    with serving(source, None, "key") as url:
        values = {"RETAIL_API_URL": url, "RETAIL_API_KEY": "key", "RETAIL_API_END": None}
        with Engine(load_folder(), database, values) as engine:
            for connection in engine.folder.connections.values():
                assert engine.wait(engine.start(connection.id).job_id).status == "succeeded"


def test_text_that_postgresql_cannot_store_is_nulled_as_by_a_sync(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "lines.csv"
    path.write_text(LINES)
    source = FileSource(path)
    sync_all(database, source)
    synced = countries(database)
    assert {"Germany", "C:\\u0000"} < set(synced.values()) and None in synced.values()

    for stream in ("users", "products", "transactions"):
        database.execute(f"truncate transactional.{stream}")
    land_records(database, open_dataset(source).records)
    assert countries(database) == synced
