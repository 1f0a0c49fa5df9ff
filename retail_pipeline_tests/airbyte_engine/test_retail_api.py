"""The connector of the retail API, stream by stream, against all kinds of HTTP responses.

`test_page_loop` compares the page loop with the stock command. Here all three streams are synced at
once, through the whole engine, into their tables.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import Response

from retail_pipeline.airbyte_engine.engine import Engine
from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.airbyte_engine.jobs import Job
from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.airbyte_engine.paged_api import KEY, PagedApi, serving
from retail_pipeline_tests.airbyte_engine.test_sync import FOLDER, engine_for

KEYS = {"products": "product_id", "users": "user_id", "transactions": "transaction_id"}
STREAMS = tuple(KEYS)
MANIFEST = PROJECT_ROOT / "airbyte" / "sources" / "retail_api" / "manifest.yaml"

IN_ONE_PROCESS = """
import json, logging, sys
from airbyte_cdk.cli.source_declarative_manifest._run import create_declarative_source
manifest, url, key = sys.argv[1:]
def source(key):
    config = {"api_url": url, "api_key": key, "max_retries": 0}
    open("config.json", "w").write(json.dumps(config))
    arguments = ["check", "--config", "config.json", "--manifest-path", manifest]
    return create_declarative_source(arguments), config
log = logging.getLogger("airbyte")
log.setLevel(logging.CRITICAL)
checks = []
for each in (key, "a-wrong-key"):
    built, config = source(each)
    found = built.check(log, config)
    checks.append((found.status.value, str(found.message)))
