"""The page loop beside the stock command: the same records, states, statuses and failures.

Both read the same streams of the same API at the same time, each from a server of its own, so that
a fault meets both at the same request. What the loop says it supports is what is compared here.
"""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.responses import JSONResponse, Response

from retail_pipeline.airbyte_engine.child import PAGES, STOCK, ReadRequest
from retail_pipeline.airbyte_engine.engine import configured_catalog
from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.airbyte_engine.host import HOST
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.airbyte_engine.paged_api import KEY, PagedApi, products, serving

FOLDER = AirbyteFolder.load(PROJECT_ROOT / "airbyte")
MANIFEST = yaml.safe_load((PROJECT_ROOT / "airbyte/sources/retail_api/manifest.yaml").read_text())
STREAMS = ("products", "users", "transactions")
END = "2012-01-01T00:00:00Z"
Fault = Callable[[], Response]


@dataclass
class Output:
    """What a reader printed, without what differs from run to run."""

    reader: str = ""
    reason: str = ""
    exit_code: int | None = None
    records: dict[str, list[Any]] = field(default_factory=dict)
    states: dict[str, list[Any]] = field(default_factory=dict)
    statuses: dict[str, list[str]] = field(default_factory=dict)
    failures: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def state(self) -> list[dict[str, Any]]:
        """The last state of every stream, as the next sync takes it."""
        return [{"type": "STREAM", "stream": states[-1][0]} for states in self.states.values()]

    def take(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "RECORD":
            record = message["record"]
            self.records.setdefault(record["stream"], []).append(record["data"])
        elif kind == "STATE":
            state = message["state"]
            name = state["stream"]["stream_descriptor"]["name"]
            self.states.setdefault(name, []).append((state["stream"], state["sourceStats"]))
        elif kind == "READER":
            self.reader, self.reason = message["reader"], message["reason"]
        elif kind == "TRACE" and message["trace"]["type"] == "STREAM_STATUS":
            status = message["trace"]["stream_status"]
            name = status["stream_descriptor"]["name"]
            self.statuses.setdefault(name, []).append(status["status"])
        elif kind == "TRACE" and message["trace"]["type"] == "ERROR":
            error = message["trace"]["error"]
            if error.get("stream_descriptor"):
                name = error["stream_descriptor"]["name"]
                self.failures.append((name, error["failure_type"], error["message"]))


def records_of(count: int, *, day: str = "2011-01-01") -> dict[str, list[dict]]:
    """Return records of all three streams; some share an instant, some are dirty."""
    rows = products(count, day=day)
    users = [
        {
            "user_id": f"U{n}",
            "name": "Zoë\u2028" if n % 3 else None,
            "updated_at": row["updated_at"],
        }
        for n, row in enumerate(rows)
    ]
    transactions = [
        {
            "transaction_id": f"T{n}",
            "updated_at": rows[n // 2]["updated_at"].replace("Z", ".250000Z" if n % 2 else "Z"),
            "items": [{"line_number": 1, "amount": n / 1000, "big": 2**70}],
            "unknown": {"nested": [n]},
        }
        for n in range(count)
    ]
    return {"products": rows, "users": users, "transactions": transactions}


@dataclass
class FaultyApi(PagedApi):
    """Answers the n-th request (from 1) to each stream with a fault instead."""

    faults: Mapping[int, Fault] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def answer(self, request: Any) -> Response:
        name = request.path_params["stream"]
        self.asked[name] = self.asked.get(name, 0) + 1
        fault = self.faults.get(self.asked[name])
        return super().answer(request) if fault is None else fault()


def catalog_of(streams: Sequence[str]) -> dict[str, Any]:
    catalogs = [configured_catalog(FOLDER, FOLDER.connections[f"retail_api_{s}"]) for s in streams]
    return {"streams": [stream for each in catalogs for stream in each["streams"]]}


def read(
    folder: Path,
    url: str,
    *,
    page_loop: bool,
    manifest: Mapping[str, Any] = MANIFEST,
    streams: Sequence[str] = STREAMS,
    state: Sequence[Any] = (),
    command: bool = False,
    **config: Any,
) -> Output:
    """Read with one reader; with `command`, the stock command as a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"api_url": url, "api_key": KEY, "end_date": END, **config}
    inputs = {"config": config, "catalog": catalog_of(streams), "state": list(state)}
    arguments = ["read"]
    for name, content in inputs.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
        arguments += [f"--{name}", str(folder / f"{name}.json")]
    (folder / "manifest.yaml").write_text(yaml.safe_dump(dict(manifest)))
    arguments += ["--manifest-path", str(folder / "manifest.yaml")]
    output = Output()
    if command:
        executable = Path(sys.executable).with_name("source-declarative-manifest")
        done = subprocess.run([executable, *arguments], capture_output=True, check=False)
        lines, output.exit_code = done.stdout.splitlines(), done.returncode
    else:
        lines, output.exit_code = _read_in_host(folder, arguments, page_loop)
    for line in lines:
        output.take(json.loads(line))
    return output


def _read_in_host(folder: Path, arguments: list[str], page_loop: bool) -> tuple[list[bytes], int]:
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb") as messages, (folder / "log.txt").open("ab") as log:
        request = ReadRequest(arguments, str(folder), page_loop=page_loop)
        reader = HOST.start(request, sending, log.fileno())
        os.close(sending)
        return messages.read().splitlines(), reader.wait()


def both(
    tmp_path: Path,
    streams: Mapping[str, list[dict]],
    faults: Mapping[int, Fault] | None = None,
    **options: Any,
) -> Output:
    """Read with both, compare, and return what the loop printed."""
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    loop, stock = (FaultyApi(dict(streams), faults=faults or {}) for _ in range(2))
    with serving(loop), serving(stock), ThreadPoolExecutor() as pool:
        expected = pool.submit(read, folder / "stock", stock.address, page_loop=False, **options)
        given = {**options, "command": False}
        found = read(folder / "loop", loop.address, page_loop=True, **given)
        same(found, expected.result())
    assert sorted(map(str, loop.requests)) == sorted(map(str, stock.requests))
    return found


def same(found: Output, expected: Output) -> None:
    assert (found.reader, found.reason) == (PAGES, "")
    assert expected.reader in (STOCK, "")
    assert found.records == expected.records
    assert found.states == expected.states
    assert found.statuses == expected.statuses
    assert sorted(found.failures) == sorted(expected.failures)
    assert found.exit_code == expected.exit_code


def refusal(code: int, headers: Mapping[str, str] | None = None, text: bytes = b"") -> Fault:
    return lambda: Response(text, status_code=code, headers=dict(headers or {}))


def page(text: bytes) -> Fault:
    return lambda: Response(text, media_type="application/json")


def test_a_first_sync_a_resumed_one_and_an_empty_one(tmp_path: Path) -> None:
    streams = records_of(250)
    first = both(tmp_path, streams, command=True)
    assert {name: len(each) for name, each in first.records.items()} == dict.fromkeys(STREAMS, 250)
    assert first.exit_code == 0
    assert first.statuses["users"] == ["STARTED", "RUNNING", "COMPLETE"]
    more = records_of(40, day="2011-02-01")
    later = {name: records + more[name] for name, records in streams.items()}
    second = both(tmp_path, later, state=first.state)
    # The boundary is inclusive: what bears the last instant is read once more.
    assert {len(each) for each in second.records.values()} == {41}
    nothing: dict[str, list[dict]] = {name: [] for name in STREAMS}
    empty = both(tmp_path, nothing, state=second.state)
    assert (empty.records, empty.state) == ({}, second.state)
    assert both(tmp_path, nothing).exit_code == 0


def test_refused_requests_are_repeated(tmp_path: Path) -> None:
    faults = {
        1: refusal(429, {"Retry-After": "0.1"}),
        3: refusal(429),
        5: refusal(500, text=b"<html>"),
        7: page(b'{"data": [{"product_'),
    }
    found = both(tmp_path, records_of(250), faults)
    assert {len(each) for each in found.records.values()} == {250}
    assert found.failures == []


MALFORMED = {
    "truncated": b'{"data": [{"product_id": "P1", "updated_at": "20',
    "empty": b"",
    "an error": b'{"error": "try later"}',
    "text": b'"data"',
    "a list": b"[]",
    "no records": b'{"data": null, "next_cursor": null}',
    "records as text": b'{"data": "P1", "next_cursor": null}',
    "one record": b'{"data": {"product_id": "P1"}, "next_cursor": null}',
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_page_that_stays_malformed_fails_and_the_next_sync_completes(
    tmp_path: Path, text: bytes
) -> None:
    streams = {"products": products(250)}
    faults = dict.fromkeys(range(2, 9), page(text))
    found = both(tmp_path, streams, faults, streams=["products"], max_retries=0)
    [(name, kind, reason)] = found.failures
    assert (name, kind) == ("products", "system_error")
    assert "The retail API's answer is not a page of records" in reason
    assert found.exit_code == 1 and len(found.records["products"]) == 100
    assert found.statuses["products"] == ["STARTED", "RUNNING", "INCOMPLETE"]
    again = both(tmp_path, streams, streams=["products"])
    assert len(again.records["products"]) == 250


def test_a_record_that_is_no_object_fails(tmp_path: Path) -> None:
    text = b'{"data": [{"product_id": "P1", "updated_at": "2011-01-01T00:00:00Z"}, 5], "next_cursor": null}'
    found = both(tmp_path, {"products": []}, {1: page(text)}, streams=["products"])
    assert found.exit_code == 1 and len(found.failures) == 1
