"""The commands `db migrate` and `db check`: the tables and rights that dbt does not make."""

import sys

from rich.console import Console

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.settings import Settings


def migrate() -> None:
    """Apply the scripts under `database/`: new and changed ones, and rights that were lost."""
    database = _database()
    applied = database.migrate(repair=True)
    Console().print(f"applied: {', '.join(applied)}" if applied else "nothing new; rights are set")


def check() -> None:
    """Say how the database differs from the scripts and the landing files; exit code 1 if it does.

    Nothing is changed. The database must be up.
    """
    from retail_pipeline.ingestion.landing import layout_differences
    from retail_pipeline.ingestion.specs import load_folder

    database = _database()
    found = [*database.differences().lines(), *layout_differences(database, load_folder())]
    for line in found:
        sys.stdout.write(f"{line}\n")
    if found:
        raise PipelineError(
            f"{database.location} differs in {len(found)} points: `retail-pipeline db migrate` "
            "applies the scripts and sets the rights; what is unwanted beyond rights is for people"
        )
    Console().print(f"{database.location} is as the scripts make it")


def _database() -> Database:
    settings = Settings.from_environment()
    return Database(settings.database_url or embedded_server(settings).start())
