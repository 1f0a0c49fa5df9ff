"""The entry point of the command: all command groups, and errors as one message and an exit code.

Exit codes: 0 done, 1 the work failed, 2 wrong use or settings, 130 stopped by Ctrl-C.
"""

import errno
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from retail_pipeline.cli import (
    airbyte,
    bench,
    bi,
    check,
    customer,
    database,
    doctor,
    evaluate,
    export,
    forget,
    model,
    run,
    services,
    status,
)
from retail_pipeline.cli.terminal import use_encoding_of_terminal
from retail_pipeline.errors import PipelineError, StoppedError, UsageError

FAILED = 1
_CODES: dict[type[Exception], int] = {UsageError: 2, StoppedError: 130}
# Everything after the first argument of another program belongs to it, including --help.
_ARGUMENTS_OF_ANOTHER = {"ignore_unknown_options": True, "allow_interspersed_args": False}

app = typer.Typer(
    name="retail-pipeline",
    help="From a retail API through Airbyte, PostgreSQL and dbt to customer lifetime value.",
    no_args_is_help=True,
    epilog="The --help of each command has examples; `retail-pipeline doctor` checks the machine.",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"retail-pipeline {version('retail-data-pipeline')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, not only its message.")
    ] = False,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Declare the options of all commands; `main` reads --debug when it prints errors."""


app.command("run")(run.run)
app.command("check")(check.check)
app.command("evaluate")(evaluate.evaluate)
app.command("status")(status.status)
app.command("customer")(customer.customer)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.command("up")(services.up)
app.command("down")(services.down)
app.command("dev")(services.dev)
app.command("webserver")(services.webserver)
app.command("exec", context_settings=_ARGUMENTS_OF_ANOTHER)(services.execute)
app.command("reset")(services.reset)
app.command("forget")(forget.forget)
app.command("bench")(bench.bench)
app.command("db-url")(database.db_url)
app.command("psql", context_settings=_ARGUMENTS_OF_ANOTHER)(database.psql)
app.command("dbt-env")(database.dbt_env)
app.add_typer(airbyte.app, name="airbyte")
app.add_typer(services.api, name="api")
app.add_typer(bi.app, name="bi")
app.add_typer(database.app, name="db")
app.add_typer(model.app, name="model")


def main() -> None:
    """Run the command line and exit with its code."""
    use_encoding_of_terminal()
    os.environ.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "true")
    own, debug = _without_debug(sys.argv[1:])
    try:
        app(own)
    except Exception as error:
        if debug:
            raise
        typer.echo(f"error: {_words(error)}", err=True)
        sys.exit(next((code for kind, code in _CODES.items() if isinstance(error, kind)), FAILED))


def _words(error: Exception) -> str:
    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return (
            f"{error.filename}: {error.strerror}: mend its permissions or its folder, or name "
            "another folder for all state with RETAIL_HOME"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space is left on the disk: make room, then repeat the command"
    # Only the type of other errors: a driver's message may contain an address with password.
    return f"unexpected error ({type(error).__name__}); --debug shows the traceback"


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Return the arguments without --debug, and whether it was there, at any position.

    So it can be added at the end of a failed command. Arguments after `exec` belong to the other
    program and stay.
    """
    end = arguments.index("exec") if "exec" in arguments else len(arguments)
    own = [argument for argument in arguments[:end] if argument != "--debug"]
    return [*own, *arguments[end:]], len(own) < end
