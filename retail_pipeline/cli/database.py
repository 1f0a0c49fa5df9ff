"""The commands of the database: `db migrate`, `db check`, `db-url`, `psql`, `dbt-env`."""

import os
import shlex
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from psycopg import sql

from retail_pipeline.cli.services import start_program
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.files import replaced_whole
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database, Role, address, open_database
from retail_pipeline.postgres.open import dagster_database_url, embedded_server
from retail_pipeline.settings import Settings

DBT_LAYERS = ("staging", "intermediate", "warehouse")

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
    compared, too. Triggers, functions and other code of others are listed, and logins with more
    rights than their role. For a script: `retail-pipeline db check`
    """
    from retail_pipeline.ingestion.landing import layout_differences
    from retail_pipeline.ingestion.specs import load_folder

    database = _unmigrated()
    found = [*database.differences().lines(), *layout_differences(database, load_folder())]
    found += database.foreign_code()
    for line in found:
        typer.echo(line)
    for line in database.weaknesses():
        typer.echo(f"note: {line}")
    if found:
        raise PipelineError(
            f"{database.location} differs in {len(found)} points: `retail-pipeline db migrate` "
            "applies the scripts and sets the rights; remove what it leaves by hand"
        )
    typer.echo(f"{database.location} matches the scripts")


def db_url(
    role: Annotated[
        str | None, typer.Option(help="Use this role: loader, transformer, scientist or reader.")
    ] = None,
    dagster: Annotated[
        bool, typer.Option("--dagster", help="Dagster's own database; created if missing.")
    ] = False,
    with_password: Annotated[
        bool | None,
        typer.Option(
            "--with-password/--without-password",
            help="Print the password, or the path of a file with it that clients of libpq read. "
            "Only a role's address is printed without it by default.",
        ),
    ] = None,
) -> None:
    """Print the address of the database; start its server if needed.

    Give other programs an address without the password, because their arguments are visible to
    all: `pg_dump --file=retail.dump "$(retail-pipeline db-url --without-password)"`

    For a BI tool: `retail-pipeline db-url --role reader --with-password`
    """
    settings = Settings.from_environment()
    if dagster and role is not None:
        raise UsageError("--role is for the warehouse: Dagster's database has no roles")
    url = dagster_database_url(settings) if dagster else _url(settings, _role(role))
    shown = role is None if with_password is None else with_password
    typer.echo(url if shown else _without_password(settings, url))


def psql(
    arguments: Annotated[list[str] | None, typer.Argument(help="Arguments of psql.")] = None,
    role: Annotated[
        str, typer.Option(help="reader, scientist, transformer, loader or owner.")
    ] = "reader",
) -> None:
    """Open psql with the rights of a role; its arguments contain no password.

    One query: `retail-pipeline psql -c "select * from clv.current_predictions limit 5"`
    """
    settings = Settings.from_environment()
    url = _url(settings, None if role == "owner" else _role(role))
    start_program(["psql", _without_password(settings, url), *(arguments or [])])


def dbt_env(
    drafts: Annotated[
        bool, typer.Option("--drafts", help="Create the schemas of the target `dev`.")
    ] = False,
) -> None:
    """Print dbt's environment variables as shell commands; start the database if needed.

    The as-of date is that of the latest run, so repeat the command after a run with another date.
    The password is not printed: it is in a file that only you can read, and its path is printed.

    Before dbt in dbt_project: `eval "$(retail-pipeline dbt-env)"`
    """
    from retail_pipeline.warehouse.project import dbt_environment

    settings = Settings.from_environment()
    database = open_database(settings)
    if drafts:
        _create_drafts(database, os.environ.get("RETAIL_DBT_SCHEMA", "dev"))
    try:
        as_of = read_state(database).as_of
    except PipelineError:
        as_of = None  # nothing has been ingested yet
    environment = dbt_environment(database.url, as_of, settings)
    password = environment.pop("RETAIL_DBT_PASSWORD", None)
    if password is not None:
        environment["PGPASSFILE"] = str(_password_file(settings.home / "dbt" / "pgpass", password))
    for name, value in sorted(environment.items()):
        typer.echo(f"export {name}={shlex.quote(value)}")


def _create_drafts(database: Database, prefix: str) -> None:
    """Create the schemas of a developer's drafts, as dbt's login may not create any."""
    owner = sql.Identifier(Role.TRANSFORMER.value)
    with database.connect() as connection:
        for name in (prefix, *(f"{prefix}_{layer}" for layer in DBT_LAYERS)):
            connection.execute(
                sql.SQL("create schema if not exists {} authorization {}").format(
                    sql.Identifier(name), owner
                )
            )


def _unmigrated() -> Database:
    settings = Settings.from_environment()
    return Database(settings.database_url or embedded_server(settings).start())


def _url(settings: Settings, role: Role | None) -> str:
    """Return the address of the warehouse, password included; start its server if needed."""
    database = open_database(settings)
    if role is not None:
        database = database.as_role(role)
    database.execute("select 1")
    return database.url


def _role(name: str | None) -> Role | None:
    if name is None:
        return None
    try:
        return Role(f"retail_{name.removeprefix('retail_')}")
    except ValueError:
        known = ", ".join(Role)
        raise UsageError(f"there is no role {name!r}: --role takes {known}") from None


def _without_password(settings: Settings, url: str) -> str:
    """Return the address with the path of a password file in place of the password."""
    parts = address.read(url)
    password = parts.pop("password", None)
    if password is None:
        return url
    file = _password_file(settings.home / "pgpass" / quote(parts["user"], safe=""), password)
    return address.written({**parts, "passfile": str(file)})


def _password_file(path: Path, password: str) -> Path:
    """Write a password file of libpq that is valid for any address; return its absolute path."""
    file = path.absolute()
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    with replaced_whole(file, mode=0o600) as draft:
        draft.write_text(f"*:*:*:*:{escaped}\n")
    return file
