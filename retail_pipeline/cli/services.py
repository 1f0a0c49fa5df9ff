"""Commands for services and state: `up`, `down`, `dev`, `webserver`, `exec`, `reset`, `api`."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from retail_pipeline.bi.superset import Superset
from retail_pipeline.cli.instance import dagster_environment, open_instance
from retail_pipeline.cli.terminal import confirm, stop_like_ctrl_c
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.files import ASIDE, remove, replaced_whole
from retail_pipeline.lake import Lake
from retail_pipeline.loopback import listener
from retail_pipeline.postgres import open_database
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.postgres.server import binaries
from retail_pipeline.settings import (
    KEY_OF_PROCESS,
    PROJECT_ROOT,
    TODAY,
    Settings,
    parse_as_of,
    parse_source,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

api = typer.Typer(help="Serve the bundled retail API.", no_args_is_help=True)

UI_PORT = 3000
_CODE_LOCATION = ["dagster", "api", "grpc"]
_STATE = (
    *(
        "postgres",
        "dagster",
        "figures",
        "report",
        "dbt",
        "logs",
        "pgpass",
        "api",
        "superset",
        "airflow",
        "spark",
        "lake",
        "alerts",
    ),
    "suppression.key",
)
"""State under RETAIL_HOME; only earlier versions wrote `alerts`. The key is that of the suppression
list, which is removed with the database."""


def up() -> None:
    """Start the embedded PostgreSQL, or check the one of RETAIL_DATABASE_URL, and migrate it.

    Before other commands: `retail-pipeline up`
    """
    database = open_database(Settings.from_environment())
    database.execute("select 1")
    typer.echo(f"PostgreSQL is up at {database.location}")


def down() -> None:
    """Stop the embedded PostgreSQL; the stored data stay.

    At the end of the day: `retail-pipeline down`
    """
    stopped = embedded_server(Settings.from_environment()).stop()
    typer.echo("PostgreSQL stopped" if stopped else "nothing was running")


def reset(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Stop the embedded PostgreSQL and remove all state under RETAIL_HOME.

    So are the Parquet files of RETAIL_LAKE. The PostgreSQL of RETAIL_DATABASE_URL is never changed,
    as other machines may use it.

    Without a question: `retail-pipeline reset --yes`
    """
    settings = Settings.from_environment()
    if settings.database_url:
        raise UsageError(
            "reset removes the embedded state only, and RETAIL_DATABASE_URL names a server: "
            "`retail-pipeline run --full-refresh` rebuilds its layers"
        )
    place = f"{settings.home} and in {settings.lake}" if settings.lake else str(settings.home)
    if not yes:
        confirm(
            f"Permanently remove the database and all other state under {place}?",
            "reset permanently removes the database and all other state: confirm with --yes",
        )
    Superset(settings.home / "superset").stop()
    embedded_server(settings).remove()
    Lake(settings.lake_address).remove()
    for name in _STATE:
        remove(settings.home / name)
    for damaged in settings.home.glob(f"*{ASIDE}"):
        remove(damaged)
    if settings.home.is_dir() and not any(settings.home.iterdir()):
        settings.home.rmdir()
    typer.echo(f"removed the state under {place}")


def dev(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI on 127.0.0.1.")] = UI_PORT,
) -> None:
    """Start PostgreSQL and Dagster with its UI; Ctrl-C stops Dagster, PostgreSQL stays up.

    If port 3000 is in use: `retail-pipeline dev --port 3001`
    """
    from retail_pipeline.dagster_support.webserver import code_servers, open_webserver
    from retail_pipeline.loopback import listener

    settings = Settings.from_environment()
    os.chdir(PROJECT_ROOT)
    stop_like_ctrl_c()  # uvicorn repeats a signal after its end, which would leave the daemon
    os.environ["DAGSTER_IS_DEV_CLI"] = "1"  # as `dagster dev` does: code servers log errors once
    with (
        listener(port) as listening,
        open_instance(settings) as instance,
        code_servers(instance, PROJECT_ROOT / "workspace.yaml") as workspace,
        _daemon(workspace) as daemon,
        open_webserver(instance, workspace, public_url=settings.dagster_url) as app,
    ):
        _serve(app, listening, daemon)


def webserver(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = UI_PORT,
    workspace: Annotated[
        Path, typer.Option(help="File that names the code locations.")
    ] = PROJECT_ROOT / "deploy" / "workspace.yaml",
    path_prefix: Annotated[str, typer.Option(help="Path behind a proxy, such as /dagster.")] = "",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Nothing can be started, stopped or changed.")
    ] = False,
) -> None:
    """Serve Dagster's UI alone, for the services; only its own pages can read or start anything.

    For people who start nothing: `retail-pipeline webserver --read-only --port 3001`
    """
    from retail_pipeline.dagster_support.webserver import open_webserver
    from retail_pipeline.loopback import listener

    settings = Settings.from_environment()
    with (
        listener(port, host) as listening,
        open_instance(settings) as instance,
        open_webserver(
            instance,
            workspace,
            public_url=settings.dagster_url,
            path_prefix=path_prefix,
            read_only=read_only,
        ) as app,
    ):
        _serve(app, listening)


