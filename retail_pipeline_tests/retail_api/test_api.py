"""The API over HTTP: pages, parameters, key, limits, as-of date, totals, OpenAPI document."""

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.retail_api import (
    default_as_of,
    open_dataset,
    serve_forever,
    serving,
    source_id,
)
from retail_pipeline.retail_api.server import serve
from retail_pipeline.retail_api.server.app import create_app
from retail_pipeline.retail_api.source import dataset as dataset_module
from retail_pipeline.settings import ApiSource, FileSource, SimulatorSource, Source

KEY = {"Authorization": "Bearer key"}
SOURCE = SimulatorSource(customers=60, seed=5)
STREAMS = {"products": "product_id", "users": "user_id", "transactions": "transaction_id"}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with api() as client:
        yield client


@contextmanager
def api(source: Source = SOURCE) -> Iterator[httpx.Client]:
    with (
        serving(source, None, "key") as url,
        httpx.Client(base_url=url, headers=KEY) as client,
    ):
        yield client


def read_all(client: httpx.Client, stream: str, **parameters: Any) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.get(f"/v1/{stream}", params={**parameters, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        records += page["data"]
        if page["next_cursor"] is None:
            return records
        assert len(page["data"]) == int(parameters.get("limit", 1000))
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.parametrize(("stream", "key"), STREAMS.items())
@pytest.mark.parametrize("limit", [7, 1000])
def test_pages_hold_every_record_once_and_in_order(
    client: httpx.Client, stream: str, key: str, limit: int
) -> None:
    if stream == "products" and limit == 7:
        limit = 333
    records = read_all(client, stream, limit=limit)
    places = [(record["updated_at"], record[key]) for record in records]
    assert places == sorted(set(places))
    assert len(records) == client.get("/v1/totals").json()[stream]


def test_a_transaction_carries_its_own_lines(client: httpx.Client) -> None:
    dataset = open_dataset(SOURCE)
    header = dataset.records.transactions
    ids = header["transaction_id"].repeat(header["line_count"]).to_numpy()
    expected = dataset.records.items["amount"].groupby(ids).agg(list).to_dict()
    served = {
        record["transaction_id"]: [item["amount"] for item in record["items"]]
        for record in read_all(client, "transactions", limit=50)
    }
    assert served == expected


@given(
    since=st.integers(0, 740),
    days=st.integers(-5, 400),
    limit=st.integers(5, 300),
)
@settings(max_examples=25, deadline=None)
def test_a_window_is_inclusive_at_its_start_and_exclusive_at_its_end(
    client: httpx.Client, since: int, days: int, limit: int
) -> None:
    everything = read_all(client, "transactions", limit=5000)
    first = pd.Timestamp("2023-01-01") + pd.Timedelta(days=since)
    middle = everything[len(everything) // 2]["updated_at"]
    for low, high in (
        (f"{first:%Y-%m-%dT%H:%M:%SZ}", f"{first + pd.Timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"),
        (middle, "2030-01-01T00:00:00.000000Z"),
        ("2000-01-01T00:00:00.000000Z", middle),
    ):
        window = read_all(
            client, "transactions", updated_since=low, updated_until=high, limit=limit
        )
        moment = pd.Timestamp
        assert window == [
            record
            for record in everything
            if moment(low) <= moment(record["updated_at"]) < moment(high)
        ]


@pytest.mark.parametrize(
    "text",
    ["2024-06-01", "2024-06-01 00:00:00", "2024-06-01T02:00:00+02:00", "2024-06-01T00:00:00.000Z"],
)
def test_times_may_be_written_in_any_iso_form(client: httpx.Client, text: str) -> None:
    expected = client.get("/v1/users?updated_since=2024-06-01T00:00:00Z").json()
    assert client.get(f"/v1/users?updated_since={text}").json() == expected
    assert client.get("/v1/users", params={"updated_since": text}).json() == expected


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=5001", "limit"),
        ("limit=many", "limit"),
        ("limit=²", "limit"),
        ("updated_since=yesterday", "updated_since"),
        ("updated_until=2024-13-01", "updated_until"),
        ("cursor=abc", "cursor"),
        ("cursor=WzEsMl0=", "cursor"),
        ("update_since=2024-01-01", "update_since"),
    ],
)
def test_a_bad_parameter_is_named(client: httpx.Client, query: str, parameter: str) -> None:
    answer = client.get(f"/v1/users?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["parameter"] == parameter
    assert parameter in answer.json()["error"]["message"]


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "key", "Bearer k\u00e9y"])
@pytest.mark.parametrize("path", ["/v1/users", "/v1/totals"])
def test_without_the_key_nothing_is_served(
    client: httpx.Client, path: str, authorization: str
) -> None:
    answer = client.get(path, headers={"Authorization": authorization.encode()})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_health_needs_no_key(client: httpx.Client) -> None:
    assert httpx.get(f"{client.base_url}/health").json() == {"status": "ok"}


