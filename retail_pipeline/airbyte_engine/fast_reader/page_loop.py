"""A faster `read` for declarative manifests: page by page over the CDK's own components.

Requester, authentication, rate limits, retries, paginator, cursor and STATE are the CDK's; only the
thread pool, the queue and the work per record between them are replaced. The manifest is the one
that the stock command runs. `unsupported` finds what this loop would pass over (filters,
transformations, partitions, ...): with any of it the stock command reads. It knows by name what it
supports, which is no more than what the contract test compares with the stock command, and the one
version of the CDK that it was compared with.

It imports the CDK and runs in the source process only.
"""

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol

import orjson
import requests
from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateStats,
    AirbyteStreamStatus,
    StreamDescriptor,
    Type,
)
from airbyte_cdk.sources.declarative.models import declarative_component_schema as models
from airbyte_cdk.sources.types import Record
from airbyte_cdk.utils.stream_status_utils import as_airbyte_message as status_message
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

_PAGES_AHEAD = 2
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
_ISO_FORMATS = frozenset(
    f"%Y-%m-%dT%H:%M:%S{fraction}{zone}" for fraction in ("", ".%f") for zone in ("Z", "%z")
)
_PLAIN_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_COMPARED_WITH = "7.39.1"
"""The CDK's version: the loop calls members that the CDK does not promise to keep."""

_SUPPORTED: Mapping[str, frozenset[str]] = {
    "DeclarativeStream": frozenset(
        {"name", "primary_key", "schema_loader", "retriever", "incremental_sync"}
    ),
    "InlineSchemaLoader": frozenset({"schema"}),
    "SimpleRetriever": frozenset({"requester", "paginator", "record_selector"}),
    "HttpRequester": frozenset(
        {"url", "url_base", "path", "http_method", "authenticator", "request_headers"}
        | {"request_parameters", "error_handler"}
    ),
    "RecordSelector": frozenset({"extractor"}),
    "DpathExtractor": frozenset({"field_path"}),
    "NoAuth": frozenset(),
    "BearerAuthenticator": frozenset({"api_token"}),
    "ApiKeyAuthenticator": frozenset({"api_token", "inject_into"}),
    "DefaultErrorHandler": frozenset({"max_retries", "backoff_strategies", "response_filters"}),
    "HttpResponseFilter": frozenset(
        {"http_codes", "action", "failure_type", "error_message", "predicate"}
    ),
    "WaitTimeFromHeader": frozenset({"header", "max_waiting_time_in_seconds"}),
    "ExponentialBackoffStrategy": frozenset({"factor"}),
    "NoPagination": frozenset(),
    "DefaultPaginator": frozenset({"page_size_option", "page_token_option", "pagination_strategy"}),
    "RequestOption": frozenset({"inject_into", "field_name"}),
    "CursorPagination": frozenset({"page_size", "cursor_value", "stop_condition"}),
    "OffsetIncrement": frozenset({"page_size", "inject_on_first_request"}),
    "DatetimeBasedCursor": frozenset(
        {"cursor_field", "cursor_datetime_formats", "datetime_format", "start_datetime"}
        | {"end_datetime", "start_time_option", "end_time_option", "lookback_window"}
        | {"step", "cursor_granularity"}
    ),
    "MinMaxDatetime": frozenset({"datetime", "datetime_format"}),
}
"""What of each component is understood; a component or property that is not here is not."""

_OF_COMPONENTS = frozenset({"type", "$parameters"})
_PLAIN_MAPPINGS = frozenset({"request_headers", "request_parameters"})
_ACTIONS = frozenset({"FAIL", "RETRY", "RATE_LIMITED"})
_SUPPORTED_SOURCE = frozenset(
    {"version", "type", "check", "definitions", "streams", "concurrency_level", "api_budget"}
    | {"spec", "schemas", "metadata", "description"}
)


class Sink(Protocol):
    """Where messages and pages of records go, in order."""

    def message(self, message: AirbyteMessage) -> None:
        """Take any message but a record."""

    def page(self, stream: str, records: Sequence[dict[str, Any]], emitted_at: int) -> None:
        """Take the records of a page; `emitted_at` in milliseconds since 1970."""


def unsupported(manifest: Mapping[str, Any], streams: Sequence[str]) -> str | None:
    """Say what in a manifest the loop does not support, or None where it supports everything.

    Args:
        manifest: With its references resolved and its parameters propagated.
        streams: The streams that are to be read.
    """
    present = version("airbyte-cdk")
    if present != _COMPARED_WITH:
        return f"airbyte-cdk is {present}, and the loop was compared with {_COMPARED_WITH}"
    foreign = sorted(set(manifest) - _SUPPORTED_SOURCE - _OF_COMPONENTS)
    if foreign:
        return f"the manifest uses {', '.join(foreign)}"
    declared = {stream.get("name"): stream for stream in manifest.get("streams", [])}
    for name in streams:
        if name not in declared:
            return f"stream {name} is none of the manifest's plain streams"
        problem = _foreign(declared[name], f"stream {name}")
        if problem:
            return problem
    return None


