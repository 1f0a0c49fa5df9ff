"""Commands for services and state: `up`, `down`, `dev`, `exec`, `reset`, `api serve`."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from retail_pipeline.cli.instance import dagster_environment, open_instance
from retail_pipeline.cli.terminal import confirm
from retail_pipeline.errors import UsageError
from retail_pipeline.postgres import open_database
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.settings import PROJECT_ROOT, TODAY, Settings, parse_as_of, parse_source

api = typer.Typer(help="Serve the bundled retail API.", no_args_is_help=True)

UI_PORT = 3000
_CODE_LOCATION = ["dagster", "api", "grpc"]
_STATE = ("postgres", "dagster", "figures", "report", "dbt", "logs", "alerts")
"""Folders of state under RETAIL_HOME; only earlier versions wrote the last one (alerts)."""


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

    The PostgreSQL of RETAIL_DATABASE_URL is never changed, as other machines may use it.

    Without a question: `retail-pipeline reset --yes`
    """
    settings = Settings.from_environment()
    if settings.database_url:
        raise UsageError(
            "reset removes the embedded state only, and RETAIL_DATABASE_URL names a server: "
            "`retail-pipeline run --full-refresh` rebuilds its layers"
        )
    if not yes:
        confirm(
            f"Permanently remove the database and all other state under {settings.home}?",
            "reset permanently removes the database and all other state: confirm with --yes",
        )
    embedded_server(settings).remove()
    for name in _STATE:
        shutil.rmtree(settings.home / name, ignore_errors=True)
    # The key of the suppression list, which was removed with the database.
    (settings.home / "suppression.key").unlink(missing_ok=True)
    if settings.home.is_dir() and not any(settings.home.iterdir()):
        settings.home.rmdir()
    typer.echo(f"removed the state under {settings.home}")


def dev(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI on 127.0.0.1.")] = UI_PORT,
) -> None:
    """Start PostgreSQL and Dagster with its UI; Ctrl-C stops Dagster, PostgreSQL stays up.

    If port 3000 is in use: `retail-pipeline dev --port 3001`
    """
    os.chdir(PROJECT_ROOT)
    execute(["dagster", "dev", "--host", "127.0.0.1", "--port", str(port)])


def execute(
    command: Annotated[list[str], typer.Argument(help="A program and its arguments.")],
) -> None:
    """Run a program with the environment of this pipeline's Dagster instance.

    DAGSTER_HOME and the address of the storage are set, and the database is started and migrated.
    The services run Dagster's webserver and daemon in this way.

    A command of Dagster: `retail-pipeline exec dagster run list --limit 5`
    """
    settings = Settings.from_environment()
    os.environ.update(dagster_environment(settings))
    if command[:3] == _CODE_LOCATION and "--port" in command[:-1]:
        _end_its_runs(settings, int(command[command.index("--port") + 1]))
    beside = Path(sys.executable).parent
    program = shutil.which(command[0], path=str(beside)) or shutil.which(command[0])
    if program is None:
        raise UsageError(f"the program {command[0]!r} was not found")
    # Background jobs of a shell ignore SIGINT, but it is the signal that stops Dagster's programs.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(program, [program, *command[1:]])


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
    """Serve the bundled retail API until Ctrl-C; its key is RETAIL_API_KEY.

    The records of a file: `retail-pipeline api serve --source file:sales.csv --port 8081`
    """
    from retail_pipeline.retail_api import serve_forever

    settings = Settings.from_environment()
    day = parse_as_of(as_of, "--as-of", settings.time_zone) if as_of else settings.as_of
    serve_forever(
        parse_source(source) if source else settings.source,
        TODAY if as_of == TODAY else day,
        settings.api_key,
        port=port,
        time_zone=settings.time_zone,
    )