@contextmanager
def _daemon(workspace: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run Dagster's daemon until the block ends; yield its process."""
    command = [_program("dagster-daemon"), "run", "--workspace", str(workspace)]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _serve(
    app: "ASGIApp", listening: socket, daemon: subprocess.Popen[bytes] | None = None
) -> None:
    """Serve an application until a signal, or until the daemon ends, which is an error."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))

    def end_with(process: subprocess.Popen[bytes]) -> None:
        process.wait()
        server.should_exit = True

    if daemon is not None:
        threading.Thread(target=end_with, args=[daemon], daemon=True).start()
    host, port = listening.getsockname()[:2]
    listening.listen()  # from now on connections wait until the server has started
    typer.echo(f"Dagster's UI is at http://{host}:{port} (Ctrl-C stops it)", err=True)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    if daemon is not None and daemon.poll() not in (None, 0):
        raise PipelineError("Dagster's daemon has ended; its messages are above")


def execute(
    command: Annotated[list[str], typer.Argument(help="A program and its arguments.")],
) -> None:
    """Run a program with the environment of this pipeline's Dagster instance.

    DAGSTER_HOME and the address of the storage are set, and the database is started and migrated.
    The services run Dagster's daemon and code location in this way.

    A command of Dagster: `retail-pipeline exec dagster run list --limit 5`
    """
    settings = Settings.from_environment()
    os.environ.update(dagster_environment(settings))
    if command[:3] == _CODE_LOCATION and "--port" in command[:-1]:
        _end_its_runs(settings, int(command[command.index("--port") + 1]))
    if command[0] == "dagster-webserver":
        raise UsageError(
            "dagster-webserver answers pages of all sites: use `retail-pipeline webserver`"
        )
    start_program(command)


def start_program(command: Sequence[str]) -> NoReturn:
    """Replace this process by a program.

    Raises:
        UsageError: The program was not found.
    """
    program = _program(command[0])
    # Background jobs of a shell ignore SIGINT, but it is the signal that stops Dagster's programs.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(program, [program, *command[1:]])


def _program(name: str) -> str:
    """Return the path of a program of this environment (or its PostgreSQL), or of the system."""
    beside = [Path(sys.executable).parent]
    with suppress(PipelineError):  # the wheel of PostgreSQL is optional
        beside.append(binaries())
    program = shutil.which(name, path=os.pathsep.join(map(str, beside))) or shutil.which(name)
    if program is None:
        raise UsageError(f"the program {name!r} was not found here or on PATH: install it")
    return program


def _end_its_runs(settings: Settings, port: int) -> None:
    """Mark the runs of a restarted code location as ended, as they ended with its container."""
    from retail_pipeline.dagster_support.dead_runs import end_runs_of_code_location

    host = os.environ.get("CODE_LOCATION_HOST", "code-location")
    with open_instance(settings) as instance:
        end_runs_of_code_location(instance, host, port)


@api.command("serve")
def serve_api(
    source: Annotated[
        str | None, typer.Option(help="simulator:?customers=N&seed=N or file:PATH")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="Serve records known before this date: YYYY-MM-DD, or today (the current day)."
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8080,
) -> None:
    """Serve the bundled retail API until Ctrl-C, with the key of RETAIL_API_KEY.

    Without it the key is random, in a file that only you can read; its path is printed.

    The records of a file: `retail-pipeline api serve --source file:sales.csv --port 8081`
    """
    from retail_pipeline.retail_api import serve_forever

    settings = Settings.from_environment()
    day = parse_as_of(as_of, "--as-of", settings.time_zone) if as_of else settings.as_of
    with _key_told(settings, port):
        serve_forever(
            parse_source(source) if source else settings.source,
            TODAY if as_of == TODAY else day,
            settings.api_key,
            port=port,
            time_zone=settings.time_zone,
        )


@contextmanager
def _key_told(settings: Settings, port: int) -> Iterator[None]:
    """Print where a client finds the key; the file of a random key is removed at the end."""
    if settings.api_key != KEY_OF_PROCESS:
        yield
        return
    listener(port).close()  # another server of this port has the file
    file = settings.home / "api" / f"{port}.key"
    with replaced_whole(file, mode=0o600) as draft:
        draft.write_text(settings.api_key)
    client = f"RETAIL_SOURCE=http://127.0.0.1:{port} RETAIL_API_KEY_FILE={shlex.quote(str(file))}"
    typer.echo(f"the key is in a file until the API stops; to use it: {client} retail-pipeline run")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
