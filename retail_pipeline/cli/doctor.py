"""The command `doctor`: whether this machine can run the pipeline, and what to do where not.

Each check looks at one thing, changes nothing and returns a finding with its remedy.
"""

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import psycopg
import typer
from rich.markup import escape

from retail_pipeline.cli.terminal import open_console
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.migrate import OLDEST_POSTGRES
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.postgres.server import account_problem, binaries_problem
from retail_pipeline.settings import AirbyteMode, ApiSource, FileSource, Settings

MEMORY, MEMORY_LIMIT = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")

_GIB_NEEDED_AND_WANTED = {"memory": (1.5, 3.0), "disk": (1.0, 5.0)}
"""Memory: a run over 10,000 customers peaks near 1.2 GiB, PostgreSQL included."""
_GIB = 2**30

Verdict = Literal["fine", "doubtful", "broken"]
_MARKS: dict[Verdict, str] = {
    "fine": "[green]✓[/]",
    "doubtful": "[yellow]![/]",
    "broken": "[red]✗[/]",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: The thing that was looked at.
        verdict: Whether the pipeline can run with it.
        found: What is there, in words.
        remedy: What to do; empty where nothing needs to be done, or `found` says it.
    """

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""


def doctor(
    port: Annotated[int, typer.Option(help="The port that `dev` is to use.")] = 3000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Check this machine, and say what to do: exit code 1 if something is broken, 2 for settings.

    Starts, writes and installs nothing; what would run slowly or badly is marked with `!`.

    Before the first run, or when something is odd: `retail-pipeline doctor`
    """
    try:
        settings, wrong = Settings.from_environment(), None
    except UsageError as error:
        settings, wrong = Settings(), error
    findings = list(_examine(settings, port, wrong))
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
    else:
        _print(findings)
    if wrong is not None:
        raise wrong
    broken = [finding.what for finding in findings if finding.verdict == "broken"]
    if broken:
        raise PipelineError(f"this machine cannot run the pipeline yet: {', '.join(broken)}")


def _print(findings: list[Finding]) -> None:
    console = open_console()
    for finding in findings:
        lines = [f"{_MARKS[finding.verdict]} {finding.what:<16}{escape(finding.found)}"]
        if finding.remedy:
            lines.append(f"  {'':<16}→ {escape(finding.remedy)}")
        console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _examine(settings: Settings, port: int, wrong: UsageError | None) -> Iterator[Finding]:
    """Yield a finding for each thing that a run or `dev` needs and a person can change."""
    if wrong is None:
        found = f"{settings.environment.value}, state under {settings.home}"
        yield Finding("settings", "fine", found)
    else:
        yield Finding("settings", "broken", str(wrong), ".env.example lists all settings")
    yield memory()
    yield _disk(settings.home)
    yield _port(port)
    yield _postgres(settings)
    yield _airbyte(settings)
    yield _source(settings)


def memory() -> Finding:
    """Return whether the memory that may still be used is enough for a run."""
    try:
        lines = (line.split() for line in MEMORY.read_text().splitlines())
        free = next(int(row[1]) / 2**20 for row in lines if row[0] == "MemAvailable:")
    except (OSError, StopIteration):
        return Finding("memory", "fine", "not known on this system")
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        free = min(free, int(MEMORY_LIMIT.read_text()) / _GIB)
    remedy = "a smaller source needs less; or give the container more"
    return _room("memory", free, f"{free:.1f} GiB free", remedy)


def _disk(home: Path) -> Finding:
    folder = next(each for each in (home, *home.parents) if each.exists())
    if not os.access(folder, os.W_OK):
        remedy = "set RETAIL_HOME to a folder that may be written"
        return Finding("disk", "broken", f"{folder} cannot be written", remedy)
    free = shutil.disk_usage(folder).free / _GIB
    remedy = "1 GiB per million order lines; or set RETAIL_HOME to another disk"
    return _room("disk", free, f"{free:,.1f} GiB free for {home}", remedy)


def _room(what: Literal["memory", "disk"], free: float, found: str, remedy: str) -> Finding:
    needed, wanted = _GIB_NEEDED_AND_WANTED[what]
    if free >= wanted:
        return Finding(what, "fine", found)
    verdict: Verdict = "doubtful" if free >= needed else "broken"
    return Finding(what, verdict, found, f"{needed} GiB are needed, {wanted} comfortable: {remedy}")


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            found = f"127.0.0.1:{port} cannot be used ({error.strerror})"
            remedy = "end what uses it, or `retail-pipeline dev --port` with another one"
            return Finding("port of the UI", "doubtful", found, remedy)
    return Finding("port of the UI", "fine", f"127.0.0.1:{port} is free")


def _postgres(settings: Settings) -> Finding:
    url = settings.database_url
    if url is None:
        if problem := account_problem():
            remedy = "run as an ordinary user, or set RETAIL_DATABASE_URL"
            return Finding("PostgreSQL", "broken", problem, remedy)
        if problem := binaries_problem():
            return Finding("PostgreSQL", "broken", problem, "run `make .venv`")
        url = embedded_server(settings).running_url()
    if url is None:
        found = "embedded, not running: the first command that needs it starts it"
        return Finding("PostgreSQL", "fine", found)
    try:
        with Database(url).connect() as connection:
            number = connection.info.server_version
    except (PipelineError, psycopg.Error) as error:
        return Finding("PostgreSQL", "broken", str(error))
    found = f"{number // 10_000}.{number % 10_000} at {Database(url).location}"
    if number < OLDEST_POSTGRES * 10_000:
        return Finding("PostgreSQL", "broken", found, f"use PostgreSQL {OLDEST_POSTGRES} or later")
    return Finding("PostgreSQL", "fine", found)


def _airbyte(settings: Settings) -> Finding:
    if settings.airbyte.mode is AirbyteMode.EMBEDDED:
        return Finding("Airbyte", "fine", "embedded")
    from retail_pipeline.ingestion.server import AirbyteServer

    try:
        with AirbyteServer(settings.airbyte, ()) as server:
            return Finding("Airbyte", "fine", f"the workspace at {server.location} answers")
    except PipelineError as error:
        return Finding("Airbyte", "broken", str(error))


def _source(settings: Settings) -> Finding:
    source = settings.source
    try:
        if isinstance(source, FileSource):
            from retail_pipeline.retail_api import open_dataset

            open_dataset(source, settings.as_of)
            return Finding("source", "fine", f"{source.path} can be read")
        if isinstance(source, ApiSource):
            return Finding("source", "fine", _served(settings, source))
    except PipelineError as error:
        return Finding("source", "broken", str(error))
    return Finding("source", "fine", f"the simulator with {source.customers:,} customers")


def _served(settings: Settings, source: ApiSource) -> str:
    """Return how many records of each stream an API serves, without its credentials."""
    from retail_pipeline.ingestion.specs import load_folder
    from retail_pipeline.ingestion.totals import fetch_totals
    from retail_pipeline.ingestion.workspace import source_values
    from retail_pipeline.retail_api import without_credentials

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    folder, values = load_folder(), source_values(settings, source.url, now)
    found = [fetch_totals(folder, each, values) for each in folder.connections.values()]
    counts = ", ".join(f"{each.records:,} {name}" for of in found for name, each in of.items())
    return f"{without_credentials(source.url)} serves {counts}"
