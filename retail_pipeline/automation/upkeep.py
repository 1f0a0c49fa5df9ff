"""Retention: a job that removes old runs, their events and logs, and what failed builds left.

What says what an asset is stays: the run of its latest materialization is kept however old it is.
Tables of the warehouse are not touched. How long Dagster keeps ticks is in `deploy/dagster.yaml`.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dagster import (
    AssetKey,
    Config,
    DagsterEventType,
    DagsterInstance,
    EventRecordsFilter,
    JobDefinition,
    OpExecutionContext,
    ResourceParam,
    RunsFilter,
    in_process_executor,
    job,
    op,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from pydantic import Field

from retail_pipeline.settings import Settings

KEEP_DAYS = 90


class UpkeepConfig(Config):
    """How long finished runs stay."""

    keep_days: int = Field(
        default=KEEP_DAYS, ge=1, description="Finished runs older than this many days are removed."
    )


@dataclass(frozen=True)
class Removed:
    """How much went: runs (with their events and logs), and folders of builds that failed."""

    runs: int
    folders: int


def build_upkeep_job(name: str, tags: Mapping[str, str]) -> JobDefinition:
    """Return the job that removes what is older than it is kept."""

    @op(name="remove_old_runs")
    def remove_old_runs(
        context: OpExecutionContext, config: UpkeepConfig, settings: ResourceParam[Settings]
    ) -> None:
        before = datetime.now(UTC) - timedelta(days=config.keep_days)
        removed = remove_older(context.instance, settings.home, before)
        context.log.info(
            f"removed {removed.runs} runs that ended before {before:%Y-%m-%d} and "
            f"{removed.folders} folders of failed builds"
        )
        context.add_output_metadata({"runs": removed.runs, "folders": removed.folders})

    @job(
        name=name,
        tags=dict(tags),
        executor_def=in_process_executor,
        description="Remove finished runs, their events and logs, older than they are kept.",
    )
    def upkeep() -> None:
        remove_old_runs()

    return upkeep


def remove_older(instance: DagsterInstance, home: Path, before: datetime) -> Removed:
    """Remove finished runs that were last touched before an instant, with events and logs.

    Args:
        instance: Whose runs are looked at.
        home: `RETAIL_HOME`, where builds that failed have left their artifacts.
        before: Runs updated later stay.
    """
    finished = RunsFilter(statuses=list(FINISHED_STATUSES), updated_before=before)
    old = set(instance.get_run_ids(finished)) - _latest_runs(instance)
    for run_id in old:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
    return Removed(len(old), _remove_folders(home / "dbt", before.timestamp()))


def _latest_runs(instance: DagsterInstance) -> set[str]:
    """Return the runs that made what the assets are now, partitions included."""
    events = [instance.get_latest_materialization_event(key) for key in instance.all_asset_keys()]
    latest = {event.run_id for event in events if event is not None}
    return latest.union(*(_partition_runs(instance, key) for key in instance.all_asset_keys()))


def _partition_runs(instance: DagsterInstance, key: AssetKey) -> set[str]:
    made = DagsterEventType.ASSET_MATERIALIZATION
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(key, made)
    if not latest:
        return set()
    wanted = EventRecordsFilter(made, asset_key=key, storage_ids=list(latest.values()))
    return {record.run_id for record in instance.event_log_storage.get_event_records(wanted)}


def _remove_folders(folder: Path, before: float) -> int:
    if not folder.is_dir():
        return 0
    old = [each for each in folder.iterdir() if each.is_dir() and each.stat().st_mtime < before]
    for each in old:
        shutil.rmtree(each, ignore_errors=True)
    return len(old)
