"""Retention: the job that removes old runs with their events and logs, and failed builds' folders.

The run of an asset's latest materialization is kept however old it is, as it describes the asset.
Tables of the warehouse are not touched. How long Dagster keeps ticks is in `deploy/dagster.yaml`.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pydantic

from retail_pipeline.settings import Settings

KEEP_DAYS = 90

_FINISHED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]


class UpkeepConfig(dg.Config):
    """How long finished runs stay."""

    keep_days: int = pydantic.Field(
        default=KEEP_DAYS, ge=1, description="Finished runs older than this many days are removed."
    )


@dataclass(frozen=True)
class Removed:
    """The number of removed runs (with their events and logs) and of folders of failed builds."""

    runs: int
    folders: int


@dg.op
def remove_old_runs(
    context: dg.OpExecutionContext, config: UpkeepConfig, settings: dg.ResourceParam[Settings]
) -> None:
    """Remove runs, events, logs and folders that are older than they are kept."""
    before = datetime.now(UTC) - timedelta(days=config.keep_days)
    removed = remove_older(context.instance, settings.home, before)
    context.log.info(
        f"removed {removed.runs} runs that ended before {before:%Y-%m-%d} and "
        f"{removed.folders} folders of failed builds"
    )
    context.add_output_metadata({"runs": removed.runs, "folders": removed.folders})


def build_upkeep_job(name: str, tags: Mapping[str, str]) -> dg.JobDefinition:
    """Return the job that removes what is older than it is kept."""

    @dg.job(
        name=name,
        tags=dict(tags),
        executor_def=dg.in_process_executor,
        description="Remove finished runs, their events and logs, older than they are kept.",
    )
    def upkeep() -> None:
        remove_old_runs()

    return upkeep


def remove_older(instance: dg.DagsterInstance, home: Path, before: datetime) -> Removed:
    """Remove finished runs that were last touched before an instant, with events and logs.

    Args:
        instance: The instance whose runs are removed.
        home: `RETAIL_HOME`, where builds that failed have left their artifacts.
        before: Runs updated later stay.
    """
    finished = dg.RunsFilter(statuses=_FINISHED, updated_before=before)
    old = set(instance.get_run_ids(finished)) - _latest_runs(instance)
    for run_id in old:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
    return Removed(len(old), _remove_folders(home / "dbt", before.timestamp()))


def _latest_runs(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs of the latest materializations, those of partitions included."""
    found = set()
    for key in instance.all_asset_keys():
        event = instance.get_latest_materialization_event(key)
        found |= {event.run_id} if event is not None else set()
        found |= _partition_runs(instance, key)
    return found


def _partition_runs(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[str]:
    made = dg.DagsterEventType.ASSET_MATERIALIZATION
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(key, made)
    if not latest:
        return set()
    wanted = dg.AssetRecordsFilter(key, storage_ids=list(latest.values()))
    records = instance.fetch_materializations(wanted, limit=len(latest)).records
    return {record.run_id for record in records}


def _remove_folders(folder: Path, before: float) -> int:
    if not folder.is_dir():
        return 0
    old = [each for each in folder.iterdir() if each.is_dir() and each.stat().st_mtime < before]
    for each in old:
        shutil.rmtree(each, ignore_errors=True)
    return len(old)
