"""The warehouse: dbt's models as Dagster assets, and dbt without Dagster for evaluations.

The SQL itself lives in `dbt_project/`. What is here prepares dbt's manifest, translates its nodes
to assets, runs a build and says what it did. No transformation is written in Python.
"""

from typing import TYPE_CHECKING, Final

from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import Definitions

BUILD_STEP: Final = "dbt_build"
"""The step of a run that builds the warehouse."""


def build_warehouse(settings: Settings) -> "Definitions":
    """Return the dbt models, seeds and tests as assets and asset checks; contacts no server.

    The first call after a change of the dbt project parses it (some seconds).

    Raises:
        PipelineError: The dbt project does not parse.
    """
    # dagster-dbt takes seconds to import, and evaluations use `run` without it.
    from retail_pipeline.warehouse.assets import build_warehouse_assets

    return build_warehouse_assets(settings)


__all__ = ["build_warehouse"]
