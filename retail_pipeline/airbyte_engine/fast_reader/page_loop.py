"""A faster `read` for declarative manifests, which processes the CDK's pages as a whole.

Requester, authentication, rate limits, retries, paginator, cursor and STATE messages are the CDK's.
Only the thread pool, the queue and the work per record between them are replaced. The loop uses
private members of the CDK's objects, which may change with its version; it patches no CDK module.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson
import requests
from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateStats,
    AirbyteStreamStatus,
    StreamDescriptor,
    Type,
)
from airbyte_cdk.sources.types import Record
from airbyte_cdk.utils.stream_status_utils import as_airbyte_message as status_message
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

_PAGES_AHEAD = 2
_ISO_FORMATS = frozenset(
    f"%Y-%m-%dT%H:%M:%S{fraction}{zone}" for fraction in ("", ".%f") for zone in ("Z", "%z")
)


class Sink(Protocol):
    """The receiver of messages and pages of records, in their order."""

    def message(self, message: AirbyteMessage) -> None:
        """Print a message that is not a record."""

    def page(self, stream: str, records: Sequence[dict[str, Any]], emitted_at: int) -> None:
        """Print the records of a page; `emitted_at` is in milliseconds since 1970."""


@dataclass(frozen=True)
class _Page:
    records: list[dict[str, Any]]
    emitted_at: int


class PageLoop:
    """A loop that reads streams of a source, page by page, into a sink.

    Args:
        source: The stock command's source, built from configuration, catalog and state.
        sink: The receiver of records and messages.
    """

    def __init__(self, source: Any, sink: Sink) -> None:
        self._source = source
        self._sink = sink
        self._messages: queue.Queue[Any] = source._message_repository._queue
        self._since_state: dict[str, int] = {}
        self._running: set[str] = set()

    def read(self, catalog: Any) -> bool:
        """Read all streams of the catalog; return whether all of them are complete."""
        streams = self._source._select_streams(
            streams=self._source.streams(config=self._source._config), configured_catalog=catalog
        )
        complete = [self._stream(stream) for stream in streams]
        return all(complete)

    def _stream(self, stream: Any) -> bool:
        self._status(stream, AirbyteStreamStatus.STARTED)
        try:
            for partition in stream.generate_partitions():
                self._partition(stream, partition)
            status = AirbyteStreamStatus.COMPLETE
        except Exception as error:
            self._print_queued()
            self._sink.message(error_message(error, stream.name))
            status = AirbyteStreamStatus.INCOMPLETE
        stream.cursor.ensure_at_least_one_state_emitted()
        self._print_queued()
        self._status(stream, status)
        return status is AirbyteStreamStatus.COMPLETE

    def _partition(self, stream: Any, partition: Any) -> None:
        observe = _observer(stream, partition)
        for page in _ahead(lambda: _pages(partition._retriever, partition.to_slice())):
            if page.records and stream.name not in self._running:
                self._running.add(stream.name)
                self._status(stream, AirbyteStreamStatus.RUNNING)
            count = self._since_state.get(stream.name, 0)
            self._since_state[stream.name] = count + len(page.records)
            self._sink.page(stream.name, _without_nulls(page.records), page.emitted_at)
            observe(page.records)
            self._print_queued()
        stream.cursor.close_partition(partition)
        self._print_queued()

    def _status(self, stream: Any, status: AirbyteStreamStatus) -> None:
        self._sink.message(status_message(stream.as_airbyte_stream(), status))

    def _print_queued(self) -> None:
        """Print the messages that the CDK's components have put on the stock command's queue."""
        while not self._messages.empty():
            message = self._messages.get()
            if message.type == Type.STATE:
                name = message.state.stream.stream_descriptor.name
                count = float(self._since_state.pop(name, 0))
                message.state.sourceStats = AirbyteStateStats(recordCount=count)
            self._sink.message(message)


def _without_nulls(records: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return records without their top-level null fields, which the stock command omits too."""
    return [
        {name: value for name, value in record.items() if value is not None}
        if None in record.values()
        else record
        for record in records
    ]


def _observer(stream: Any, partition: Any) -> Callable[[Sequence[dict[str, Any]]], None]:
    """Return a function that passes a page's records to a stream's cursor.

    If the cursor values can be compared, only the latest record is passed.
    """
    cursor, stream_slice = stream.cursor, partition.to_slice()
    field = getattr(cursor, "cursor_field", None)
    converter = getattr(cursor, "_connector_state_converter", None)
    formats = set(getattr(converter, "_input_datetime_formats", ()))
    comparable = bool(formats) and formats <= _ISO_FORMATS

    def observe(records: Sequence[dict[str, Any]]) -> None:
        if field is None or not records:
            return
        values = [record.get(field.cursor_field_key) for record in records]
        latest = _latest(values, converter) if comparable else None
        for record in records if latest is None else [records[values.index(latest)]]:
            cursor.observe(Record(record, stream.name, stream_slice))

    return observe


