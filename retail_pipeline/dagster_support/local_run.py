"""A run in this process that belongs to the code location, so that the UI shows it with its job.

`JobDefinition.execute_in_process` creates a run without a code location: the UI lists it, but not
under its job or in the timeline, and cannot execute it again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import AssetKey, DagsterInstance, JobDefinition
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

LOCATION = "retail_pipeline"
"""The name of the code location in both files `workspace.yaml`."""
REPOSITORY = "__repository__"
"""Dagster's name for the definitions of a code location."""


def execute_here(
    job: JobDefinition,
    instance: DagsterInstance,
    run_id: str,
    run_config: Mapping[str, Any],
    selected: Sequence[AssetKey] | None,
) -> bool:
    """Execute a job in this process as a run of the code location; return whether it succeeded.

    Args:
        job: The job.
        instance: The Dagster instance.
        run_id: The id of the new run.
        run_config: The run's configuration.
        selected: The assets of the run; None for all of the job.
    """
    location = RegisteredCodeLocationOrigin(location_name=LOCATION)
    run = instance.create_run_for_job(
        job,
        run_id=run_id,
        run_config=run_config,
        tags=job.run_tags,
        asset_selection=frozenset(selected) if selected is not None else None,
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), job.name),
    )
    return execute_run(InMemoryJob(job), run, instance).success
