"""dbt's nodes for Dagster's assets, without dbt's selection engine.

Only how dagster-dbt selects is here; what it makes of the nodes is `translator`'s.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from dagster_dbt import utils


@contextmanager
def without_engine() -> Iterator[None]:
    """Let dagster-dbt take "everything" from the manifest for the length of a block.

    It has this way for environments without dbt-core. Where dbt-core is installed it imports dbt's
    graph and networkx instead, and has them select every node, for 0.3 s of each process that
    loads the definitions. Any other selection than everything fails in the block.
    """
    version = utils.DBT_PYTHON_VERSION
    utils.DBT_PYTHON_VERSION = None  # type: ignore[assignment]
    try:
        yield
    finally:
        utils.DBT_PYTHON_VERSION = version
