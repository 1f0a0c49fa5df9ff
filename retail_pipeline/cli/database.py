"""The database for people and dbt: `db migrate`, `db check`, `db-url`, `dbt-env`."""

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

app = typer.Typer(help="The database's own tables.", no_args_is_help=True)


@app.command()
def migrate() -> None:
    """Apply the scripts under `database/`: new and changed ones, and rights that were lost.

    After a change of a script: `retail-pipeline db migrate`
    """
    applied = _unmigrated().migrate(repair=True)
    typer.echo(f"applied: {', '.join(applied)}" if applied else "nothing new; rights are set")


@app.command()
def check() -> None:
    """Show how the database differs from the scripts and the landing files; exit code 1 if it does.

    Nothing is changed. The database must be up. For a script: `retail-pipeline db check`
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
            "applies the scripts and sets the rights; what is unwanted beyond rights is for people"
        )
    typer.echo(f"{database.location} is as the scripts make it")


def db_url(
    role: Annotated[
        str | None, typer.Option(help="Act as this role: loader, transformer, scientist, reader.")
    ] = None,
    dagster: Annotated[
        bool, typer.Option("--dagster", help="The database of Dagster's history; made if absent.")
    ] = False,
) -> None:
    """Print the address of the database, credential included; starts it if needed.

    To look around: `psql "$(retail-pipeline db-url --role reader)"`
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
    """Print the variables that dbt needs, as lines for a shell; starts the database if needed.

    The as-of date is the pipeline's of now: ask again after a run that has moved it. The password
    is not printed: it is written to a file that only you can read, whose path is.

    Before dbt in dbt_project: `eval "$(retail-pipeline dbt-env)"`
    """
    from retail_pipeline.warehouse.project import dbt_environment

    settings = Settings.from_environment()
    database = open_database(settings)
    try:
        as_of = read_state(database).as_of
    except PipelineError:
        as_of = None  # nothing was ingested yet
    environment = dbt_environment(database.url, as_of)
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
        raise UsageError(f"--role {name!r} is none of the database's roles: {known}") from None


def _password_file(folder: Path, password: str) -> Path:
    """Return the path of a password file of libpq, written for any address."""
    file = folder.resolve() / "pgpass"
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    with replaced_whole(file, mode=0o600) as draft:
        draft.write_text(f"*:*:*:*:{escaped}\n")
    return file
