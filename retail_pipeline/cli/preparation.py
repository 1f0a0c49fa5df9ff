"""What a run needs before its first step, made ready side by side: most of it is waiting.

The database's server, its tables and Dagster's are one thread's, dbt's manifest and the warm
processes of Airbyte's sources and of dbt another's, while this one imports Dagster.
"""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

from retail_pipeline.airbyte_engine.host import HOST
from retail_pipeline.cli.instance import (
    STORAGE_VARIABLE,
    dagster_environment,
)
from retail_pipeline.settings import (
    AirbyteMode,
    Settings,
)
from retail_pipeline.warehouse.project import prepare_for
from retail_pipeline.warehouse.warm import WARM_DBT

if TYPE_CHECKING:
    from dagster import Definitions


def prepare(settings: Settings, *, syncs: bool) -> "Definitions":
    """Return the pipeline's definitions, with the database and Dagster's storage ready.

    Args:
        settings: The environment.
        syncs: Whether Airbyte's sources and then dbt will be needed soon.

    Raises:
        PipelineError: The database cannot be reached or the dbt project does not parse.
    """
    with ThreadPoolExecutor(thread_name_prefix="prepare") as others:
        environment = others.submit(dagster_environment, settings)
        manifest = others.submit(prepare_for, settings)
        others.submit(_warm_up, settings, manifest, syncs)

        from retail_pipeline.dagster_support.storage import PooledPostgresStorage

        # Its tables are made while the rest is imported; what loads nothing of Dagster may overlap.
        storage = others.submit(
            lambda: PooledPostgresStorage(environment.result()[STORAGE_VARIABLE])
        )

        from retail_pipeline.build import build_definitions

        manifest.result()
        definitions = build_definitions(settings)
        storage.result()
    return definitions


def _warm_up(settings: Settings, manifest: Future[Path], syncs: bool) -> None:
    wait([manifest])
    if not syncs:
        return
    if settings.airbyte.mode is AirbyteMode.EMBEDDED:
        HOST.warm_up()
    WARM_DBT.warm_up()