built, config = source(key)
streams = [
    (s.name, s.source_defined_primary_key, s.default_cursor_field, s.source_defined_cursor,
     sorted(m.value for m in s.supported_sync_modes), s.json_schema)
    for s in built.discover(log, config).streams
]
print("\\n" + json.dumps([checks, streams]))
"""


class AnyApi(PagedApi):
    """A paged API with prepared responses for the n-th request of each stream."""

    def __init__(self, streams: dict[str, list[dict]]) -> None:
        super().__init__(streams, page=10)
        self.answers: dict[int, Response] = {}
        self.served = dict.fromkeys(STREAMS, 0)

    def answer(self, request: Request) -> Response:
        name = request.path_params["stream"]
        self.served[name] += 1
        return self.answers.get(self.served[name]) or super().answer(request)


def records(stream: str, numbers: range, day: str = "2011-01-01") -> list[dict[str, Any]]:
    """Return valid records whose ids and times grow with their numbers."""
    common = {"recorded_at": f"{day}T00:00:00Z"}
    line = {"line_number": 1, "product_id": "P1", "quantity": 2, "unit_price": 0.5, "amount": 1.0}
    own: dict[str, dict[str, Any]] = {
        "products": {"name": "Cup", "price": 0.001, "cost": 1, "currency": "GBP"},
        "users": {"name": "A", "email": None, "phone": "1", "address": "x", "country": "Peru"},
        "transactions": {
            **{"user_id": "U1", "transacted_at": f"{day}T00:00:00Z", "type": "sale"},
            **{"currency": "GBP", "country": "Peru", "channel": "web", "items": [line]},
        },
    }
    return [
        {
            KEYS[stream]: f"{stream}-{number:03}",
            **common,
            **own[stream],
            "updated_at": f"{day}T{number // 60:02}:{number % 60:02}:00Z",
        }
        for number in numbers
    ]


def sync_all(engine: Engine) -> dict[str, Job]:
    """Sync all connections at the same time and return their jobs by stream."""
    jobs = {
        connection.streams[0].name: engine.start(connection.id)
        for connection in engine.folder.connections.values()
    }
    return {name: engine.wait(job.job_id) for name, job in jobs.items()}


def landed(database: Database, stream: str) -> dict[str, dict[str, Any]]:
    with database.connect() as session:
        rows = session.execute(f"select to_jsonb(t) from transactional.{stream} t").fetchall()
    assert len({row[KEYS[stream]] for (row,) in rows}) == len(rows)
    return {row[KEYS[stream]]: row for (row,) in rows}


def each(numbers: range, **options: Any) -> dict[str, list[dict[str, Any]]]:
    return {stream: records(stream, numbers, **options) for stream in STREAMS}


def counts(jobs: dict[str, Job]) -> dict[str, tuple[str, int, int]]:
    return {
        name: (job.status, job.counts.rows_read, job.counts.rows_inserted)
        for name, job in jobs.items()
    }


@pytest.fixture
def api() -> Iterator[AnyApi]:
    served = AnyApi(each(range(45)))
    with serving(served):
        yield served


def test_a_guests_transaction_lands_without_a_user(api: AnyApi, database: Database) -> None:
    guest, unknown = api.streams["transactions"][:2]
    guest["user_id"] = None
    del unknown["user_id"]
    with engine_for(database, api.address) as engine:
        job = sync_all(engine)["transactions"]
    assert (job.status, job.counts.rows_inserted, job.counts.rows_rejected) == ("succeeded", 45, 0)
    found = {row["user_id"] for row in landed(database, "transactions").values()}
    assert found == {None, "U1"}


def test_check_and_discover(api: AnyApi, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS, str(MANIFEST), api.address, KEY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [right, wrong], streams = json.loads(done.stdout.splitlines()[-1])
    assert right[0] == "SUCCEEDED"
    assert wrong[0] == "FAILED" and "check RETAIL_API_KEY" in wrong[1]
    assert "a-wrong-key" not in done.stdout + done.stderr
    declared = yaml.safe_load(MANIFEST.read_text())["schemas"]
    assert {name: key for name, key, *_ in streams} == {n: [[k]] for n, k in KEYS.items()}
    for name, _, cursor, source_defined, modes, schema in streams:
        assert (cursor, source_defined) == (["updated_at"], True)
        assert modes == ["full_refresh", "incremental"]
        assert schema == declared[name]


def test_first_sync_resumed_and_empty(database: Database, api: AnyApi) -> None:
    with engine_for(database, api.address) as engine:
        full, api.streams = api.streams, {stream: [] for stream in STREAMS}
        assert counts(sync_all(engine)) == dict.fromkeys(STREAMS, ("succeeded", 0, 0))
        api.streams = full
        assert counts(sync_all(engine)) == dict.fromkeys(STREAMS, ("succeeded", 45, 45))
        for stream in STREAMS:
            late = records(stream, range(100, 101))[0]
            # Added after the first sync with an earlier time: the lookback reads it.
            api.streams[stream] = [
                *api.streams[stream],
                {**late, "updated_at": "2011-01-01T00:40:00Z"},
                *records(stream, range(5), day="2011-02-01"),
            ]
        jobs = sync_all(engine)
        assert {
            name: (j.counts.rows_inserted, j.counts.rows_updated) for name, j in jobs.items()
        } == (dict.fromkeys(STREAMS, (1, 5)))
        # The records of the last ten minutes, the late record and the five new ones.
        assert {job.counts.rows_read for job in jobs.values()} == {10 + 1 + 1 + 5}
        assert counts(sync_all(engine)) == dict.fromkeys(STREAMS, ("succeeded", 5, 0))
    for stream in STREAMS:
        assert set(landed(database, stream)) == {r[KEYS[stream]] for r in api.streams[stream]}


def test_refused_and_broken_requests_are_repeated(database: Database, api: AnyApi) -> None:
    api.answers = {
        1: Response(status_code=429, headers={"Retry-After": "0.05"}),
        3: Response(status_code=429),
        5: Response("<html>", status_code=500),
        7: Response(b'{"data": [{"product_id": "P', media_type="application/json"),
    }
    with engine_for(database, api.address) as engine:
        assert counts(sync_all(engine)) == dict.fromkeys(STREAMS, ("succeeded", 45, 45))
    assert api.served == dict.fromkeys(STREAMS, 5 + 4)
    for stream in STREAMS:
        assert set(landed(database, stream)) == {r[KEYS[stream]] for r in api.streams[stream]}


def test_records_that_do_not_fit(database: Database, api: AnyApi) -> None:
    for stream in STREAMS:
        bad = records(stream, range(45, 50))
        del bad[0][KEYS[stream]]
        bad[2][KEYS[stream]] = ""
        bad[3]["currency" if stream != "users" else "country"] = {"code": "GBP"}
        bad[4]["a_new_column"] = 1
        api.streams[stream] = [*api.streams[stream], *(bad[number] for number in (0, 2, 3, 4))]
        api.streams[stream].insert(0, {**bad[1], "updated_at": "2011-01-01T00:00:00Z?"})
    with engine_for(database, api.address) as engine:
        jobs = sync_all(engine)
    assert {
        (j.counts.rows_read, j.counts.rows_inserted, j.counts.rows_rejected) for j in jobs.values()
    } == {(50, 47, 3)}
    aside = database.query("select stream, reason from quality.rejected_records")
    for stream, key in KEYS.items():
        assert set(aside.loc[aside["stream"] == stream, "reason"]) == {
            f"{key} is missing",
            "the key is empty",
            "updated_at is '2011-01-01T00:00:00Z?', not a time like 2011-06-01T00:00:00Z",
        }
        rows = landed(database, stream)
        nulled = "currency" if stream != "users" else "country"
        assert rows[f"{stream}-048"][nulled] is None
        assert rows[f"{stream}-048"]["_airbyte_meta"]["changes"][0]["field"] == nulled
        assert jobs[stream].undeclared == {stream: ["a_new_column"]}


def test_declared_columns_come_and_go(database: Database, api: AnyApi, tmp_path: Path) -> None:
    with engine_for(database, api.address) as engine:
        sync_all(engine)
    folder = tmp_path / "airbyte"
    shutil.copytree(PROJECT_ROOT / "airbyte", folder)
    path = folder / "sources" / "retail_api" / "manifest.yaml"
    manifest = yaml.safe_load(path.read_text())
    gone = {"products": "name", "users": "name", "transactions": "channel"}
    for stream in STREAMS:
        properties = manifest["schemas"][stream]["properties"]
        properties["colour"] = {"type": ["null", "string"]}
        del properties[gone[stream]]
        api.streams[stream] = [
            {**record, "colour": "red"} for record in records(stream, range(3), day="2011-02-01")
        ]
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    with engine_for(database, api.address, folder=AirbyteFolder.load(folder)) as engine:
        assert {job.status for job in sync_all(engine).values()} == {"succeeded"}
    for stream in STREAMS:
        rows = landed(database, stream)
        assert len(rows) == 45
        assert [rows[f"{stream}-00{n}"]["colour"] for n in (2, 3)] == ["red", None]
        # The table keeps a column that left the schema, with the values of earlier syncs.
        assert rows[f"{stream}-003"][gone[stream]] is not None


def test_secrets_are_marked() -> None:
    manifest = yaml.safe_load(MANIFEST.read_text())
    properties = manifest["spec"]["connection_specification"]["properties"]
    marked = {name for name, declared in properties.items() if declared.get("airbyte_secret")}
    assert marked == {name for name in properties if "key" in name} == {"api_key"}
    assert FOLDER.sources["retail_api"].configuration["api_key"] == "${RETAIL_API_KEY}"
