"""Dagster's instance for the command line and `make dev`: its home, its storage in PostgreSQL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retail_pipeline.postgres.open import dagster_database_url
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

STORAGE_VARIABLE = "DAGSTER_POSTGRES_URL"

_CONFIGURATION = f"""\
# Written by retail-pipeline; the address is in the environment, so that no secret is in a file.
storage:
  custom:
    module: retail_pipeline.dagster_storage
    class: PooledPostgresStorage
    config:
      postgres_url:
        env: {STORAGE_VARIABLE}
telemetry:
  enabled: false
nux:
  enabled: false
freshness:
  enabled: true
"""


def dagster_environment(settings: Settings) -> dict[str, str]:
    """Return the variables under which Dagster finds its home; writes the home's `dagster.yaml`."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    if not configuration.exists() or configuration.read_text() != _CONFIGURATION:
        configuration.write_text(_CONFIGURATION)
    return {"DAGSTER_HOME": str(home), STORAGE_VARIABLE: dagster_database_url(settings)}


@contextmanager
def open_instance(settings: Settings) -> Iterator["DagsterInstance"]:
    """Open the instance that `make dev` shows, so that its UI lists the command line's runs."""
    from dagster import DagsterInstance

    os.environ.update(dagster_environment(settings))
    with DagsterInstance.get() as instance:
        yield instance