def test_unknown_paths_are_errors(client: httpx.Client) -> None:
    assert client.get("/v1/orders").json()["error"]["code"] == "not_found"
    assert client.post("/v1/users").json()["error"]["code"] == "method_not_allowed"


def test_totals_are_exact_and_end_at_the_upper_bound(client: httpx.Client) -> None:
    for until in ("2023-09-01T00:00:00Z", "2030-01-01T00:00:00Z"):
        totals = client.get("/v1/totals", params={"updated_until": until}).json()
        records = read_all(client, "transactions", updated_until=until)
        items = [item for record in records for item in record["items"]]
        net = sum((Decimal(str(item["amount"])) for item in items), Decimal(0))
        assert Decimal(totals["net_amount"]) == net
        assert Decimal(totals["sales_amount"]) - Decimal(totals["returns_amount"]) == net
        assert (totals["transactions"], totals["lines"]) == (len(records), len(items))
        assert totals["sales"] + totals["returns"] == len(records)


def test_the_document_is_true(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        operation = methods["get"]
        answers = {"200": client.get(path)}
        if path.startswith("/v1"):
            answers["400"] = client.get(path, params={"nonsense": 1})
            answers["401"] = client.get(path, headers={"Authorization": ""})
            names = {parameter["name"] for parameter in operation["parameters"]}
            example = {"limit": "5", "cursor": None}
            for name in names - {"cursor"}:
                value = example.get(name, "2024-01-01T00:00:00Z")
                assert client.get(path, params={name: value}).status_code == 200
        for status, answer in answers.items():
            assert answer.status_code == int(status)
            described = operation["responses"][status]
            if "$ref" in described:
                described = document["components"]["responses"][described["$ref"].split("/")[-1]]
            schema = described["content"]["application/json"]["schema"]
            jsonschema.validate(answer.json(), {**schema, "components": document["components"]})


def test_a_record_of_a_file_fits_the_document(tmp_path: Path, client: httpx.Client) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("customer_id,ts,amount\na,2024-01-01,1\n")
    document = client.get("/openapi.json").json()
    with api(FileSource(path)) as files:
        for stream, schema in (("users", "User"), ("transactions", "Transaction")):
            record = files.get(f"/v1/{stream}").json()["data"][0]
            reference = {"$ref": f"#/components/schemas/{schema}"}
            jsonschema.validate(record, {**reference, "components": document["components"]})
        assert files.get("/v1/products").json() == {"data": [], "next_cursor": None}


def test_a_served_source_answers_over_the_network_and_stops() -> None:
    with serving(SOURCE, date(2024, 1, 1), "key") as url:
        assert httpx.get(f"{url}/health").status_code == 200
        latest = httpx.get(f"{url}/v1/totals", headers=KEY).json()
        assert latest["as_of"] == "2024-01-01"
        records = read_all(httpx.Client(base_url=url, headers=KEY), "transactions")
        assert max(record["recorded_at"] for record in records) < "2024-01-01"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_an_address_is_yielded_as_it_is() -> None:
    with serving(ApiSource("https://shop.example.com"), None, "key") as url:
        assert url == "https://shop.example.com"


def test_a_taken_port_is_one_clear_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} on 127.0.0.1 cannot be used"):
            serve_forever(SOURCE, None, "key", port=port)


