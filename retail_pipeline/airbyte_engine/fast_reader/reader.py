"""What a reader does in its process: the page loop where it can, else the stock command.

It prints Airbyte's messages, a line of JSON each, as the stock command does. Where it was told how,
the page loop prints rows instead of records: a line `{"type": "ROWS", ...}` followed by as many
bytes as it says. A line `{"type": "READER", ...}` tells who reads, and why.

It imports the CDK: only the source process may import this module.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import IO, Any, cast

import orjson
from airbyte_cdk.cli.source_declarative_manifest import _run as stock
from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import AirbyteMessage
from airbyte_cdk.sources.declarative import concurrent_declarative_source as declarative

from retail_pipeline.airbyte_engine.columns import columns_of
from retail_pipeline.airbyte_engine.fast_reader.page_loop import (
    PageLoop,
    decode_answers_once,
    error_message,
    serialized,
    unsupported,
)
from retail_pipeline.airbyte_engine.fast_reader.rendering import Renderer
from retail_pipeline.airbyte_engine.read_request import (
    PAGES,
    STOCK,
    ReadRequest,
)


def prepare() -> None:
    """Load once what every reader needs."""
    cached = lru_cache(declarative.get_declarative_component_schema)
    declarative.get_declarative_component_schema = cached
    cached()


def read(request: ReadRequest) -> int:
    """Read as asked; return the exit code."""
    sys.argv = ["source-declarative-manifest", *request.arguments]
    problem = "it was asked for"
    if request.page_loop:
        source = _Source(request.arguments)
        streams = [each.stream.name for each in source.catalog.streams]
        problem = unsupported(source.manifest, streams) or ""
        if not problem:
            _announce(PAGES, "")
            return _read_pages(source, request)
    _announce(STOCK, problem)
    try:
        stock.run()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


class _Source:
    """The stock command's source with what it was built from."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.built = stock.create_declarative_source(list(arguments))
        parsed = AirbyteEntrypoint.parse_args(list(arguments))
        config, catalog, _ = stock._parse_inputs_into_config_catalog_state(parsed)
        self.config = cast(dict[str, Any], config)
        self.catalog: Any = catalog
        self.manifest = self.built._source_config


def _read_pages(source: _Source, request: ReadRequest) -> int:
    # Logs leave the messages alone: what the CDK logs on standard output goes to the log.
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    entrypoint = AirbyteEntrypoint(source.built)
    logging.getLogger("airbyte").setLevel(logging.INFO)
    sink = RowSink(output, _renderers(request.streams)) if request.streams else MessageSink(output)
    try:
        specification = source.built.spec(entrypoint.logger)
        entrypoint.set_up_secret_filter(source.config, specification.connectionSpecification)
        entrypoint.validate_connection(specification, source.config)
        decode_answers_once()
        complete = PageLoop(source.built, sink).read(source.catalog)
    except Exception as error:
        sink.message(error_message(error))
        return 1
    return 0 if complete else 1


def _renderers(streams: Mapping[str, Mapping[str, Any]]) -> dict[str, Renderer]:
    return {
        name: Renderer(
            name, columns_of(how["schema"], identity=[*how["key"], *how["cursor"]]), how["key"]
        )
        for name, how in streams.items()
    }


class MessageSink:
    """Prints what the stock command prints."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output

    def message(self, message: AirbyteMessage) -> None:
        """Print a message."""
        _write(self._output, serialized(message) + b"\n")

    def page(self, stream: str, records: Sequence[dict[str, Any]], emitted_at: int) -> None:
        """Print every record as a message of its own."""
        lines = [_record_line(stream, record, emitted_at) for record in records]
        _write(self._output, b"".join(lines))


class RowSink(MessageSink):
    """Prints records as rows ready to be copied."""

    def __init__(self, output: IO[bytes], renderers: Mapping[str, Renderer]) -> None:
        super().__init__(output)
        self._renderers = renderers
        self._records = 0

    def page(self, stream: str, records: Sequence[dict[str, Any]], emitted_at: int) -> None:
        """Print a page's rows and its rejected records."""
        if not records:
            return
        rendered = self._renderers[stream].render(
            records, first=self._records + 1, emitted_at=emitted_at
        )
        self._records += len(records)
        rows, rejected = "".join(rendered.rows).encode(), "".join(rendered.rejected).encode()
        head = {
            "type": "ROWS",
            "stream": stream,
            "records": len(records),
            "rows": len(rows),
            "rejected": len(rejected),
            "undeclared": sorted(rendered.undeclared),
        }
        _write(self._output, orjson.dumps(head) + b"\n" + rows + rejected)


def _record_line(stream: str, record: dict[str, Any], emitted_at: int) -> bytes:
    message = {
        "type": "RECORD",
        "record": {"stream": stream, "data": record, "emitted_at": emitted_at},
    }
    try:
        return orjson.dumps(message) + b"\n"
    except TypeError:
        return json.dumps(message).encode() + b"\n"  # as the stock command: larger whole numbers


def _announce(reader: str, reason: str) -> None:
    sys.stdout.flush()
    _write(sys.stdout.buffer, orjson.dumps({"type": "READER", "reader": reader, "reason": reason}))
    _write(sys.stdout.buffer, b"\n")
    sys.stdout.buffer.flush()


def _write(output: IO[bytes], block: bytes) -> None:
    view = memoryview(block)
    while view:
        written = output.write(view)
        view = view[written:]
