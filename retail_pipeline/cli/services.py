"""Commands that start, stop or remove: `up`, `down`, `dev`, `exec`, `reset`, `api serve`."""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from retail_pipeline.cli.confirmation import confirm
from retail_pipeline.cli.instance import (
    dagster_environment,
    open_instance,
)
from retail_pipeline.dagster_support.dead_runs import end_runs_of_code_location
from retail_pipeline.errors import UsageError
from retail_pipeline.postgres import (
    Role,
    open_database,
)
from retail_pipeline.postgres.open import (
    dagster_database_url,
    embedded_server,
)
from retail_pipeline.settings import (
    PROJECT_ROOT,
    TODAY,
    Settings,
    parse_as_of,
    parse_source,
)

_CODE_LOCATION = ["dagster", "api", "grpc"]
_STATE = ("postgres", "dagster", "figures", "report", "dbt", "logs", "alerts")
"""Folders under RETAIL_HOME; earlier versions kept the memory of alerts in the last."""


def up() -> None:
    """Start the embedded PostgreSQL, or check the given one, and apply migrations."""
    database = open_database(Settings.from_environment())
    database.execute("select 1")
    Console().print(f"PostgreSQL is up at {database.location}")


def down() -> None:
    """Stop the embedded PostgreSQL."""
    stopped = embedded_server(Settings.from_environment()).stop()
    Console().print("PostgreSQL stopped" if stopped else "nothing was running")


def db_url(
    role: Annotated[
        str | None, typer.Option(help="Act as this role: loader, transformer, scientist, reader.")
    ] = None,
    dagster: Annotated[
        bool, typer.Option("--dagster", help="The database of Dagster's history; made if absent.")
    ] = False,
) -> None:
    """Print the address of the database, credential included; starts it if needed."""
    settings = Settings.from_environment()
    if dagster and role is not None:
        raise UsageError("--role is for the warehouse: Dagster's database has no roles")
    if dagster:
        sys.stdout.write(dagster_database_url(settings) + "\n")
        return
    database = open_database(settings)
    if role is not None:
        database = database.as_role(_role(role))
    sys.stdout.write(database.url + "\n")


def _role(name: str) -> Role:
    for role in Role:
        if name in (role.value, role.value.removeprefix("retail_")):
            return role
    known = ", ".join(role.value for role in Role)
    raise UsageError(f"--role {name!r} is none of the database's roles: {known}")


def reset(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Stop the embedded PostgreSQL and remove all state under RETAIL_HOME.

    A given PostgreSQL is left alone: what is in it was not made by this machine alone.
    """
    settings = Settings.from_environment()
    if settings.database_url:
        raise UsageError(
            "reset removes the embedded state only, and RETAIL_DATABASE_URL names a server: "
            "`retail-pipeline run --full-refresh` rebuilds its layers"
        )
    if not yes:
        confirm(
            f"Remove the database and all other state under {settings.home}, for good?",
            "reset removes the database and all other state for good: say --yes",
        )
    embedded_server(settings).remove()
    for name in _STATE:
        shutil.rmtree(settings.home / name, ignore_errors=True)
    # Its list of forgotten customers went with the database.
    (settings.home / "suppression.key").unlink(missing_ok=True)
    if settings.home.is_dir() and not any(settings.home.iterdir()):
        settings.home.rmdir()
    Console().print(f"removed the state under {settings.home}")


def dev(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI on 127.0.0.1.")] = 3000,
) -> None:
    """Start everything and the Dagster UI; Ctrl-C ends the UI, PostgreSQL stays up."""
    settings = Settings.from_environment()
    os.environ.update(dagster_environment(settings))
    os.chdir(PROJECT_ROOT)
    beside = str(Path(sys.executable).with_name("dagster"))
    program = beside if os.access(beside, os.X_OK) else shutil.which("dagster")
    if program is None:
        raise UsageError("the command `dagster` is not installed: run `make .venv`")
    _become(program, ["dev", "--host", "127.0.0.1", "--port", str(port)])


def execute(
    command: Annotated[list[str], typer.Argument(help="A program and its arguments.")],
) -> None:
    """Become another program, in the environment of this pipeline's Dagster instance.

    DAGSTER_HOME and the address of its storage are set, the database is there and migrated: so run
    the services' webserver and daemon, and Dagster's own commands.
    """
    settings = Settings.from_environment()
    os.environ.update(dagster_environment(settings))
    if command[:3] == _CODE_LOCATION and "--port" in command[:-1]:
        host = os.environ.get("CODE_LOCATION_HOST", "code-location")
        port = int(command[command.index("--port") + 1])
        with open_instance(settings) as instance:
            end_runs_of_code_location(instance, host, port)
    beside = Path(sys.executable).parent / command[0]
    is_beside = beside.name == command[0] and beside.exists()
    program = str(beside) if is_beside else shutil.which(command[0])
    if program is None:
        raise UsageError(f"there is no program {command[0]!r} here")
    _become(program, command[1:])


def _become(program: str, arguments: Sequence[str]) -> NoReturn:
    """Go on as a program that ends when told.

    A shell lets its background jobs ignore SIGINT, and Dagster treats SIGTERM as it treats SIGINT.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(program, [program, *arguments])


def serve_api(
    source: Annotated[
        str | None, typer.Option(help="simulator:?customers=N&seed=N or file:PATH")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="Serve records known before this date: YYYY-MM-DD, or today, which goes on."
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8080,
) -> None:
    """Serve the bundled retail API until Ctrl-C; its key is RETAIL_API_KEY."""
    from retail_pipeline.retail_api import serve_forever

    settings = Settings.from_environment()
    serve_forever(
        parse_source(source) if source else settings.source,
        _clock(as_of) or settings.as_of,
        settings.api_key,
        host="127.0.0.1",
        port=port,
    )


def _clock(text: str | None) -> date | Literal["today"] | None:
    if text is None or text == TODAY:
        return TODAY if text else None
    return parse_as_of(text, "--as-of")
