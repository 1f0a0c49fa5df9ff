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
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import psycopg
import typer
from rich.markup import escape

from retail_pipeline.cli.summary import open_console
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.migrate import OLDEST_POSTGRES
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.postgres.server import account_problem, binaries_problem
from retail_pipeline.settings import PROJECT_ROOT, AirbyteMode, ApiSource, FileSource, Settings

CONTROL_GROUP = Path("/sys/fs/cgroup")

_OLDEST_PYTHON, _NEWEST_PYTHON = (3, 11), (3, 13)
_NEEDED_GIB, _WANTED_GIB = 1.5, 3.0
"""Memory: a run over 10,000 customers peaks near 1.2 GiB, PostgreSQL included."""
_NEEDED_DISK_GIB, _WANTED_DISK_GIB = 1.0, 5.0
_MOST_CLOCK_SECONDS = 60
_GIB = 2**30
_PACKAGES = ("dagster", "dagster-airbyte", "dagster-dbt", "dbt-postgres", "airbyte-cdk")

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
        line = f"{_MARKS[finding.verdict]} {finding.what:<16}{escape(finding.found)}"
        console.print(line, highlight=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"  {'':<16}→ {escape(finding.remedy)}", highlight=False, soft_wrap=True)


def _examine(settings: Settings, port: int, wrong: UsageError | None) -> Iterator[Finding]:
    """Yield a finding for each thing that a run or `dev` needs."""
    yield _python()
    yield _packages()
    if wrong is None:
        found = f"{settings.environment.value}, state under {settings.home}"
        yield Finding("settings", "fine", found)
    else:
        yield Finding("settings", "broken", str(wrong), ".env.example lists all settings")
    yield memory()
    yield _disk(settings.home)
    yield _account(settings)
    yield _port(port)
    yield from _postgres(settings)
    yield _airbyte(settings)
    yield _source(settings)


def _python() -> Finding:
    found = f"Python {sys.version.split()[0]}"
    if _OLDEST_PYTHON <= sys.version_info[:2] <= _NEWEST_PYTHON:
        return Finding("Python", "fine", found)
    remedy = "use Python 3.11 to 3.13: `make clean`, then `make PYTHON=python3.12 .venv`"
    return Finding("Python", "broken", found, remedy)


def _packages() -> Finding:
    missing = []
    for name in _PACKAGES:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "broken", f"missing: {', '.join(missing)}", "run `make .venv`")
    mark, lock = PROJECT_ROOT / ".venv" / ".installed", PROJECT_ROOT / "requirements.lock"
    if mark.exists() and lock.exists() and mark.stat().st_mtime < lock.stat().st_mtime:
        found = "installed from an older requirements.lock"
        return Finding("packages", "doubtful", found, "run `make .venv`")
    return Finding("packages", "fine", f"dagster {version('dagster')}, dbt {version('dbt-core')}")


def memory() -> Finding:
    """Return whether the memory that may still be used is enough for a run."""
    free = _free_gib()
    if free is None:
        return Finding("memory", "fine", "cannot be told on this system")
    found = f"{free:.1f} GiB free"
    if free < _NEEDED_GIB:
        remedy = f"free at least {_NEEDED_GIB} GiB, or give the container more"
        return Finding("memory", "broken", found, remedy)
    if free < _WANTED_GIB:
        remedy = f"{_WANTED_GIB:.0f} GiB are comfortable; a smaller source needs less"
        return Finding("memory", "doubtful", found, remedy)
    return Finding("memory", "fine", found)


def _free_gib() -> float | None:
    """Return the machine's free memory, or less in a container; None where neither is known."""
    try:
        machine = _numbers(Path("/proc/meminfo"))["MemAvailable:"] * 1024
    except (OSError, KeyError):
        return None
    try:
        limit = int((CONTROL_GROUP / "memory.max").read_text())
        used = int((CONTROL_GROUP / "memory.current").read_text())
        cache = _numbers(CONTROL_GROUP / "memory.stat")  # the kernel gives up files' pages
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return machine / _GIB
    reclaimable = cache.get("inactive_file", 0) + cache.get("active_file", 0)
    return min(machine, limit - used + reclaimable) / _GIB


def _numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a file of lines `name number …`."""
    rows = (line.split() for line in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows}


def _disk(home: Path) -> Finding:
    folder = next(each for each in (home, *home.parents) if each.exists())
    free = shutil.disk_usage(folder).free / _GIB
    found = f"{free:,.1f} GiB free for {home}"
    if not os.access(folder, os.W_OK):
        remedy = "set RETAIL_HOME to a folder that may be written"
        return Finding("disk", "broken", f"{folder} cannot be written", remedy)
    if free < _NEEDED_DISK_GIB:
        remedy = f"free {_NEEDED_DISK_GIB:.0f} GiB, or set RETAIL_HOME to another disk"
        return Finding("disk", "broken", found, remedy)
    if free < _WANTED_DISK_GIB:
        remedy = f"{_WANTED_DISK_GIB:.0f} GiB are comfortable: 1 GiB per million order lines"
        return Finding("disk", "doubtful", found, remedy)
    return Finding("disk", "fine", found)


def _account(settings: Settings) -> Finding:
    if settings.database_url is not None:
        return Finding("account", "fine", "no server is started here: RETAIL_DATABASE_URL is set")
    if problem := account_problem():
        remedy = "run as an ordinary user, or set RETAIL_DATABASE_URL"
        return Finding("account", "broken", problem, remedy)
    account = "root; PostgreSQL runs as nobody" if os.geteuid() == 0 else "an ordinary user"
    return Finding("account", "fine", account)


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


def _postgres(settings: Settings) -> Iterator[Finding]:
    url = settings.database_url
    if url is None:
        if problem := binaries_problem():
            yield Finding("PostgreSQL", "broken", problem, "run `make .venv`")
            return
        url = embedded_server(settings).running_url()
    if url is None:
        found = "embedded, not running: the first command that needs it starts it"
        yield Finding("PostgreSQL", "fine", found)
        return
    try:
        with Database(url).connect() as connection:
            number = connection.info.server_version
            row = connection.execute("select extract(epoch from now())::float8").fetchone()
    except (PipelineError, psycopg.Error) as error:
        yield Finding("PostgreSQL", "broken", str(error))
        return
    found = f"{number // 10_000}.{number % 10_000} at {Database(url).location}"
    if number < OLDEST_POSTGRES * 10_000:
        yield Finding("PostgreSQL", "broken", found, f"use PostgreSQL {OLDEST_POSTGRES} or later")
    else:
        yield Finding("PostgreSQL", "fine", found)
    apart = abs(time.time() - row[0]) if row else 0
    if apart > _MOST_CLOCK_SECONDS:
        found = f"{apart:,.0f} s apart from this machine's"
        yield Finding("server's clock", "doubtful", found, "set both by NTP")
    else:
        yield Finding("server's clock", "fine", "agrees with this machine's")


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
    totals = fetch_totals(load_folder(), source_values(settings, source.url, now))
    counts = ", ".join(f"{count:,} {name}" for name, count in totals.records.items())
    return f"{without_credentials(source.url)} serves {counts}"