def test_a_file_is_served_up_to_the_as_of_date_with_its_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "customer_id,ts,amount\na,2024-01-01,1\na,2024-02-01,x\na,2024-03-01,x\na,,2\nb,2024-03-01,4\n"
    )
    source = FileSource(path, ReadingOptions(accept_loss=1))
    early = open_dataset(source, date(2024, 3, 1))
    assert (len(early.records.transactions), len(early.rejected)) == (1, 2)
    late = open_dataset(source)
    assert (late.as_of, len(late.records.items), len(late.rejected)) == (date(2024, 3, 2), 2, 3)


@pytest.mark.parametrize("source", [SOURCE, "file"])
def test_an_as_of_date_before_the_first_record_is_refused(tmp_path: Path, source: Any) -> None:
    if source == "file":
        path = tmp_path / "orders.csv"
        path.write_text("customer_id,ts,amount\na,2024-01-01,1\n")
        source = FileSource(path)
    with pytest.raises(UsageError, match="take a later as-of date"):
        open_dataset(source, date(2020, 1, 1))


def test_the_last_dataset_is_kept_until_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer_id,ts,amount\na,2024-01-01,1\n")
    source = FileSource(path)
    first, name = open_dataset(source), source_id(source)
    assert open_dataset(source) is first
    path.write_text("customer_id,ts,amount\na,2024-01-01,1\na,2024-01-01,25\n")
    assert len(open_dataset(source).records.items) == 2
    assert source_id(source) != name


def test_an_api_as_of_today_goes_on_with_the_days(monkeypatch: pytest.MonkeyPatch) -> None:
    served = {day: totals_at(day) for day in (date(2024, 6, 1), date(2024, 6, 2))}
    assert len(set(map(str, served.values()))) == 2
    days = list(served)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.combine(days[0], datetime.min.time(), tzinfo=UTC)

    monkeypatch.setattr(serve, "datetime", Clock)
    app = serve.FollowingToday(lambda day: create_app(open_dataset(SOURCE, day), api_key="key"))
    totals = [request_totals(app), request_totals(app)]
    days.pop(0)
    totals += [request_totals(app), request_totals(app)]
    assert totals == [*[served[date(2024, 6, 1)]] * 2, *[served[date(2024, 6, 2)]] * 2]


def totals_at(day: date) -> Any:
    return request_totals(create_app(open_dataset(SOURCE, day), api_key="key"))


def request_totals(app: ASGIApp) -> Any:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.get("/v1/totals", headers=KEY)

    return asyncio.run(ask()).raise_for_status().json()


def test_a_dataset_leaves_memory_some_time_after_it_was_used_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset_module, "KEPT_SECONDS", 0.05)
    source = SimulatorSource(customers=60, seed=6)  # a seed of this test alone
    first = open_dataset(source)
    known = weakref.ref(first)
    time.sleep(0.3)
    assert open_dataset(source) is first  # the dataset was in use
    del first
    deadline = time.monotonic() + 10
    while known() is not None and time.monotonic() < deadline:
        time.sleep(0.05)
        gc.collect()
    assert known() is None


def test_source_ids_tell_data_apart_and_hide_credentials() -> None:
    assert source_id(SOURCE) == "simulator:customers=60&seed=5"
    secret = ApiSource("https://me:secret@shop.example.com/api/?token=1")
    assert source_id(secret) == "https://shop.example.com/api"
    assert default_as_of(SOURCE) == date(2025, 1, 1)
