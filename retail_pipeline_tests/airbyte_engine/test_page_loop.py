"""The page loop beside the stock command: the same records, states, statuses and failures.

Both read the same streams of the same API at the same time, each from its own server, so that a
fault comes at the same request of both. The comparison covers everything in `supported.py`.
"""

import copy
import json
import re
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

from retail_pipeline.airbyte_engine.engine import configured_catalog
from retail_pipeline.airbyte_engine.fast_reader import PAGES, STOCK, ReadRequest
from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.airbyte_engine.source import READERS
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.airbyte_engine.paged_api import KEY, PagedApi, products, serving

FOLDER = AirbyteFolder.load(PROJECT_ROOT / "airbyte")
MANIFEST = yaml.safe_load((PROJECT_ROOT / "airbyte/sources/retail_api/manifest.yaml").read_text())
STREAMS = ("products", "users", "transactions")
END = "2012-01-01T00:00:00Z"
Fault = Callable[[], Response]
PRODUCTS = {"products": products(250)}
JUST_PRODUCTS: dict[str, Any] = {"streams": ["products"], "max_retries": 0}


@dataclass
class Output:
    """The messages of a reader, without the parts that differ between runs."""

    reader: str = ""
    reason: str = ""
    exit_code: int | None = None
    records: dict[str, list[Any]] = field(default_factory=dict)
    states: dict[str, list[Any]] = field(default_factory=dict)
    statuses: dict[str, list[str]] = field(default_factory=dict)
    failures: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def state(self) -> list[dict[str, Any]]:
        """Return the last state of every stream, with which the next sync starts."""
        return [{"type": "STREAM", "stream": states[-1][0]} for states in self.states.values()]

    def sorted_records(self) -> dict[str, list[str]]:
        return {name: sorted(map(json.dumps, each)) for name, each in self.records.items()}

    def without(self, address: str) -> "Output":
        """Return the result without the server's address in the messages of failures."""
        host = address.removeprefix("http://")
        port = host.rpartition(":")[2]
        self.failures = [
            (name, kind, re.sub(r"0x[0-9a-f]+", "", str(message)).replace(port, ""))
            for name, kind, message in self.failures
        ]
        return self

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
            if not status.get("reasons"):  # "rate limited, still running": for display only
                self.statuses.setdefault(name, []).append(status["status"])
        elif kind == "TRACE" and message["trace"]["type"] == "ERROR":
            error = message["trace"]["error"]
            if error.get("stream_descriptor"):
                name = error["stream_descriptor"]["name"]
                self.failures.append((name, error["failure_type"], error["message"]))


