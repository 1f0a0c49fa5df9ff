"""The engines of the ingestion benchmark, each run in a separate process.

`python -m benchmarks.ingestion_engines ENGINE API_URL DATABASE_URL FOLDER STREAM...` reads the new
records of the streams and prints their number. An engine stores its state in the database or in the
folder. Other tools are optional and imported inside their functions.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import psycopg

from benchmarks.api_server import KEY

Contestant = Callable[[str, str, Path, Sequence[str]], int]
_PAGE = 1_000


def engine(api_url: str, database_url: str, folder: Path, streams: Sequence[str]) -> int:
    """Return the number of records read by this project's engine, with all connections at once."""
    from retail_pipeline.airbyte_engine.source import READERS

    READERS.start()  # as the landing assets do
    from retail_pipeline.airbyte_engine.engine import Engine
    from retail_pipeline.airbyte_engine.files import AirbyteFolder
    from retail_pipeline.postgres import Database
    from retail_pipeline.settings import PROJECT_ROOT

    values = {"RETAIL_API_URL": api_url, "RETAIL_API_KEY": KEY, "RETAIL_API_END": None}
    files = AirbyteFolder.load(PROJECT_ROOT / "airbyte")
    with Engine(files, Database(database_url), values, logs=folder) as syncs:
        started = [syncs.start(files.connections[f"retail_api_{name}"].id) for name in streams]
        jobs = [syncs.wait(each.job_id) for each in started]
    for job in jobs:
        if job.status != "succeeded":
            raise SystemExit(f"the sync failed: {job.reason}")
    return sum(job.counts.rows_read for job in jobs)


def stock(api_url: str, _database_url: str, folder: Path, streams: Sequence[str]) -> int:
    """Return the number of records read by the stock CDK command, which does not store them."""
    from retail_pipeline.airbyte_engine.engine import configured_catalog
    from retail_pipeline.airbyte_engine.files import AirbyteFolder
    from retail_pipeline.settings import PROJECT_ROOT

    files = AirbyteFolder.load(PROJECT_ROOT / "airbyte")
    connection = files.connections[f"retail_api_{streams[0]}"]
    state = folder / "state.json"
    if not state.exists():
        state.write_text("[]")
    (folder / "config.json").write_text(json.dumps({"api_url": api_url, "api_key": KEY}))
    (folder / "catalog.json").write_text(json.dumps(configured_catalog(files, connection)))
    command = [str(Path(sys.executable).with_name("source-declarative-manifest")), "read"]
    for name in ("config", "catalog", "state"):
        command += [f"--{name}", str(folder / f"{name}.json")]
    command += ["--manifest-path", str(files.manifest_path(connection))]
    count, last = 0, b""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b'{"type":"RECORD"'):
                count += 1
            elif line.startswith(b'{"type":"STATE"'):
                last = line
    if process.returncode or not last:
        raise SystemExit("the stock command failed")
    kept = orjson.loads(last)["state"]
    state.write_bytes(orjson.dumps([{"type": "STREAM", "stream": kept["stream"]}]))
    return count


