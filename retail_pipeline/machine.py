"""Whether a machine can run the pipeline: each check looks at one thing and changes nothing.

A check returns a finding with its remedy; it never raises. Nothing is printed here.
"""

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psycopg

from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.migrate import OLDEST_POSTGRES
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.postgres.server import (
    account_problem,
    binaries_problem,
)
from retail_pipeline.settings import (
    PROJECT_ROOT,
    AirbyteMode,
    ApiSource,
    FileSource,
    Settings,
)
from retail_pipeline.warehouse.project import manifest_is_fresh

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
NEEDED_GIB, WANTED_GIB = 1.5, 3.0
"""Memory: a run over 10,000 customers peaks near 1.2 GiB, PostgreSQL included."""
NEEDED_DISK_GIB, WANTED_DISK_GIB = 1.0, 5.0
MOST_CLOCK_SECONDS = 60

CONTROL_GROUP = Path("/sys/fs/cgroup")

_GIB = 2**30
_PACKAGES = ("dagster", "dagster-airbyte", "dagster-dbt", "dbt-postgres", "airbyte-cdk")


class Verdict(StrEnum):
    """What a finding means."""

    FINE = "fine"
    DOUBTFUL = "doubtful"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """What one check found.

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


def examine(
    settings: Settings, *, port: int, wrong_settings: UsageError | None = None
) -> list[Finding]:
    """Look at everything that a run or `dev` needs.

    Args:
        settings: The environment; the defaults where it is wrong.
        port: The UI's port.
        wrong_settings: Why the environment's settings were refused.
    """
    return [
        _python(),
        _packages(),
        _settings(settings, wrong_settings),
        _memory(),
        _disk(settings.home),
        _account(settings),
        _loopback(port),
        *_database(settings),
        _dbt(),
        *_airbyte(settings),
        _source(settings),
        _clock(),
    ]


def _fine(what: str, found: str) -> Finding:
    return Finding(what, Verdict.FINE, found)


def _python() -> Finding:
    found = f"Python {sys.version.split()[0]}"
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return _fine("Python", found)
    remedy = "use Python 3.11 to 3.13: `make clean`, then `make PYTHON=python3.12 .venv`"
    return Finding("Python", Verdict.BROKEN, found, remedy)


def _packages() -> Finding:
    missing = [name for name in _PACKAGES if not _version(name)]
    if missing:
        return Finding(
            "packages", Verdict.BROKEN, f"missing: {', '.join(missing)}", "run `make .venv`"
        )
    mark, lock = PROJECT_ROOT / ".venv" / ".installed", PROJECT_ROOT / "requirements.lock"
    if mark.exists() and lock.exists() and mark.stat().st_mtime < lock.stat().st_mtime:
        found = "installed from an older requirements.lock"
        return Finding("packages", Verdict.DOUBTFUL, found, "run `make .venv`")
    return _fine("packages", f"dagster {_version('dagster')}, dbt {_version('dbt-core')}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _settings(settings: Settings, wrong: UsageError | None) -> Finding:
    if wrong is not None:
        return Finding("settings", Verdict.BROKEN, str(wrong), ".env.example lists all settings")
    return _fine("settings", f"{settings.environment.value}, state under {settings.home}")


def _memory() -> Finding:
    free = _free_gib()
    if free is None:
        return _fine("memory", "cannot be told on this system")
    found = f"{free:.1f} GiB free"
    if free < NEEDED_GIB:
        remedy = f"free at least {NEEDED_GIB} GiB, or give the container more"
        return Finding("memory", Verdict.BROKEN, found, remedy)
    if free < WANTED_GIB:
        remedy = f"{WANTED_GIB:.0f} GiB are comfortable; a smaller source needs less"
        return Finding("memory", Verdict.DOUBTFUL, found, remedy)
    return _fine("memory", found)


def _free_gib() -> float | None:
    """Return what may still be used: the machine's free memory, or less in a container."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(each.split()[1]) for each in lines if each.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    limits = [available * 1024 / _GIB]
    group = CONTROL_GROUP
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        if limit.isdigit():
            limits.append((int(limit) - used + _reclaimable(group)) / _GIB)
    except (OSError, ValueError):
        pass
    return min(limits)


def _reclaimable(group: Path) -> int:
    """Return the bytes of file cache in a container, which the kernel gives up when asked."""
    lines = (group / "memory.stat").read_text().splitlines()
    told = dict(line.split() for line in lines)
    return int(told.get("inactive_file", 0)) + int(told.get("active_file", 0))


