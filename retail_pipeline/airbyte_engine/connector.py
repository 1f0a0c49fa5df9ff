"""Airbyte's source code in a process of its own, and the messages it prints.

The Airbyte CDK never runs inside this process: aborting it hangs the interpreter. What becomes of
the records is not decided here.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from retail_pipeline.airbyte_engine.host import (
    HOST,
    Reader,
)
from retail_pipeline.airbyte_engine.read_request import ReadRequest
from retail_pipeline.errors import PipelineError

_FOLDER_PREFIX = "airbyte-source-"
_LOCK_FILE = "lock"
_SWEEP_AFTER_SECONDS = 60
"""A younger folder may not have its lock yet."""
_LOG_TAIL_BYTES = 4_000


class ConnectorError(PipelineError):
    """The source failed; the message is its own reason.

    `failure_type` is Airbyte's: `config_error`, `transient_error` or `system_error`.
    """

    def __init__(self, reason: str, failure_type: str = "system_error") -> None:
        super().__init__(reason)
        self.failure_type = failure_type


@dataclass(frozen=True)
class Record:
    """A record of a stream; `emitted_at` in milliseconds since 1970."""

    stream: str
    data: dict[str, Any]
    emitted_at: int


@dataclass(frozen=True)
class StreamState:
    """The state of a stream after everything that was read so far."""

    stream: str
    state: dict[str, Any]


@dataclass(frozen=True)
class SourceInput:
    """What the source is started with.

    Attributes:
        manifest: The declarative manifest.
        configuration: The source's; holds secrets.
        catalog: The configured catalog: which streams, and how.
        states: Where each stream goes on.
        rendering: How streams are rendered in the source process (see `ReadRequest`); without it
            records come as messages.
        page_loop: Whether a faster reader than the stock command may read.
        log: Where the source logs; by default a file that goes with the run.
    """

    manifest: Path
    configuration: Mapping[str, Any]
    catalog: Mapping[str, Any]
    states: Sequence[StreamState]
    rendering: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    page_loop: bool = True
    log: Path | None = None


@dataclass(frozen=True)
class RenderedPage:
    """Records of a stream as COPY's text: rows for its incoming table, and records kept aside.

    `undeclared` are fields that were served and that the schema does not have.
    """

    stream: str
    records: int
    rows: bytes
    rejected: bytes
    undeclared: tuple[str, ...] = ()


class Connector:
    """One run of a source's `read`.

    Iterating yields `Record`, `RenderedPage` and `StreamState` messages; the end of the iteration
    means that the source finished its work, otherwise it raises `ConnectorError`.
    """

    def __init__(
        self, reader: Reader, messages: IO[bytes], log: Path, streams: Iterable[str]
    ) -> None:
        self._reader = reader
        self._messages = messages
        self._log = log
        self._failures: list[ConnectorError] = []
        self._unfinished = set(streams)
        self.bytes_read = 0
        self.reader = ""
        self.reader_reason = ""

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's."""
        return self._reader.pid

    @property
    def read_by(self) -> str:
        """Who reads, and why not the page loop."""
        return f"{self.reader}: {self.reader_reason}" if self.reader_reason else self.reader

    def kill(self) -> None:
        """Kill the source with everything it started; safe to call at any time."""
        self._reader.kill()

    def close(self) -> None:
        """Kill the source if it still runs, and wait for its end."""
        self.kill()
        self._reader.wait()
        self._messages.close()

    def __iter__(self) -> Iterator[Record | RenderedPage | StreamState]:
        with self._log.open("ab") as log:
            for line in self._messages:
                self.bytes_read += len(line)
                message = self._understood(line, log)
                if message is not None:
                    yield message
        self._raise_on_failure(self._reader.wait())

    def _understood(
        self, line: bytes, log: IO[bytes]
    ) -> Record | RenderedPage | StreamState | None:
        message = _parsed(line)
        kind = message.get("type")
        if kind == "ROWS":
            return self._page(message)
        if kind == "RECORD":
            record = message["record"]
            return Record(record["stream"], record["data"], record["emitted_at"])
        if kind == "STATE":
            stream = message["state"].get("stream")
            if stream is not None:
                name = stream["stream_descriptor"]["name"]
                return StreamState(name, stream.get("stream_state") or {})
        elif kind == "TRACE":
            self._note(message["trace"])
        elif kind == "READER":
            self.reader, self.reader_reason = message["reader"], message["reason"]
            log.write(line)
        else:
            log.write(line)  # what the stock command logs
        return None

    def _page(self, head: Mapping[str, Any]) -> RenderedPage:
        rows = self._messages.read(head["rows"])
        rejected = self._messages.read(head["rejected"])
        if len(rows) + len(rejected) < head["rows"] + head["rejected"]:
            rows = rejected = b""  # it was killed in the middle: its exit code will tell
        self.bytes_read += len(rows) + len(rejected)
        undeclared = tuple(head["undeclared"])
        return RenderedPage(head["stream"], head["records"], rows, rejected, undeclared)

    def _note(self, trace: Mapping[str, Any]) -> None:
        if trace.get("type") == "ERROR":
            error = trace["error"]
            kind = error.get("failure_type") or "system_error"
            self._failures.append(ConnectorError(_reason(error), kind))
        elif trace.get("type") == "STREAM_STATUS":
            status = trace["stream_status"]
            if status["status"] == "COMPLETE":
                self._unfinished.discard(status["stream_descriptor"]["name"])

    def _raise_on_failure(self, exit_code: int) -> None:
        if self._failures:
            # The stream's own error comes first; the CDK ends with a summary of it.
            raise self._failures[0]
        if exit_code == 0:
            # The CDK ends well even when it read nothing: it skips a stream that it does not know.
            if self._unfinished:
                streams = ", ".join(sorted(self._unfinished))
                raise ConnectorError(f"the source ended without finishing {streams}")
            return
        tail = self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
        last = tail.splitlines()[-1] if tail else "it printed no reason"
        raise ConnectorError(f"the source ended with exit code {exit_code}: {last}")


