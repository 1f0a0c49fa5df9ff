"""Airbyte's source code in a separate process, and the messages that it prints.

The Airbyte CDK never runs inside this process, because aborting it hangs the interpreter. The
reader process imports the CDK once, in about two seconds, and then reads for one sync after
another. It ends when a sync fails or is cancelled, and when this process ends, because its standard
input then closes.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from retail_pipeline.airbyte_engine.fast_reader import COMMAND, ReadRequest
from retail_pipeline.airbyte_engine.messages import Record, RenderedPage, StreamState
from retail_pipeline.errors import PipelineError

_FOLDER_PREFIX = "airbyte-source-"
_LOCK_FILE = "lock"
_SWEEP_AFTER_SECONDS = 60
"""Lowest age of a folder that may be removed; a younger one may not be locked yet."""
_LOG_TAIL_BYTES = 4_000
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SYSTEMROOT")
_PASSED_ON_PREFIXES = ("LC_", "PYTHON", "SSL_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class ConnectorError(PipelineError):
    """The source failed; the message is the reason that it gave.

    `failure_type` is Airbyte's type: `config_error`, `transient_error` or `system_error`.
    """

    def __init__(self, reason: str, failure_type: str = "system_error") -> None:
        super().__init__(reason)
        self.failure_type = failure_type


class Reader:
    """A reader process, which imports the CDK when it starts."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # until the first request names a log
            env=_environment(),
            start_new_session=True,  # a separate process group, which is killed as a whole
            bufsize=1 << 20,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self.messages = self._process.stdin, self._process.stdout

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def request(self, request: ReadRequest) -> None:
        """Send a read request to the process.

        If the process has died, its messages end without an END line.
        """
        with suppress(BrokenPipeError):
            self._requests.write(request.encode())
            self._requests.flush()

    def kill(self) -> None:
        """Kill the process and its child processes; safe to call at any time."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # the group's id is the process's

    def close(self) -> None:
        """Kill the process and wait for its end."""
        self.kill()
        self._process.wait()
        self.messages.close()
        with suppress(BrokenPipeError):
            self._requests.close()


class Readers:
    """The idle readers of this process."""

    def __init__(self) -> None:
        self._idle: list[Reader] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start a reader if none is idle, so that it imports the CDK while a sync begins."""
        with self._lock:
            if not self._idle:
                self._idle.append(Reader())

    def take(self) -> Reader:
        """Return an idle reader, or a new one."""
        with self._lock:
            while self._idle:
                reader = self._idle.pop()
                if reader.is_alive:
                    return reader
                reader.close()
        return Reader()

    def give_back(self, reader: Reader) -> None:
        """Add a reader to the idle ones."""
        with self._lock:
            self._idle.append(reader)


READERS = Readers()


class Reading:
    """One read of a source; iterating yields its messages.

    The iteration ends normally only if the source has finished its work; otherwise it raises
    `ConnectorError`.
    """

    def __init__(self, reader: Reader, log: Path, streams: Iterable[str]) -> None:
        self._reader = reader
        self._log = log
        self._failures: list[ConnectorError] = []
        self._unfinished = set(streams)
        self._exit_code: int | None = None
        self.bytes_read = 0
        self.read_by = ""
        """The page loop, or the stock command and the reason for using it."""

    @property
    def succeeded(self) -> bool:
        """Whether the source has finished its work."""
        return self._exit_code == 0 and not self._failures

    def kill(self) -> None:
        """Kill the reader unless the read has ended: it may already serve another sync."""
        if self._exit_code is None:
            self._reader.kill()

    def __iter__(self) -> Iterator[Record | RenderedPage | StreamState]:
        with self._log.open("ab") as log:
            for line in self._reader.messages:
                self.bytes_read += len(line)
                message = _parsed(line)
                if message.get("type") == "END":
                    self._exit_code = message["exit_code"]
                    break
                found = self._message(message)
                if found is not None:
                    yield found
                elif message.get("type") not in ("STATE", "TRACE"):
                    log.write(line)  # the stock command mixes its log with the messages
        self._raise_on_failure()

    def _message(self, message: Mapping[str, Any]) -> Record | RenderedPage | StreamState | None:
        match message.get("type"):
            case "ROWS":
                return self._page(message)
            case "RECORD":
                record = message["record"]
                return Record(record["stream"], record["data"], record["emitted_at"])
            case "STATE" if stream := message["state"].get("stream"):
                name = stream["stream_descriptor"]["name"]
                return StreamState(name, stream.get("stream_state") or {})
            case "TRACE":
                self._note(message["trace"])
            case "READER":
                self.read_by = ": ".join(filter(None, [message["reader"], message["reason"]]))
        return None

    def _page(self, head: Mapping[str, Any]) -> RenderedPage:
        rows = self._reader.messages.read(head["rows"])
        rejected = self._reader.messages.read(head["rejected"])
        if len(rows) + len(rejected) < head["rows"] + head["rejected"]:
            rows = rejected = b""  # killed in the middle: no END line follows and the read fails
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

    def _raise_on_failure(self) -> None:
        if self._failures:
            # The first failure is the stream's own; the CDK's last one only summarizes it.
            raise self._failures[0]
        if self._exit_code == 0:
            # The CDK succeeds even if it read nothing: it skips streams that it cannot find.
            if self._unfinished:
                streams = ", ".join(sorted(self._unfinished))
                raise ConnectorError(f"the source ended without finishing {streams}")
            return
        tail = self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
        last = tail.splitlines()[-1] if tail else "it printed no reason"
        how = "was killed" if self._exit_code is None else f"ended with code {self._exit_code}"
        raise ConnectorError(f"the source {how}: {last}")


@contextmanager
def reading(request: ReadRequest) -> Iterator[Reading]:
    """Start a read and yield it; after the block, end a failed reader and delete the secrets."""
    with _private_folder() as folder:
        log = request.log or str(folder / "log.txt")
        streams = [each["stream"]["name"] for each in request.catalog["streams"]]
        reader = READERS.take()
        read = Reading(reader, Path(log), streams)
        try:
            reader.request(replace(request, log=log, folder=str(folder)))
            yield read
        finally:
            if read.succeeded:
                READERS.give_back(reader)
            else:
                reader.close()


def sweep() -> None:
    """Remove the private folders of killed processes, which hold secrets."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        with suppress(OSError), (folder / _LOCK_FILE).open("rb") as lock:
            if time.time() - folder.stat().st_mtime < _SWEEP_AFTER_SECONDS:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its process is running
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


def _environment() -> dict[str, str]:
    """Return the environment of the reader process.

    It holds no settings of this project, switches telemetry off and bypasses proxies on loopback.
    """
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES) or name.lower() in _PROXIES
    }
    unproxied = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return {
        **passed,
        "NO_PROXY": unproxied,
        "no_proxy": unproxied,
        "TMPDIR": tempfile.gettempdir(),
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "",
    }


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            message = json.loads(line)  # accepts lone surrogates, which orjson refuses
        except ValueError:
            return {}
    return message if isinstance(message, dict) else {}


def _reason(error: Mapping[str, Any]) -> str:
    message, detail = str(error.get("message") or ""), str(error.get("internal_message") or "")
    generic = not message or message.startswith("Something went wrong")
    reason = (detail or message or "the source gave no reason") if generic else message
    return reason.replace("Please see logs for more details. ", "")