def _disk(home: Path) -> Finding:
    folder = next(each for each in (home, *home.parents) if each.exists())
    free = shutil.disk_usage(folder).free / _GIB
    found = f"{free:,.1f} GiB free for {home}"
    if not os.access(folder, os.W_OK):
        remedy = "set RETAIL_HOME to a folder that may be written"
        return Finding("disk", Verdict.BROKEN, f"{folder} cannot be written", remedy)
    if free < NEEDED_DISK_GIB:
        remedy = f"free {NEEDED_DISK_GIB:.0f} GiB, or set RETAIL_HOME to another disk"
        return Finding("disk", Verdict.BROKEN, found, remedy)
    if free < WANTED_DISK_GIB:
        remedy = f"{WANTED_DISK_GIB:.0f} GiB are comfortable: 1 GiB per million order lines"
        return Finding("disk", Verdict.DOUBTFUL, found, remedy)
    return _fine("disk", found)


def _account(settings: Settings) -> Finding:
    if settings.database_url is not None:
        return _fine("account", "no server is started here: RETAIL_DATABASE_URL is set")
    problem = account_problem()
    if problem:
        remedy = "run as an ordinary user, or set RETAIL_DATABASE_URL"
        return Finding("account", Verdict.BROKEN, problem, remedy)
    who = "root; PostgreSQL runs as nobody" if os.geteuid() == 0 else "an ordinary user"
    return _fine("account", who)


def _loopback(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            found = f"127.0.0.1:{port} cannot be used ({error.strerror})"
            remedy = "end what uses it, or `retail-pipeline dev --port` with another one"
            return Finding("port of the UI", Verdict.DOUBTFUL, found, remedy)
    return _fine("port of the UI", f"127.0.0.1:{port} is free")


def _database(settings: Settings) -> Iterator[Finding]:
    url = settings.database_url
    if url is None:
        if problem := binaries_problem():
            yield Finding("PostgreSQL", Verdict.BROKEN, problem, "run `make .venv`")
            return
        url = embedded_server(settings).running_url()
    if url is None:
        yield _fine("PostgreSQL", "embedded, not running: the first command that needs it does it")
        return
    try:
        with Database(url).connect() as connection:
            row = connection.execute(
                "select current_setting('server_version'), "
                "current_setting('server_version_num')::int, extract(epoch from now())"
            ).fetchone()
    except (PipelineError, psycopg.Error) as error:
        yield Finding("PostgreSQL", Verdict.BROKEN, str(error))
        return
    assert row is not None
    yield _server_version(Database(url).location, str(row[0]), int(row[1]))
    yield _server_clock(float(row[2]))


def _server_version(location: str, name: str, number: int) -> Finding:
    found = f"{name} at {location}"
    if number < OLDEST_POSTGRES * 10_000:
        remedy = f"use PostgreSQL {OLDEST_POSTGRES} or later"
        return Finding("PostgreSQL", Verdict.BROKEN, found, remedy)
    return _fine("PostgreSQL", found)


def _server_clock(now: float) -> Finding:
    apart = abs(time.time() - now)
    if apart > MOST_CLOCK_SECONDS:
        found = f"{apart:,.0f} s apart from this machine's"
        return Finding("server's clock", Verdict.DOUBTFUL, found, "set both by NTP")
    return _fine("server's clock", "agrees with this machine's")


def _dbt() -> Finding:
    if manifest_is_fresh():
        return _fine("dbt's manifest", "up to date")
    return _fine("dbt's manifest", "not made for these files yet: the next command does it")


def _airbyte(settings: Settings) -> Iterator[Finding]:
    if settings.airbyte.mode is AirbyteMode.EMBEDDED:
        yield _fine("Airbyte", "embedded")
        return
    from retail_pipeline.ingestion.server_api import AirbyteServer

    try:
        with AirbyteServer(settings.airbyte, ()) as server:
            yield _fine("Airbyte", f"the workspace at {server.location} answers")
    except PipelineError as error:
        yield Finding("Airbyte", Verdict.BROKEN, str(error))


def _source(settings: Settings) -> Finding:
    source = settings.source
    try:
        if isinstance(source, FileSource):
            from retail_pipeline.retail_api import open_dataset

            open_dataset(source, settings.as_of)
            return _fine("source", f"{source.path} can be read")
        if isinstance(source, ApiSource):
            from retail_pipeline.ingestion.specs import load_folder
            from retail_pipeline.ingestion.totals import fetch_totals
            from retail_pipeline.ingestion.workspace import source_values
            from retail_pipeline.retail_api import without_credentials

            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            totals = fetch_totals(load_folder(), source_values(settings, source.url, now))
            told = ", ".join(f"{count:,} {name}" for name, count in totals.records.items())
            return _fine("source", f"{without_credentials(source.url)} serves {told}")
    except PipelineError as error:
        return Finding("source", Verdict.BROKEN, str(error))
    return _fine("source", f"the simulator with {source.customers:,} customers")


def _clock() -> Finding:
    """Compare the clock with the newest file of the project: it cannot be from the future."""
    newest = max(path.stat().st_mtime for path in (PROJECT_ROOT / "dbt_project").iterdir())
    if newest > time.time() + MOST_CLOCK_SECONDS:
        found = "files of the project are from the future"
        return Finding("clock", Verdict.DOUBTFUL, found, "set the machine's clock")
    return _fine("clock", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
