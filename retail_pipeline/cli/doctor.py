"""The command `doctor`: whether this machine can run the pipeline, with a remedy if not.

Each check examines one thing, changes nothing and returns its finding as text. If there is a
problem, it raises an error with the finding and the remedy.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from retail_pipeline.cli.services import UI_PORT
from retail_pipeline.cli.terminal import open_console, print_json
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.loopback import listener
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.account import IN_USER_NAMESPACE
from retail_pipeline.postgres.logins import weaknesses
from retail_pipeline.postgres.migrate import refuse_old_server
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.settings import (
    AirbyteMode,
    ApiSource,
    FileSource,
    Settings,
    SimulatorSource,
    TablesSource,
)

MEMORY, MEMORY_LIMIT = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")

_GIB_NEEDED_AND_WANTED = {"memory": (1.5, 3.0), "disk": (1.0, 5.0)}
"""Memory: a run over 10,000 customers peaks near 1.2 GiB, PostgreSQL included."""
_GIB = 2**30

Status = Literal["ok", "warning", "error"]
_MARKS: dict[Status, str] = {
    "ok": "[green]✓[/]",
    "warning": "[yellow]![/]",
    "error": "[red]✗[/]",
}


class DoubtfulError(PipelineError):
    """The pipeline can run with this finding, but slowly or with limits."""


@dataclass(frozen=True)
class Finding:
    """The result of one check: the examined thing, the result and the finding as text."""

    what: str
    status: Status
    found: str


def doctor(
    port: Annotated[int, typer.Option(help="Port that `dev` will use.")] = UI_PORT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Check whether this machine can run the pipeline, and print remedies for problems.

    Nothing is started, written or installed. A line with `!` is a problem that does not prevent a
    run. Exit code 1: something is broken; 2: a setting is wrong.

    Before the first run, or after a failure: `retail-pipeline doctor`
    """
    try:
        settings, wrong = Settings.from_environment(), None
    except UsageError as error:
        settings, wrong = Settings(), error
    findings = list(_examine(settings, port, wrong))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for each in findings:
            words = f"{_MARKS[each.status]} {each.what:<16}{escape(each.found)}"
            open_console().print(words, highlight=False, soft_wrap=True)
    if wrong is not None:
        raise wrong
    broken = [finding.what for finding in findings if finding.status == "error"]
    if broken:
        raise PipelineError(f"this machine cannot run the pipeline yet: {', '.join(broken)}")


def _examine(settings: Settings, port: int, wrong: UsageError | None) -> Iterator[Finding]:
    """Yield a finding for each thing that `run` or `dev` needs from the machine or its settings."""
    checks: dict[str, Callable[[], str]] = {
        "settings": lambda: _settings(settings, wrong),
        "memory": check_memory,
        "disk": lambda: _disk(settings.home),
        "port of the UI": lambda: _port(port),
        "PostgreSQL": lambda: _postgres(settings),
        "Airbyte": lambda: _airbyte(settings),
        "source": lambda: _source(settings),
    }
    for what, check in checks.items():
        try:
            yield Finding(what, "ok", check())
        except DoubtfulError as error:
            yield Finding(what, "warning", str(error))
        except PipelineError as error:
            yield Finding(what, "error", str(error))


def _settings(settings: Settings, wrong: UsageError | None) -> str:
    if wrong is not None:
        raise UsageError(f"{wrong} (.env.example lists all settings)")
    return f"{settings.environment.value}, state under {settings.home}"


def check_memory() -> str:
    """Return the available memory as text, if it is enough for a run.

    Raises:
        PipelineError: There is not enough memory.
    """
    try:
        lines = (line.split() for line in MEMORY.read_text().splitlines())
        free = next(int(row[1]) / 2**20 for row in lines if row[0] == "MemAvailable:")
    except (OSError, StopIteration):
        return "unknown on this system"
    with suppress(OSError, ValueError):  # not in a container, or no limit ("max")
        free = min(free, int(MEMORY_LIMIT.read_text()) / _GIB)
    remedy = "use a smaller source, or give the container more memory"
    return _enough("memory", free, f"{free:.1f} GiB free", remedy)


def _disk(home: Path) -> str:
    folder = next(each for each in (home, *home.parents) if each.exists())
    if not os.access(folder, os.W_OK):
        raise PipelineError(f"{folder} is not writable: set RETAIL_HOME to a writable folder")
    free = shutil.disk_usage(folder).free / _GIB
    remedy = "1 GiB per million order lines is used; free space, or move RETAIL_HOME"
    return _enough("disk", free, f"{free:,.1f} GiB free for {home}", remedy)


def _enough(what: str, free: float, found: str, remedy: str) -> str:
    needed, wanted = _GIB_NEEDED_AND_WANTED[what]
    if free >= wanted:
        return found
    kind = DoubtfulError if free >= needed else PipelineError
    raise kind(f"{found}; {needed} GiB are needed, {wanted} recommended: {remedy}")


def _port(port: int) -> str:
    try:
        listener(port).close()
    except UsageError as error:
        raise DoubtfulError(f"{error} with `retail-pipeline dev --port`") from None
    return f"127.0.0.1:{port} is free"


def _postgres(settings: Settings) -> str:
    url, account, weak = settings.database_url, "", []
    if url is None:
        server = embedded_server(settings)
        account = server.account()
        url = server.running_url()
    if url is None:
        found = "embedded, not running: the first command that needs it starts it"
    else:
        with Database(url).connect() as connection:
            version = connection.info.server_version
            refuse_old_server(version)
            weak = weaknesses(connection)
        found = f"{version // 10_000}.{version % 10_000} at {Database(url).location}"
    if account == IN_USER_NAMESPACE:
        weak.append(account)
    if weak:
        raise DoubtfulError("; ".join([found, *weak]))
    return "; ".join(filter(None, [found, account]))


def _airbyte(settings: Settings) -> str:
    if settings.airbyte.mode is AirbyteMode.EMBEDDED:
        return "embedded"
    from retail_pipeline.ingestion.server import AirbyteServer

    with AirbyteServer(settings.airbyte, ()) as server:
        return f"the workspace at {server.location} is reachable"


def _source(settings: Settings) -> str:
    match settings.source:
        case FileSource(path=path):
            from retail_pipeline.retail_api import open_dataset

            open_dataset(settings.source, settings.as_of, settings.time_zone)
            return f"{path} can be read"
        case TablesSource(schema=schema):
            return f"dbt reads the tables of the schema {schema}"
        case ApiSource(url=url):
            return _served(settings, url)
        case SimulatorSource(customers=customers):
            return f"the simulator with {customers:,} customers"


def _served(settings: Settings, url: str) -> str:
    """Return the number of records of each stream of an API, as text without credentials."""
    from retail_pipeline.ingestion.specs import load_folder
    from retail_pipeline.ingestion.totals import fetch_totals
    from retail_pipeline.ingestion.workspace import source_values
    from retail_pipeline.retail_api import without_credentials

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    folder, values = load_folder(), source_values(settings, url, now)
    found = [fetch_totals(folder, each, values) for each in folder.connections.values()]
    counts = ", ".join(f"{each.records:,} {name}" for of in found for name, each in of.items())
    return f"{without_credentials(url)} serves {counts}"