@contextmanager
def reading(source: SourceInput) -> Iterator[Connector]:
    """Start a source; whatever happens, neither its process nor its secrets outlive the block."""
    with _private_folder() as folder:
        arguments = ["read"]
        for option, content in (
            ("--config", source.configuration),
            ("--catalog", source.catalog),
            ("--state", [_state_message(state) for state in source.states]),
        ):
            path = folder / f"{option.removeprefix('--')}.json"
            path.write_bytes(orjson.dumps(content))
            arguments += [option, str(path)]
        arguments += ["--manifest-path", str(source.manifest)]
        log = source.log or folder / "log.txt"
        request = ReadRequest(
            arguments, str(folder), dict(source.rendering), page_loop=source.page_loop
        )
        receiving, sending = os.pipe()
        with os.fdopen(receiving, "rb", buffering=1 << 20) as messages:
            try:
                with log.open("ab") as logged:
                    reader = HOST.start(request, sending, logged.fileno())
            finally:
                os.close(sending)
            streams = [each["stream"]["name"] for each in source.catalog["streams"]]
            connector = Connector(reader, messages, log, streams)
            try:
                yield connector
            finally:
                connector.close()


def sweep() -> None:
    """Remove the private folders that killed workers left behind (they hold secrets)."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        with suppress(OSError), (folder / _LOCK_FILE).open("rb") as lock:
            if time.time() - folder.stat().st_mtime < _SWEEP_AFTER_SECONDS:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held by a living worker: OSError
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _private_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))  # mode 0700
    try:
        with (folder / _LOCK_FILE).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            message = json.loads(line)  # takes lone surrogates, which orjson refuses
        except ValueError:
            return {}
    return message if isinstance(message, dict) else {}


def _reason(error: Mapping[str, Any]) -> str:
    message, detail = str(error.get("message") or ""), str(error.get("internal_message") or "")
    generic = not message or message.startswith("Something went wrong")
    reason = (detail or message or "the source gave no reason") if generic else message
    return reason.replace("Please see logs for more details. ", "")


def _state_message(state: StreamState) -> dict[str, Any]:
    return {
        "type": "STREAM",
        "stream": {"stream_descriptor": {"name": state.stream}, "stream_state": state.state},
    }