def _foreign(node: Mapping[str, Any], where: str) -> str | None:
    kind = str(node.get("type"))
    if kind not in _SUPPORTED:
        return f"{where} uses {kind}"
    for name in sorted(set(node) - _OF_COMPONENTS):
        problem = _foreign_property(kind, name, node, where)
        if problem:
            return problem
    return None


def _foreign_property(kind: str, name: str, node: Mapping[str, Any], where: str) -> str | None:
    value = node[name]
    if name not in _SUPPORTED[kind]:
        # The CDK enters a stream's parameters into every component below, known to it or not.
        ignored = name in node.get("$parameters", {}) and name not in _known_to_cdk(kind)
        return None if ignored else f"{where}: {kind} uses {name}"
    if name in _PLAIN_MAPPINGS:
        return None if _is_plain(value) else f"{where}: {kind} uses components in {name}"
    if name == "action" and value not in _ACTIONS:
        return f"{where} uses the action {value}"
    if name == "field_path" and not all(map(_PLAIN_FIELD.fullmatch, value)):
        return f"{where} uses the field path {value}"
    # JSON schema: no component is in it, and it changes no record.
    return None if name == "schema" else _foreign_part(value, where)


def _foreign_part(value: Any, where: str) -> str | None:
    for each in value if isinstance(value, list) else [value]:
        problem = _foreign(each, where) if isinstance(each, dict) else None
        if problem:
            return problem
    return None


def _is_plain(value: Any) -> bool:
    """Say whether it is a mapping of names to texts and numbers, and to nothing that nests."""
    return isinstance(value, dict) and all(
        isinstance(each, str | int | float) for each in value.values()
    )


@cache
def _known_to_cdk(kind: str) -> frozenset[str]:
    return frozenset(field.alias for field in getattr(models, kind).__fields__.values())


@dataclass(frozen=True)
class _Page:
    records: list[dict[str, Any]]
    emitted_at: int


class PageLoop:
    """Reads streams of a source into a sink.

    Args:
        source: The stock command's own source, built from configuration, catalog and state.
        sink: Takes records and messages.
    """

    def __init__(self, source: Any, sink: Sink) -> None:
        self._source = source
        self._sink = sink
        self._since_state: dict[str, int] = {}
        self._running: set[str] = set()
        # The stock command's consumer of this queue is not running: messages go straight out.
        source._message_repository._put_on_queue = self._message

    def read(self, catalog: Any) -> bool:
        """Read all streams of the catalog; return whether all of them were read to their ends."""
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
            stream.cursor.ensure_at_least_one_state_emitted()
        except Exception as error:
            self._sink.message(error_message(error, stream.name))
            stream.cursor.ensure_at_least_one_state_emitted()
            self._status(stream, AirbyteStreamStatus.INCOMPLETE)
            return False
        self._status(stream, AirbyteStreamStatus.COMPLETE)
        return True

    def _partition(self, stream: Any, partition: Any) -> None:
        observer = _Observer(stream.cursor, stream.name, partition.to_slice())
        for page in _ahead(lambda: _pages(partition._retriever, partition.to_slice())):
            if page.records and stream.name not in self._running:
                self._running.add(stream.name)
                self._status(stream, AirbyteStreamStatus.RUNNING)
            count = self._since_state.get(stream.name, 0)
            self._since_state[stream.name] = count + len(page.records)
            self._sink.page(stream.name, _without_nulls(page.records), page.emitted_at)
            observer.observe(page.records)
        stream.cursor.close_partition(partition)

    def _status(self, stream: Any, status: AirbyteStreamStatus) -> None:
        self._sink.message(status_message(stream.as_airbyte_stream(), status))

    def _message(self, message: Any) -> None:
        if message.type == Type.STATE:
            name = message.state.stream.stream_descriptor.name
            count = float(self._since_state.pop(name, 0))
            message.state.sourceStats = AirbyteStateStats(recordCount=count)
        self._sink.message(message)


