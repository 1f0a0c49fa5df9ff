"""Landing of the bundled API's records without a sync.

Evaluations and benchmarks use it, as they need the tables without API, Airbyte and Dagster.
"""

from typing import Any

import orjson

from retail_pipeline.postgres import Database, Role
from retail_pipeline.retail_api import RetailRecords
from retail_pipeline.retail_api.server.pages import stream_pages

_PART = 5_000


def land_records(database: Database, records: RetailRecords) -> None:
    """Insert records into the landing tables, from the JSON that the API would serve."""
    with database.as_role(Role.LOADER).connect() as connection:
        for stream, pages in stream_pages(records).items():
            for part in pages.parts(_PART):
                text = orjson.dumps(part)
                if rb"\u0000" in text:
                    text = orjson.dumps(_nulled(part))
                connection.execute(
                    f"insert into transactional.{stream} select record.* from "
                    f"jsonb_populate_recordset(jsonb_populate_record(null::transactional.{stream}, "
                    "jsonb_build_object('_airbyte_raw_id', '', '_airbyte_extracted_at', now(), "
                    "'_airbyte_meta', '{}'::jsonb, '_airbyte_generation_id', 0)), %s) as record",
                    [text.decode()],
                )
            connection.execute(f"analyze transactional.{stream}")


def _nulled(value: Any) -> Any:
    """Return records with null for each text with a NUL character, as after a sync."""
    if isinstance(value, dict):
        return {name: _nulled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_nulled(item) for item in value]
    return None if isinstance(value, str) and "\0" in value else value
