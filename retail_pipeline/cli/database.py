"""The commands of the database: `db migrate`, `db check`, `db-url`, `dbt-env`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.files import replaced_whole
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database, Role, open_database
from retail_pipeline.postgres.open import dagster_database_url, embedded_server
from retail_pipeline.settings import Settings

app = typer.Typer(help="Migrate the database, or check its tables.", no_args_is_help=True)


@app.command()
def migrate() -> None:
    """Apply new and changed scripts under `database/`, and restore missing rights.

    After a change of a script: `retail-pipeline db migrate`
    """
    applied = _unmigrated().migrate(repair=True)
    typer.echo(f"applied: {', '.join(applied)}" if applied else "no new scripts; rights are set")


@app.command()
def check() -> None:
    """Show how the database differs from its scripts, and exit with code 1 if it does.

    Nothing is changed, and the database must be running. The tables of the Airbyte files are
    compared, too. For a script: `retail-pipeline db check`
    """
    from retail_pipeline.ingestion.landing import layout_differences
    from retail_pipeline.ingestion.specs import load_folder

    database = _unmigrated()
    found = [*database.differences().lines(), *layout_differences(database, load_folder())]
    for line in found:
        typer.echo(line)
    if found:
        raise PipelineError(
            f"{database.location} differs in {len(found)} points: `retail-pipeline db migrate` "
            "applies the scripts and sets the rights; remove other unwanted objects by hand"
        )
    typer.echo(f"{database.location} matches the scripts")


def db_url(
    role: Annotated[
        str | None, typer.Option(help="Use this role: loader, transformer, scientist or reader.")
    ] = None,
    dagster: Annotated[
        bool, typer.Option("--dagster", help="Dagster's own database; created if missing.")
    ] = False,
) -> None:
    """Print the address of the database, password included; start its server if needed.

    To query the tables: `psql "$(retail-pipeline db-url --role reader)"`
    """
    settings = Settings.from_environment()
    if dagster and role is not None:
        raise UsageError("--role is for the warehouse: Dagster's database has no roles")
    if dagster:
        typer.echo(dagster_database_url(settings))
        return
    database = open_database(settings)
    if role is not None:
        database = database.as_role(_role(role))
    typer.echo(database.url)


def dbt_env() -> None:
    """Print dbt's environment variables as shell commands; start the database if needed.

    The as-of date is that of the latest run, so repeat the command after a run with another date.
    The password is not printed: it is in a file that only you can read, and its path is printed.

    Before dbt in dbt_project: `eval "$(retail-pipeline dbt-env)"`
    """
    from retail_pipeline.warehouse.project import dbt_environment

    settings = Settings.from_environment()
    database = open_database(settings)
    try:
        as_of = read_state(database).as_of
    except PipelineError:
        as_of = None  # nothing has been ingested yet
    environment = dbt_environment(database.url, as_of, settings)
    password = environment.pop("RETAIL_DBT_PASSWORD", None)
    if password is not None:
        environment["PGPASSFILE"] = str(_password_file(settings.home / "dbt", password))
    for name, value in sorted(environment.items()):
        typer.echo(f"export {name}={shlex.quote(value)}")


def _unmigrated() -> Database:
    settings = Settings.from_environment()
    return Database(settings.database_url or embedded_server(settings).start())


def _role(name: str) -> Role:
    try:
        return Role(f"retail_{name.removeprefix('retail_')}")
    except ValueError:
        known = ", ".join(Role)
        raise UsageError(f"there is no role {name!r}: --role takes {known}") from None


def _password_file(folder: Path, password: str) -> Path:
    """Write a password file of libpq that is valid for any address; return its path."""
    file = folder.resolve() / "pgpass"
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    with replaced_whole(file, mode=0o600) as draft:
        draft.write_text(f"*:*:*:*:{escaped}\n")
    return file
