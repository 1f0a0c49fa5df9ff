"""Reading an API into PostgreSQL: this project's engine, other tools, and a lower limit.

All engines read the same records of one mock API into databases of one embedded server, one after
another: a first load, a sync without new records, and a sync with one per cent of new records. Wall
time is that of the whole process, including start and imports. The stock command only reads. The
processor time of the mock API's process is measured, too.
"""

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.ingestion_engines import CONTESTANTS
from benchmarks.processes import Measured, measured, processor_seconds
from benchmarks.results import Result
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.open import sibling_url
from retail_pipeline.postgres.server import EmbeddedServer

NAME = "ingestion"
SIZES = (10_000, 100_000, 1_000_000)
"""Transactions."""

FIRST, NOTHING_NEW, NEW = "first load", "nothing new", "1 % new"
THREE = "nothing new, all connections"
COST = "the API's own time in a first load"
_STREAM = "transactions"
_NEAR = 0.001
"""A sync reads the records at its last cursor value again, so a few more records are accepted."""


@dataclass
class _Api:
    process: "subprocess.Popen[str]"
    url: str
    early: int
    all: int

    def serve(self, what: str) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()


def run(
    sizes: Sequence[int],
    *,
    note: Callable[[Result], None],
    engines: Sequence[str] | None = None,
) -> list[Result]:
    """Return one measurement per case, size and engine.

    Args:
        sizes: Numbers of transactions.
        note: Callback for each finished result.
        engines: Some of `contestants()`; by default all.

    Raises:
        PipelineError: An engine failed or did not read all records.
    """
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        server = EmbeddedServer(Path(scratch) / "postgres")
        try:
            for size in sizes:
                names = engines or contestants()
                for result in _of_size(size, names, server.start(), Path(scratch)):
                    note(result)
                    results.append(result)
        finally:
            server.stop()
    return results


def contestants() -> list[str]:
    """Return the installed engines; dlt is optional (the extra `peers`)."""
    present = importlib.util.find_spec("dlt") is not None
    return [name for name in CONTESTANTS if name != "dlt" or present]


def _of_size(size: int, names: Sequence[str], server_url: str, scratch: Path) -> Iterator[Result]:
    rounds = 1 if size > 100_000 else 3
    taken: dict[tuple[str, str], list[Measured]] = {}
    with _api(size) as api:
        for number in range(rounds):
            folder = scratch / f"{size}-{number}"
            for case, engine, one in _round(api, names, server_url, folder):
                taken.setdefault((case, engine), []).append(one)
    for (case, engine), runs in taken.items():
        seconds = statistics.median(each.seconds for each in runs)
        peaks = [each.peak_mib for each in runs if each.peak_mib is not None]
        peak = max(peaks) if peaks else None
        new = {FIRST: size, NEW: size // 100}.get(case, 0)
        rate = round(new / seconds, 1) if seconds else 0.0
        yield Result(NAME, case, size, engine, round(seconds, 4), rate, peak)


def _round(
    api: _Api, names: Sequence[str], server_url: str, scratch: Path
) -> Iterator[tuple[str, str, Measured]]:
    databases = {name: _database(server_url, number) for number, name in enumerate(names)}
    folders = {name: scratch / name.replace(" ", "_") for name in names}
    for folder in folders.values():
        folder.mkdir(parents=True)

    def one(name: str, streams: Sequence[str], expected: int | None) -> Measured:
        module = "benchmarks.ingestion_engines"
        command = [sys.executable, "-m", module, name, api.url, databases[name]]
        result = measured([*command, str(folders[name]), *streams])
        read = json.loads(result.output.splitlines()[-1])["records"]
        if expected is not None and abs(read - expected) > max(5, _NEAR * api.early):
            raise PipelineError(f"{name} read {read} records instead of {expected}")
        return result

    api.serve("early")
    for case, expected in ((FIRST, api.early), (NOTHING_NEW, 0), (NEW, api.all - api.early)):
        if case == NEW:
            api.serve("all")
        for name in names:
            before = processor_seconds(api.process.pid)
            yield case, name, one(name, [_STREAM], expected)
            if case == FIRST:
                used = processor_seconds(api.process.pid) - before
                yield COST, name, Measured(used, None, "")
    one("engine", ["products", "users"], None)
    yield THREE, "engine", one("engine", ["products", "users", _STREAM], None)
    specification = Path(sys.executable).with_name("source-declarative-manifest")
    yield THREE, "bare spec command", measured([str(specification), "spec"])
    _check_rows(databases, api)
    for url in databases.values():
        _drop(server_url, url)


def _check_rows(databases: dict[str, str], api: _Api) -> None:
    tables = {
        "engine": "transactional.transactions",
        "limit": "plain.transactions",
        "dlt": "dlt.transactions",
    }
    for name in databases.keys() & tables.keys():
        found = Database(databases[name]).query(
            f"select count(*) as rows, count(distinct transaction_id) as ids from {tables[name]}"
        )
        if found.iloc[0].tolist() != [api.all, api.all]:
            raise PipelineError(f"{name} holds {found.iloc[0].tolist()}, not {api.all} records")


def _database(server_url: str, number: int) -> str:
    name = f"bench_{number}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")
        connection.execute(f"create database {name}")
    url = sibling_url(server_url, name)
    Database(url).migrate()
    return url


def _drop(server_url: str, url: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        name = Database(url).name
        connection.execute(f"drop database if exists {name} with (force)")


@contextmanager
def _api(size: int) -> Iterator[_Api]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.api_server", str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline() or "{}")
        if "port" not in announced:
            raise PipelineError("the benchmark's mock API did not start")
        yield _Api(
            process, f"http://127.0.0.1:{announced['port']}", announced["early"], announced["all"]
        )
    finally:
        process.kill()
        process.wait()
