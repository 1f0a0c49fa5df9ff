"""The command `dbt-env`: dbt's own command line on the pipeline's database."""

import os
import shlex
import sys
from datetime import date
from pathlib import Path

from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database, open_database
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse.project import dbt_environment


def dbt_env() -> None:
    """Print the variables that dbt needs, as lines for a shell; starts the database if needed.

    The as-of date is the pipeline's. The password is not printed: it is written to a file that only
    you can read, whose path is.
    """
    settings = Settings.from_environment()
    database = open_database(settings)
    environment = dbt_environment(database.url, _as_of(database))
    password = environment.pop("RETAIL_DBT_PASSWORD", None)
    if password is not None:
        environment["PGPASSFILE"] = str(_password_file(settings.home / "dbt", password))
    for name, value in sorted(environment.items()):
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


def _as_of(database: Database) -> date | None:
    try:
        return read_state(database).as_of
    except PipelineError:
        return None  # nothing was ingested yet


def _password_file(folder: Path, password: str) -> Path:
    """Return the path of a password file of libpq, written for any address."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder.resolve() / "pgpass"
    file.unlink(missing_ok=True)
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as passwords:
        passwords.write(f"*:*:*:*:{escaped}\n")
    return file