def records_of(count: int, *, day: str = "2011-01-01") -> dict[str, list[dict]]:
    """Return records of all three streams; some share a time, some have faulty values."""
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
    """An API that answers the n-th request of a stream (from 1) with a fault."""

    faults: Mapping[tuple[str, int], Fault] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)

    def answer(self, request: Any) -> Response:
        name = request.path_params["stream"]
        self.served[name] = self.served.get(name, 0) + 1
        fault = self.faults.get((name, self.served[name]))
        return self.page_of(request) if fault is None else fault()

    def page_of(self, request: Any) -> Response:
        return super().answer(request)


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
    catalog: Mapping[str, Any] | None = None,
    command: bool = False,
    **config: Any,
) -> Output:
    """Return the messages of one reader: the loop, or with `command` the stock command."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"api_url": url, "api_key": KEY, "end_date": END, **config}
    inputs = {"config": config, "catalog": catalog or catalog_of(streams), "state": list(state)}
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
        request = ReadRequest(
            str(folder / "manifest.yaml"),
            **inputs,
            page_loop=page_loop,
            log=str(folder / "log.txt"),
            folder=str(folder),
        )
        lines, output.exit_code = _read_by_reader(request)
    for line in lines:
        output.take(json.loads(line))
    return output


def _read_by_reader(request: ReadRequest) -> tuple[list[bytes], int]:
    reader, lines = READERS.take(), []
    reader.request(request)
    for line in reader.messages:
        lines.append(line)
        if line.startswith(b'{"type":"END"'):
            break
    READERS.give_back(reader)
    return lines, json.loads(lines.pop())["exit_code"]


def both(
    tmp_path: Path,
    data: Mapping[str, list[dict]],
    faults: Mapping[tuple[str, int], Fault] | None = None,
    *,
    in_order: bool = True,
    kind: type[FaultyApi] | None = None,
    **options: Any,
) -> Output:
    """Compare both readers and return the messages of the loop."""
    folder, kind = tmp_path / f"{len(list(tmp_path.iterdir()))}", kind or FaultyApi
    loop, stock = (kind(dict(data), faults=faults or {}) for _ in range(2))
    with serving(loop), serving(stock), ThreadPoolExecutor() as pool:
        expected = pool.submit(read, folder / "stock", stock.address, page_loop=False, **options)
        given = {**options, "command": False}
        found = read(folder / "loop", loop.address, page_loop=True, **given)
        same(found.without(loop.address), expected.result().without(stock.address), in_order)
    assert sorted(map(str, loop.requests)) == sorted(map(str, stock.requests))
    return found


def same(found: Output, expected: Output, in_order: bool) -> None:
    """Compare the messages of both; the stock command reads several windows in any order."""
    assert (found.reader, found.reason) == (PAGES, "")
    assert expected.reader in (STOCK, "")
    if in_order:
        assert found.records == expected.records
        assert found.states == expected.states
    else:
        assert found.sorted_records() == expected.sorted_records()
        assert sorted(map(str, found.state)) == sorted(map(str, expected.state))
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
    # The boundary is inclusive: records of the last instant are read again.
    assert [len(second.records[name]) for name in STREAMS] == [41, 41, 42]
    nothing: dict[str, list[dict]] = {name: [] for name in STREAMS}
    empty = both(tmp_path, nothing, state=second.state)
    assert (empty.records, empty.state) == ({}, second.state)
    assert both(tmp_path, nothing).exit_code == 0


def test_refused_requests_are_repeated(tmp_path: Path) -> None:
    faults = {
        ("products", 2): refusal(429, {"Retry-After": "0.1"}),
        ("users", 1): refusal(429),
        ("transactions", 1): refusal(500, text=b"<html>"),
        ("transactions", 3): page(b'{"data": [{"product_'),
    }
    found = both(tmp_path, records_of(250), faults)
    assert {len(each) for each in found.records.values()} == {250}
    assert found.failures == []


BROKEN = {
    "truncated": page(b'{"data": [{"product_id": "P1", "updated_at": "20'),
    "an error": page(b'{"error": "try later"}'),
    "a list": page(b"[]"),
    "no records": page(b'{"data": null, "next_cursor": null}'),
    "one record": page(b'{"data": {"product_id": "P1"}, "next_cursor": null}'),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_a_page_that_stays_malformed_fails_the_sync(tmp_path: Path, fault: Fault) -> None:
    found = both(tmp_path, PRODUCTS, {("products", 2): fault}, **JUST_PRODUCTS)
    [(name, kind, reason)] = found.failures
    assert (name, kind) == ("products", "system_error")
    assert "The retail API's answer is not a page of records" in reason
    assert found.exit_code == 1 and len(found.records["products"]) == 100
    assert found.statuses["products"] == ["STARTED", "RUNNING", "INCOMPLETE"]


def test_an_api_that_goes_away_fails_the_sync_and_the_next_completes(tmp_path: Path) -> None:
    def gone() -> Response:  # the connection breaks in the middle of a response
        return Response(b'{"data": [', headers={"Content-Length": "1000"})

    found = both(tmp_path, PRODUCTS, {("products", 2): gone}, **JUST_PRODUCTS)
    assert found.exit_code == 1 and found.failures
    assert found.statuses["products"] == ["STARTED", "RUNNING", "INCOMPLETE"]
    again = both(tmp_path, PRODUCTS, **JUST_PRODUCTS)
    assert len(again.records["products"]) == 250 and again.exit_code == 0


def test_a_wrong_key_and_a_record_that_is_no_object_fail(tmp_path: Path) -> None:
    refused = both(tmp_path, PRODUCTS, {("products", 1): refusal(403)}, **JUST_PRODUCTS)
    assert refused.failures[0][1] == "config_error" and refused.exit_code == 1
    text = b'{"data": [{"product_id": "P1"}, 5, {"product_id": "P2"}], "next_cursor": null}'
    with serving(FaultyApi(dict(PRODUCTS), faults={("products", 1): page(text)})) as api:
        found = read(tmp_path / "loop", api.address, page_loop=True, **JUST_PRODUCTS)
    assert (found.exit_code, found.reader, len(found.failures)) == (1, PAGES, 1)
    assert found.records == {}  # of the stock command nothing would land either


def test_cursors_that_text_order_does_not_tell_give_the_same_state(tmp_path: Path) -> None:
    rows = products(120)
    for number, row in enumerate(rows):
        row["updated_at"] = (None, "no time", "2011-01-01T05:00:00+04:00", "2011-13-01T00:00:00Z")[
            number % 4
        ] or row["updated_at"]
    rows[7]["updated_at"], rows[9]["updated_at"] = "2011-01-01T05:30:00.5Z", 5
    everything = json.dumps({"data": rows, "next_cursor": None}).encode()
    found = both(tmp_path, PRODUCTS, {("products", 1): page(everything)}, **JUST_PRODUCTS)
    assert found.exit_code == 0 and len(found.records["products"]) == 120


def changed(**changes: Any) -> dict[str, Any]:
    """Return the manifest with parts of its stream replaced: `part__property=value`."""
    manifest = copy.deepcopy(MANIFEST)
    base = manifest["definitions"]["base_stream"]
    parts = {
        "stream": base,
        "retriever": base["retriever"],
        "selector": base["retriever"]["record_selector"],
        "extractor": base["retriever"]["record_selector"]["extractor"],
        "cursor": base["incremental_sync"],
        "requester": manifest["definitions"]["base_requester"],
        "errors": manifest["definitions"]["base_requester"]["error_handler"],
        "paginator": manifest["definitions"]["base_paginator"],
        "source": manifest,
    }
    for place, value in changes.items():
        part, _, name = place.partition("__")
        if value is None:
            del parts[part][name]
        else:
            parts[part][name] = value
    return manifest


def test_windows_with_a_lookback_give_the_same_records_and_state(tmp_path: Path) -> None:
    manifest = changed(
        cursor__step="P20D", cursor__cursor_granularity="PT1S", cursor__lookback_window="P2D"
    )
    data = {
        name: each + records_of(30, day="2011-02-10")[name]
        for name, each in records_of(120).items()
    }
    options: dict[str, Any] = {"manifest": manifest, "start_date": "2010-12-20T00:00:00Z"}
    first = both(tmp_path, data, in_order=False, end_date="2011-02-20T00:00:00Z", **options)
    assert {len(each) for each in first.records.values()} == {150}
    second = both(tmp_path, data, in_order=False, state=first.state, **options)
    assert second.exit_code == 0


def test_offsets_and_single_answers_without_cursor_give_the_same(tmp_path: Path) -> None:
    everything = {"updated_since": "1600-01-01T00:00:00Z", "updated_until": END}
    offsets = changed(
        stream__incremental_sync=None,
        requester__request_parameters=everything,
        requester__authenticator={
            "type": "ApiKeyAuthenticator",
            "api_token": "Bearer {{ config['api_key'] }}",
            "inject_into": {
                "type": "RequestOption",
                "inject_into": "header",
                "field_name": "Authorization",
            },
        },
        paginator__pagination_strategy={"type": "OffsetIncrement", "page_size": 100},
    )
    found = both(tmp_path, PRODUCTS, manifest=offsets, **JUST_PRODUCTS)
    assert len(found.records["products"]) == 250
    single = changed(
        stream__incremental_sync=None,
        requester__request_parameters=everything,
        requester__authenticator={"type": "NoAuth"},
        requester__request_headers={"Authorization": "Bearer {{ config['api_key'] }}"},
        requester__url="{{ config['api_url'] }}/v1/products",
        requester__url_base=None,
        requester__path=None,
        retriever__paginator={"type": "NoPagination"},
    )
    found = both(tmp_path, PRODUCTS, manifest=single, **JUST_PRODUCTS)
    assert len(found.records["products"]) == 100


SHOP = yaml.safe_load(
    (PROJECT_ROOT / "examples/open_shop/airbyte/sources/open_shop/manifest.yaml").read_text()
)
CARTS = [{"id": n, "userId": n % 7, "products": [{"price": n / 100}]} for n in range(250)]


class FaultyShop(FaultyApi):
    """An API with pages by `limit` and `skip`, without an API key and without `updated_at`."""

    route = "/{stream}"

    def page_of(self, request: Any) -> Response:
        name, query = request.path_params["stream"], request.query_params
        self.requests.append(dict(query))
        start, records = int(query.get("skip", 0)), self.streams[name]
        found = records[start : start + int(query["limit"])]
        return JSONResponse({name: found, "total": len(records), "skip": start})


def shop(tmp_path: Path, carts: list[dict], faults: Any = None, **options: Any) -> Output:
    stream = {"name": "shop_carts", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
    mode = {"sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    return both(
        tmp_path,
        {"carts": carts},
        faults,
        kind=FaultyShop,
        manifest=SHOP,
        catalog={"streams": [{"stream": stream, **mode}]},
        **options,
    )


def test_another_source_that_is_read_in_full_each_time_gives_the_same(tmp_path: Path) -> None:
    first = shop(tmp_path, CARTS, command=True)
    assert (len(first.records["shop_carts"]), first.exit_code) == (250, 0)
    again = shop(tmp_path, CARTS[:150], state=first.state)
    assert len(again.records["shop_carts"]) == 150  # from the start, whatever the state is
    assert shop(tmp_path, []).records == {}


def test_another_source_survives_and_reports_the_same_faults(tmp_path: Path) -> None:
    passing = {
        ("carts", 1): refusal(429, {"Retry-After": "0.1"}),
        ("carts", 3): refusal(503, {"Retry-After": "0.1"}),
        ("carts", 5): page(b'{"carts": ['),
    }
    assert len(shop(tmp_path, CARTS, passing).records["shop_carts"]) == 250
    staying = {"no page": page(b'{"message": "later"}'), "no such address": refusal(404)}
    for fault in staying.values():
        found = shop(tmp_path, CARTS, {("carts", 2): fault}, max_retries=0)
        assert found.exit_code == 1 and len(found.failures) == 1
        assert len(found.records["shop_carts"]) == 100


FILTER = {"type": "RecordFilter", "condition": "{{ false }}"}
ADDED = {
    "type": "AddFields",
    "fields": [{"type": "AddedFieldDefinition", "path": ["added"], "value": "x"}],
}
UNSUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "transformations": ({"stream__transformations": [ADDED]}, "uses transformations"),
    "filter": ({"selector__record_filter": FILTER}, "uses record_filter"),
    "normalisation": ({"selector__schema_normalization": "Default"}, "uses schema_normalization"),
    "partitions": ({"retriever__partition_router": []}, "uses partition_router"),
    "decoder": ({"retriever__decoder": {"type": "JsonlDecoder"}}, "uses decoder"),
    "cache": ({"requester__use_cache": True}, "uses use_cache"),
    "body": ({"requester__request_body_json": {"a": "b"}}, "uses request_body_json"),
    "another paginator": (
        {"paginator__pagination_strategy": {"type": "PageIncrement", "page_size": 100}},
        "uses PageIncrement",
    ),
    "another error handler": (
        {"requester__error_handler": {"type": "CompositeErrorHandler", "error_handlers": []}},
        "uses CompositeErrorHandler",
    ),
    "an action": (
        {
            "errors__response_filters": [
                {"type": "HttpResponseFilter", "action": "REDUCE_PAGE_SIZE"}
            ]
        },
        "uses the action REDUCE_PAGE_SIZE",
    ),
    "a wildcard": ({"extractor__field_path": ["data", "*"]}, "uses the field path"),
    "a data feed": ({"cursor__is_data_feed": True}, "uses is_data_feed"),
    "a property of a later CDK": ({"requester__frobnicate": 1}, "HttpRequester uses frobnicate"),
    "a name in the wrong place": ({"selector__path": "x"}, "RecordSelector uses path"),
    "query properties": (
        {
            "requester__request_parameters": {
                "fields": {"type": "QueryProperties", "property_list": ["a"]}
            }
        },
        "components in request_parameters",
    ),
    "parameters as text": (
        {"requester__request_parameters": "a=b"},
        "components in request_parameters",
    ),
    "nested headers": (
        {"requester__request_headers": {"X": {"type": "ListPartitionRouter"}}},
        "components in request_headers",
    ),
    "dynamic streams": ({"source__dynamic_streams": []}, "the manifest uses dynamic_streams"),
    "stream groups": ({"source__stream_groups": {}}, "the manifest uses stream_groups"),
    "conditional streams": (
        {"source__streams": [{"type": "ConditionalStreams", "streams": [{"name": "products"}]}]},
        "none of the manifest's plain streams",
    ),
}


def refused(manifest: Mapping[str, Any], streams: Sequence[str] = STREAMS) -> str | None:
    from airbyte_cdk.sources.declarative.parsers import manifest_component_transformer as parameters
    from airbyte_cdk.sources.declarative.parsers import manifest_reference_resolver as references

    from retail_pipeline.airbyte_engine.fast_reader.supported import unsupported

    resolved = references.ManifestReferenceResolver().preprocess_manifest(dict(manifest))
    transformer = parameters.ManifestComponentTransformer()
    return unsupported(transformer.propagate_types_and_parameters("", resolved, {}), streams)


@pytest.mark.parametrize(("changes", "reason"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_parts_that_the_loop_does_not_support_are_refused(
    changes: dict[str, Any], reason: str
) -> None:
    assert reason in (refused(changed(**changes), ["products"]) or "")


def test_parts_that_change_no_record_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(MANIFEST) is None
    manifest = changed()
    manifest["streams"][0]["$parameters"]["colour"] = "blue"
    manifest["schemas"]["products"]["properties"]["kind"] = {"type": "AddFields"}
    assert refused(manifest) is None
    manifest["streams"][0]["$parameters"]["record_filter"] = FILTER
    assert refused(manifest) == "stream products: RecordSelector uses record_filter"
    monkeypatch.setattr(
        "retail_pipeline.airbyte_engine.fast_reader.supported.version", lambda _: "8.0.0"
    )
    assert refused(MANIFEST) == "airbyte-cdk is 8.0.0, and the loop was compared with 7.39.1"


def test_a_manifest_that_is_refused_is_read_by_the_stock_command(tmp_path: Path) -> None:
    api = PagedApi(dict(PRODUCTS))
    manifest = changed(stream__transformations=[ADDED])
    with serving(api):
        found = read(tmp_path, api.address, page_loop=True, manifest=manifest, streams=["products"])
    assert (found.reader, found.reason) == (
        STOCK,
        "stream products: DeclarativeStream uses transformations",
    )
    assert [record["added"] for record in found.records["products"]] == ["x"] * 250
