"""The Dagster instance of the command line and `make dev`: home folder and storage."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retail_pipeline.files import private_folder, replaced_whole, usable_folder
from retail_pipeline.postgres.open import dagster_database_url
from retail_pipeline.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

_CONFIGURATION = PROJECT_ROOT / "deploy" / "dagster.yaml"


def dagster_environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables of Dagster's instance, after writing its `dagster.yaml`.

    The server of the database is started if needed.
    """
    home = private_folder(settings.home / "dagster")
    usable_folder(home / "storage")
    configuration, wanted = home / "dagster.yaml", _CONFIGURATION.read_bytes()
    try:
        found = configuration.read_bytes()
    except OSError:
        found = b""
    if found != wanted:
        with replaced_whole(configuration) as draft:  # several services start at once
            draft.write_bytes(wanted)
    return {"DAGSTER_HOME": str(home), "DAGSTER_POSTGRES_URL": dagster_database_url(settings)}


@contextmanager
def open_instance(settings: Settings) -> Iterator["DagsterInstance"]:
    """Yield the instance of `make dev`, so that its UI shows the runs of the command line."""
    from dagster import DagsterInstance

    os.environ.update(dagster_environment(settings))
    with DagsterInstance.get() as instance:
        yield instance