def dlt(api_url: str, database_url: str, folder: Path, streams: Sequence[str]) -> int:
    """Return the number of records read by dlt: rest_api source, CSV files by COPY, upsert."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt as library
    from dlt.destinations import postgres
    from dlt.sources.rest_api import rest_api_source

    source: Any = rest_api_source(
        {
            "client": {
                "base_url": f"{api_url}/v1/",
                "auth": {"type": "bearer", "token": KEY},
                "paginator": {
                    "type": "cursor",
                    "cursor_path": "next_cursor",
                    "cursor_param": "cursor",
                },
            },
            "resources": [_dlt_resource(name) for name in streams],
        }
    )
    source.max_table_nesting = 0
    pipeline: Any = library.pipeline(
        "bench",
        destination=postgres(credentials=database_url),
        dataset_name="dlt",
        pipelines_dir=str(folder),
    )
    pipeline.run(source, loader_file_format="csv")
    # The count of the extraction, because with CSV files the later counts are of cells.
    extracted = pipeline.last_trace.last_extract_info.metrics.values()
    tables = [metrics["table_metrics"] for each in extracted for metrics in each]
    return sum(table[name].items_count for table in tables for name in streams if name in table)


def _dlt_resource(name: str) -> Any:
    return {
        "name": name,
        "primary_key": name.removesuffix("s") + "_id",
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "endpoint": {
            "path": name,
            "data_selector": "data",
            "params": {"limit": _PAGE, "updated_since": "{incremental.start_value}"},
            "incremental": {
                "cursor_path": "updated_at",
                "initial_value": "1600-01-01T00:00:00Z",
                "row_order": "asc",
            },
        },
    }


def limit(api_url: str, database_url: str, folder: Path, streams: Sequence[str]) -> int:
    """Return the number of records read by a minimal script: urllib3, unchecked COPY, upsert."""
    import urllib3

    [stream] = streams
    state = folder / "since.txt"
    since = state.read_text() if state.exists() else "1600-01-01T00:00:00Z"
    http, cursor, count = urllib3.PoolManager(), None, 0
    with psycopg.connect(database_url) as connection, connection.cursor() as session:
        session.execute(_LIMIT_TABLE)
        first = session.execute("select not exists (select from plain.transactions)").fetchone()
        target = "plain.transactions" if first == (True,) else "incoming"
        session.execute("create temp table incoming (like plain.transactions)")
        with session.copy(f"copy {target} from stdin") as copy:
            while True:
                fields = {"limit": str(_PAGE), "updated_since": since}
                if cursor:
                    fields["cursor"] = cursor
                headers = {"Authorization": f"Bearer {KEY}"}
                answer = http.request(
                    "GET", f"{api_url}/v1/{stream}", fields=fields, headers=headers, timeout=60.0
                )
                page = orjson.loads(answer.data)
                copy.write("".join(map(_plain_line, page["data"])))
                count += len(page["data"])
                latest = page["data"][-1]["updated_at"] if page["data"] else since
                cursor = page["next_cursor"]
                if cursor is None:
                    break
        if target == "incoming":
            session.execute(_LIMIT_UPSERT)
        else:
            session.execute("alter table plain.transactions add primary key (transaction_id)")
    state.write_text(latest)
    return count


_PLAIN = (
    *("transaction_id", "user_id", "transacted_at", "recorded_at", "updated_at"),
    *("type", "currency", "country", "channel"),
)
_LIMIT_TABLE = """
create schema if not exists plain;
create table if not exists plain.transactions (
    transaction_id varchar, user_id varchar, transacted_at timestamptz, recorded_at timestamptz,
    updated_at timestamptz, type varchar, currency varchar, country varchar, channel varchar,
    items jsonb
)"""
_LIMIT_UPSERT = (
    "insert into plain.transactions select distinct on (transaction_id) * from incoming "
    "order by transaction_id, updated_at desc on conflict (transaction_id) do update set "
    + ", ".join(f"{name} = excluded.{name}" for name in [*_PLAIN[1:], "items"])
)


def _plain_line(record: Mapping[str, Any]) -> str:
    values = [record[name] for name in _PLAIN]
    items = orjson.dumps(record["items"]).decode().replace("\\", "\\\\")
    return "\t".join(["\\N" if value is None else value for value in values]) + f"\t{items}\n"


CONTESTANTS: Mapping[str, Contestant] = {
    "engine": engine,
    "limit": limit,
    "stock command": stock,
    "dlt": dlt,
}


def main() -> None:
    """Run one engine; print its records and the seconds without the interpreter's start."""
    _, name, api_url, database_url, folder, *streams = sys.argv
    began = time.perf_counter()
    records = CONTESTANTS[name](api_url, database_url, Path(folder), streams)
    seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"records": records, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
