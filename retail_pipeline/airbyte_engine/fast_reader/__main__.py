"""The reader process: one read for each line on standard input, until that closes."""

import gc
import json
import logging
import os
import queue
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import IO, Any

import orjson
from airbyte_cdk.cli.source_declarative_manifest import _run as stock
from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import AirbyteMessage

from retail_pipeline.airbyte_engine.fast_reader import PAGES, STOCK, ReadRequest
from retail_pipeline.airbyte_engine.fast_reader.page_loop import PageLoop, error_message
from retail_pipeline.airbyte_engine.fast_reader.supported import unsupported
from retail_pipeline.airbyte_engine.rendering import Renderer

_IDLE_SECONDS = 60.0
"""Idle time after which the process ends, which frees about 100 MiB."""
_OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""More objects than a page of records has, so that decoding a page needs no garbage collection."""


def main() -> None:
    """Run one read per request; end the process when it is idle or its parent has ended."""
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    requests: queue.SimpleQueue[ReadRequest] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    while request := _next(requests):
        log = os.open(request.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 2)
        os.close(log)
        os.environ["TMPDIR"] = tempfile.tempdir = request.folder
        code = 1
        try:
            code = _read(request, output)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        _write_line(output, {"type": "END", "exit_code": code})
    os._exit(0)  # a plain exit would wait for the thread that reads standard input


def _next(requests: "queue.SimpleQueue[ReadRequest]") -> ReadRequest | None:
    try:
        return requests.get(timeout=_IDLE_SECONDS)
    except queue.Empty:
        return None


def _receive(requests: "queue.SimpleQueue[ReadRequest]") -> None:
    """Put requests on the queue; end the process at once when its parent has ended."""
    for line in sys.stdin.buffer:
        requests.put(ReadRequest(**orjson.loads(line)))
    os._exit(1)


def _read(request: ReadRequest, output: IO[bytes]) -> int:
    """Read with the page loop if it supports the manifest, else with the stock command.

    Returns:
        The exit code.
    """
    os.dup2(output.fileno(), 1)
    arguments = request.arguments()
    problem = "the page loop is switched off"
    if request.page_loop:
        # Built as the stock command builds it, so that both read the same input.
        source = stock.create_declarative_source(arguments)
        parsed = AirbyteEntrypoint.parse_args(arguments)
        catalog = source.read_catalog(parsed.catalog)
        streams = [each.stream.name for each in catalog.streams]
        problem = unsupported(source._source_config, streams) or ""
        if not problem:
            _write_line(output, {"type": "READER", "reader": PAGES, "reason": ""})
            os.dup2(2, 1)  # the CDK's printed text goes to the log, not among the messages
            sink = RowSink(output, request.streams) if request.streams else MessageSink(output)
            return _read_pages(source, catalog, source.read_config(parsed.config), sink)
    _write_line(output, {"type": "READER", "reader": STOCK, "reason": problem})
    sys.argv = ["source-declarative-manifest", *arguments]
    try:
        stock.run()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _read_pages(source: Any, catalog: Any, config: Any, sink: "MessageSink") -> int:
    entrypoint = AirbyteEntrypoint(source)
    logging.getLogger("airbyte").setLevel(logging.INFO)
    try:
        specification = source.spec(entrypoint.logger)
        entrypoint.set_up_secret_filter(config, specification.connectionSpecification)
        entrypoint.validate_connection(specification, config)
        return 0 if PageLoop(source, sink).read(catalog) else 1
    except Exception as error:
        sink.message(error_message(error))
        return 1


class MessageSink:
    """A sink that prints the same messages as the stock command."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output

    def message(self, message: AirbyteMessage) -> None:
        """Print a message."""
        text = AirbyteEntrypoint.airbyte_message_to_string(message)
        _write(self._output, text.encode("utf-8", "surrogatepass") + b"\n")

    def page(self, stream: str, records: Sequence[dict[str, Any]], emitted_at: int) -> None:
        """Print each record as a message."""
        lines = [_record_line(stream, record, emitted_at) for record in records]
        _write(self._output, b"".join(lines))


class RowSink(MessageSink):
    """A sink that prints pages of records as lines for COPY."""

    def __init__(self, output: IO[bytes], streams: Mapping[str, dict[str, Any]]) -> None:
        super().__init__(output)
        self._renderers = {name: Renderer.of(name, **each) for name, each in streams.items()}
        self._records = 0

    def page(self, stream: str, records: Sequence[dict[str, Any]], emitted_at: int) -> None:
        """Print a page's rows and its rejected records."""
        if not records:
            return
        page = self._renderers[stream].render(
            records, first=self._records + 1, emitted_at=emitted_at
        )
        self._records += len(records)
        sizes = {"rows": len(page.rows), "rejected": len(page.rejected)}
        head = {"type": "ROWS", **asdict(page), **sizes}
        _write(self._output, orjson.dumps(head) + b"\n" + page.rows + page.rejected)


def _record_line(stream: str, record: dict[str, Any], emitted_at: int) -> bytes:
    message = {
        "type": "RECORD",
        "record": {"stream": stream, "data": record, "emitted_at": emitted_at},
    }
    try:
        return orjson.dumps(message) + b"\n"
    except TypeError:
        return json.dumps(message).encode() + b"\n"  # for integers that orjson cannot write


def _write_line(output: IO[bytes], message: Mapping[str, Any]) -> None:
    _write(output, orjson.dumps(message) + b"\n")


def _write(output: IO[bytes], block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[output.write(view) :]


if __name__ == "__main__":
    main()