def _without_nulls(records: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Leave out a record's own fields that are null, as the stock command's messages do."""
    return [
        {name: value for name, value in record.items() if value is not None}
        if None in record.values()
        else record
        for record in records
    ]


class _Observer:
    """Shows a cursor of every page only the record that matters to it: the latest one."""

    def __init__(self, cursor: Any, stream: str, stream_slice: Any) -> None:
        self._cursor = cursor
        self._stream = stream
        self._slice = stream_slice
        field = getattr(cursor, "cursor_field", None)
        self._field = field.cursor_field_key if field is not None else None
        converter = getattr(cursor, "_connector_state_converter", None)
        formats = set(getattr(converter, "_input_datetime_formats", ()))
        self._iso = bool(formats) and formats <= _ISO_FORMATS

    def observe(self, records: Sequence[dict[str, Any]]) -> None:
        if self._field is None or not records:
            return
        latest = self._latest(records) if self._iso else None
        for record in [latest] if latest is not None else records:
            self._cursor.observe(Record(record, self._stream, self._slice))

    def _latest(self, records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the record with the latest cursor, or None where text order does not tell."""
        assert self._field is not None
        values = [record.get(self._field) for record in records]
        distinct = {value for value in values if type(value) is str}
        if len({len(text) for text in distinct}) != 1 or None in values:
            return None
        if not all(map(_INSTANT.fullmatch, distinct)) or {type(v) for v in values} != {str}:
            return None
        latest = max(distinct)
        try:
            self._cursor._connector_state_converter.parse_value(latest)
        except ValueError:
            return None
        return records[values.index(latest)]


class _DecodedOnce:
    """The paginator's decoder: gives the body that the extractor has decoded already."""

    def __init__(self) -> None:
        self.body: Any = {}

    def is_stream_response(self) -> bool:
        return False

    def decode(self, _response: Any) -> Iterator[Any]:
        yield self.body


def _pages(retriever: Any, stream_slice: Any) -> Iterator[_Page]:
    """Request page after page as `SimpleRetriever` does where no page is ever reset."""
    extractor = retriever.record_selector.extractor
    once = _DecodedOnce()
    strategy: Any = getattr(retriever._paginator, "pagination_strategy", None)
    if hasattr(strategy, "decoder"):
        strategy.decoder = once
    token = retriever._get_initial_next_page_token()
    while True:
        response = retriever._fetch_next_page(stream_slice, token)
        if not response:
            return
        bodies = _bodies(extractor.decoder, response)
        once.body = bodies[0]
        records, problem = _objects(_extracted(extractor, bodies, response))
        yield _Page(records, time.time_ns() // 1_000_000)
        if problem is not None:
            raise problem
        last = Record(records[-1], retriever.name, stream_slice) if records else None
        token = retriever._next_page_token(
            response=response,
            last_page_size=len(records),
            last_record=last,
            last_page_token_value=token.get("next_page_token") if token else None,
        )
        if not token:
            return


def _bodies(decoder: Any, response: Any) -> Sequence[Any]:
    """Decode an answer as the stock decoder does, from what error filters have decoded already."""
    body = _decoded_once(response)
    if not body:
        return list(decoder.decode(response))
    return body if isinstance(body, list) else [body]


def _decoded_once(response: Any) -> Any:
    if not hasattr(response, "_decoded"):
        try:
            response._decoded = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            response._decoded = None
    return response._decoded


def decode_answers_once() -> None:
    """Let the CDK's error filters, which look into every answer, share the loop's decoding."""
    stock_json = requests.Response.json

    def json(response: requests.Response, **options: Any) -> Any:
        body = None if options else _decoded_once(response)
        return stock_json(response, **options) if body is None else body

    requests.Response.json = json  # type: ignore[method-assign, assignment]


def _extracted(extractor: Any, bodies: Sequence[Any], response: Any) -> list[Any]:
    path = [part.eval(extractor.config) for part in extractor._field_path]
    records: list[Any] = []
    for body in bodies:
        found = body
        for part in path:
            if type(found) is not dict:  # as in lists, where the stock extractor knows more ways
                return list(extractor.extract_records(response))
            found = found.get(part, _ABSENT)
            if found is _ABSENT:
                found = []
                break
        if isinstance(found, list):
            records += found
        elif found:
            records.append(found)
    return records


def _objects(records: list[Any]) -> tuple[list[dict[str, Any]], Exception | None]:
    """Return the records up to the first that is no object, and why that one is none."""
    if set(map(type, records)) <= {dict}:
        return records, None
    objects: list[dict[str, Any]] = []
    for record in records:
        try:
            objects.append(dict(record))
        except (TypeError, ValueError) as problem:
            return objects, problem
    return objects, None


_ABSENT = object()


def _ahead(pages: Callable[[], Iterator[_Page]]) -> Iterator[_Page]:
    """Request the next pages while the last one is worked on."""
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
    """Return the message that tells why a stream (or all) could not be read."""
    descriptor = StreamDescriptor(name=stream) if stream else None
    if isinstance(error, AirbyteTracedException):
        return error.as_sanitized_airbyte_message(stream_descriptor=descriptor)
    told = f"An unexpected error occurred in stream {stream}: {type(error).__name__}"
    traced = AirbyteTracedException.from_exception(
        error, stream_descriptor=descriptor, message=told if stream else None
    )
    return traced.as_sanitized_airbyte_message(stream_descriptor=descriptor)


def serialized(message: AirbyteMessage) -> bytes:
    """Return a message as the stock command prints it, without the line's end."""
    return AirbyteEntrypoint.airbyte_message_to_string(message).encode("utf-8", "surrogatepass")