def _latest(values: list[Any], converter: Any) -> str | None:
    """Return the latest of a page's instants, or None if one of them is missing or invalid."""
    try:
        latest: str = max(set(values), key=datetime.fromisoformat)
        converter.parse_value(latest)
    except (TypeError, ValueError):  # missing or misspelled, or a mixture with and without a zone
        return None
    return latest


class _Answer(requests.Response):
    """A response whose JSON is decoded once, for error filters, extractor and paginator."""

    _decoded: Any

    def json(self, **options: Any) -> Any:
        body = None if options else self.body
        return super().json(**options) if body is None else body

    @property
    def body(self) -> Any:
        """The decoded JSON, or None if it is invalid."""
        if "_decoded" not in self.__dict__:
            try:
                self._decoded = orjson.loads(self.content)
            except orjson.JSONDecodeError:
                self._decoded = None
        return self._decoded


def _decoded_once(response: requests.Response, *_: Any, **__: Any) -> None:
    response.__class__ = _Answer


class _Decoder:
    """A decoder for the paginator, which returns the body that is already decoded."""

    def __init__(self) -> None:
        self.body: Any = {}

    def is_stream_response(self) -> bool:
        return False

    def decode(self, _response: Any) -> Iterator[Any]:
        yield self.body


def _pages(retriever: Any, stream_slice: Any) -> Iterator[_Page]:
    """Yield the pages of a slice, requested as by a `SimpleRetriever` without pagination resets."""
    hooks = retriever.requester._http_client._session.hooks["response"]
    if _decoded_once not in hooks:
        hooks.append(_decoded_once)
    extractor, decoder = retriever.record_selector.extractor, _Decoder()
    strategy: Any = getattr(retriever._paginator, "pagination_strategy", None)
    if hasattr(strategy, "decoder"):
        strategy.decoder = decoder
    token = retriever._get_initial_next_page_token()
    while True:
        response = retriever._fetch_next_page(stream_slice, token)
        if not response:
            return
        bodies = _bodies(extractor.decoder, response)
        decoder.body = bodies[0]
        records = _extracted(extractor, bodies, response)
        if not set(map(type, records)) <= {dict}:
            raise TypeError("a record of the page is not an object")
        yield _Page(records, time.time_ns() // 1_000_000)
        token = retriever._next_page_token(
            response=response,
            last_page_size=len(records),
            last_record=Record(records[-1], retriever.name, stream_slice) if records else None,
            last_page_token_value=token.get("next_page_token") if token else None,
        )
        if not token:
            return


def _bodies(decoder: Any, response: Any) -> Sequence[Any]:
    """Return the JSON values of a response, as the stock decoder does."""
    body = response.body
    if not body:
        return list(decoder.decode(response))
    return body if isinstance(body, list) else [body]


def _extracted(extractor: Any, bodies: Sequence[Any], response: Any) -> list[Any]:
    path = [part.eval(extractor.config) for part in extractor._field_path]
    records: list[Any] = []
    for body in bodies:
        found = body
        for part in path:
            if type(found) is not dict:  # the stock extractor also follows paths through lists
                return list(extractor.extract_records(response))
            found = found.get(part, [])
        if isinstance(found, list):
            records += found
        elif found:
            records.append(found)
    return records


def _ahead(pages: Callable[[], Iterator[_Page]]) -> Iterator[_Page]:
    """Yield the pages, while a thread requests the next ones."""
    waiting: queue.Queue[_Page | BaseException | None] = queue.Queue(_PAGES_AHEAD)

    def fetch() -> None:
        try:
            for page in pages():
                waiting.put(page)
            waiting.put(None)
        except BaseException as error:
            waiting.put(error)

    threading.Thread(target=fetch, name="pages", daemon=True).start()
    while True:
        page = waiting.get()
        if page is None:
            return
        if isinstance(page, BaseException):
            raise page
        yield page


def error_message(error: BaseException, stream: str | None = None) -> AirbyteMessage:
    """Return Airbyte's error message for a stream, or for all streams, that could not be read."""
    descriptor = StreamDescriptor(name=stream) if stream else None
    if isinstance(error, AirbyteTracedException):
        return error.as_sanitized_airbyte_message(stream_descriptor=descriptor)
    message = f"An unexpected error occurred in stream {stream}: {type(error).__name__}"
    traced = AirbyteTracedException.from_exception(
        error, stream_descriptor=descriptor, message=message if stream else None
    )
    return traced.as_sanitized_airbyte_message(stream_descriptor=descriptor)
