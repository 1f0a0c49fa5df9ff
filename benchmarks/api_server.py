"""The mock API of the ingestion benchmark, which serves records rendered in advance.

`python -m benchmarks.api_server RECORDS` simulates records, prints one line of JSON with `port`,
`early` and `all`, and serves `/v1/{stream}` like the retail API until its standard input ends. At
first it serves the first `RECORDS` transactions; after the line `all` on its input, one per cent
more.
"""

import asyncio
import json
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import orjson

if TYPE_CHECKING:
    from retail_pipeline.retail_api.server.pages import StreamPages

KEY = "bench"
_TRANSACTIONS_PER_CUSTOMER = 4.0
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@dataclass
class Stream:
    """Rendered records in the order of `updated_at`, of which the first `served` are served."""

    records: Sequence[bytes]
    updated_at: Sequence[str]
    served: int

    def page(self, query: dict[str, list[str]]) -> bytes:
        """Return one page as JSON."""
        limit = int(query.get("limit", ["1000"])[0])
        since = _comparable(query.get("updated_since", [""])[0])
        until = _comparable(query.get("updated_until", ["9"])[0])
        end = min(self.served, bisect_left(self.updated_at, until))
        start = int(query.get("cursor", ["0"])[0]) or bisect_left(self.updated_at, since)
        stop = max(start, min(end, start + limit))
        following = b'"%d"' % stop if stop < end else b"null"
        records = b",".join(self.records[start:stop])
        return b'{"data":[%b],"next_cursor":%b}' % (records, following)


def build_streams(records: int) -> dict[str, Stream]:
    """Return the rendered streams, with one per cent more transactions than `records`."""
    from retail_pipeline.retail_api import open_dataset
    from retail_pipeline.retail_api.server.pages import stream_pages
    from retail_pipeline.settings import SimulatorSource

    wanted = records + records // 100
    customers = int(wanted / _TRANSACTIONS_PER_CUSTOMER) + 500
    dataset = open_dataset(SimulatorSource(customers=customers, seed=11))
    streams = {
        name: _rendered(pages, wanted) for name, pages in stream_pages(dataset.records).items()
    }
    if len(streams["transactions"].records) < wanted:
        raise SystemExit(f"the simulation has no {wanted} transactions")
    streams["transactions"].served = records
    return streams


def _rendered(pages: "StreamPages", most: int) -> Stream:
    records = [record for part in pages.parts(5_000) for record in part][:most]
    updated_at = [_comparable(record["updated_at"]) for record in records]
    return Stream([orjson.dumps(record) for record in records], updated_at, len(records))


def _comparable(text: str) -> str:
    return text.removesuffix("Z").removesuffix("+00:00").ljust(20, ".").ljust(26, "0")


class _Protocol(asyncio.Protocol):
    def __init__(self, streams: dict[str, Stream]) -> None:
        self._streams = streams
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while b"\r\n\r\n" in self._waiting:
            request, _, self._waiting = self._waiting.partition(b"\r\n\r\n")
            target = urlsplit(request.split(b" ", 2)[1].decode())
            stream = self._streams[target.path.rpartition("/")[2]]
            body = stream.page(parse_qs(target.query))
            self._transport.writelines([_HEAD % len(body), body])


async def _serve(streams: dict[str, Stream]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(streams), "127.0.0.1", 0)
    transactions = streams["transactions"]
    announced = {
        "port": server.sockets[0].getsockname()[1],
        "early": transactions.served,
        "all": len(transactions.records),
        "products": len(streams["products"].records),
        "users": len(streams["users"].records),
    }
    sys.stdout.write(json.dumps(announced) + "\n")
    sys.stdout.flush()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        wanted = announced["all"] if line.strip() == "all" else announced["early"]
        transactions.served = int(wanted)
        sys.stdout.write("done\n")
        sys.stdout.flush()


def main() -> None:
    """Simulate and render records, and serve them until the input ends."""
    asyncio.run(_serve(build_streams(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
