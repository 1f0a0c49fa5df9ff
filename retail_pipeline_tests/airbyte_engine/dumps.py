"""The API's records and the landed rows in one form, to compare as multisets."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from retail_pipeline.postgres import Database

Dump = Counter[str]


def dumped(records: Iterable[Mapping[str, Any]]) -> Dump:
    """Return the API's records; numbers are exact, times are instants."""
    return Counter(_comparable(json.dumps(record)) for record in records)


def landed(database: Database, stream: str) -> Dump:
    """Return a landing table's rows in the same form; an empty multiset without a table."""
    with database.connect() as session:
        found = session.execute("select to_regclass(%s)", [f"transactional.{stream}"]).fetchone()
        if found == (None,):
            return Counter()
        rows = session.execute(
            f"select (to_jsonb(t) - '{{_airbyte_raw_id, _airbyte_extracted_at, _airbyte_meta, "
            f"_airbyte_generation_id}}'::text[])::text from transactional.{stream} t"
        ).fetchall()
    return Counter(_comparable(text) for (text,) in rows)


def money(dump: Dump) -> Decimal:
    """Return the exact sum of the amounts of all lines."""
    return sum(
        (
            Decimal(line["amount"]) * times
            for text, times in dump.items()
            for line in json.loads(text)["items"]
        ),
        Decimal(0),
    )


def _comparable(text: str) -> str:
    record = json.loads(text, parse_float=Decimal)
    return json.dumps({name: _value(name, record[name]) for name in sorted(record)})


def _value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [{inner: _value(inner, each[inner]) for inner in sorted(each)} for each in value]
    if name.endswith("_at") and value is not None:
        return datetime.fromisoformat(value).isoformat()
    if isinstance(value, int | Decimal):
        return str(Decimal(value).normalize())
    return value
