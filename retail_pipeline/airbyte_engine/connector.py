"""Airbyte's own source code in a process of its own, and the messages it prints.

The Airbyte CDK never runs inside this process: aborting it hangs the interpreter. What becomes of
the records is not decided here.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from retail_pipeline.errors import PipelineError

_FOLDER_PREFIX = "airbyte-source-"
_LOCK_FILE = "lock"
_SWEEP_AFTER_SECONDS = 60
"""A younger folder may not have its lock yet."""
_STDERR_TAIL_BYTES = 4_000
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SYSTEMROOT")
_PASSED_ON_PREFIXES = ("LC_", "PYTHON", "SSL_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


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
    """What the source is started with; `configuration` holds secrets."""

    manifest: Path
    configuration: Mapping[str, Any]
    catalog: Mapping[str, Any]
    states: Sequence[StreamState]


class Connector:
    """One run of `source-declarative-manifest read`.

    Iterating yields `Record` and `StreamState` messages; the end of the iteration means that the
    source finished its work, otherwise it raises `ConnectorError`.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], errors: Path, streams: Iterable[str]
    ) -> None:
        self._process = process
        self._errors = errors
        self._failures: list[ConnectorError] = []
        self._unfinished = set(streams)
        self.bytes_read = 0

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's."""
        return self._process.pid

    def kill(self) -> None:
        """Kill the source with everything it started; safe to call at any time."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the source if it still runs, and wait for its end."""
        self.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def __iter__(self) -> Iterator[Record | StreamState]:
        output: IO[bytes] | None = self._process.stdout
        assert output is not None
        for line in output:
            self.bytes_read += len(line)
            message = self._understood(line)
            if message is not None:
                yield message
        self._raise_on_failure(self._process.wait())

    def _understood(self, line: bytes) -> Record | StreamState | None:
        message = _parsed(line)
        kind = message.get("type")
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
        return None

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
        tail = self._errors.read_bytes()[-_STDERR_TAIL_BYTES:].decode(errors="replace").strip()
        last = tail.splitlines()[-1] if tail else "it printed no reason"
        raise ConnectorError(f"the source ended with exit code {exit_code}: {last}")


@contextmanager
def reading(source: SourceInput) -> Iterator[Connector]:
    """Start a source; whatever happens, neither its process nor its secrets outlive the block.

    The calling thread must stay alive as long as the block: the source dies with it.
    """
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
        streams = [each["stream"]["name"] for each in source.catalog["streams"]]
        connector = _started(arguments, folder, streams)
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


def _started(arguments: Sequence[str], folder: Path, streams: Iterable[str]) -> Connector:
    errors = folder / "stderr.txt"
    module = "retail_pipeline.airbyte_engine.child"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_environment(folder),
            bufsize=1 << 20,
            start_new_session=True,
        )
    return Connector(process, errors, streams)


def _environment(folder: Path) -> dict[str, str]:
    """Return what the source may see: no setting of ours, no telemetry, loopback without proxy."""
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
        "TMPDIR": str(folder),  # the CDK writes its configuration once more, to its own folder
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "",
    }


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
