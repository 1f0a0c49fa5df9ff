"""Retention: the job that removes old runs with their events, check results and logs.

The run of an asset's latest materialization stays, because it describes the asset. Tables of the
warehouse are not changed. `deploy/dagster.yaml` sets the retention of ticks.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import pydantic

KEEP_DAYS = 90


class UpkeepConfig(dg.Config):
    """The retention of finished runs."""

    keep_days: int = pydantic.Field(
        default=KEEP_DAYS, ge=1, description="Finished runs older than this many days are removed."
    )


@dg.op
def remove_old_runs(context: dg.OpExecutionContext, config: UpkeepConfig) -> None:
    """Remove finished runs, with their events, check results and logs, after the retention time."""
    # A local import, because SQLAlchemy would slow down each load of the code.
    from retail_pipeline.dagster_support.leftovers import delete_leftovers

    before = datetime.now(UTC) - timedelta(days=config.keep_days)
    removed = remove_older(context.instance, before)
    leftovers = delete_leftovers(context.instance, before)
    context.log.info(
        f"removed {removed} runs that ended before {before:%Y-%m-%d}, and {leftovers} results of "
        "checks and changes of freshness"
    )
    context.add_output_metadata({"runs": removed, "leftovers": leftovers})


def build_upkeep_job(name: str, tags: Mapping[str, str]) -> dg.JobDefinition:
    """Return the job that removes old runs, with their events and logs."""

    @dg.job(
        name=name,
        tags=dict(tags),
        executor_def=dg.in_process_executor,
        description="Remove finished runs, with their events and logs, after the retention time.",
    )
    def upkeep() -> None:
        remove_old_runs()

    return upkeep


def remove_older(instance: dg.DagsterInstance, before: datetime) -> int:
    """Remove finished runs that were last updated before an instant; return their number.

    Args:
        instance: The Dagster instance.
        before: The instant; runs that were updated later stay.
    """
    statuses = dg.DagsterRunStatus
    finished = [statuses.SUCCESS, statuses.FAILURE, statuses.CANCELED]
    old = set(instance.get_run_ids(dg.RunsFilter(statuses=finished, updated_before=before)))
    old -= _latest_runs(instance)
    for run_id in old:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
    return len(old)


def _latest_runs(instance: dg.DagsterInstance) -> set[str]:
    """Return the ids of the runs of the latest materializations, including those of partitions."""
    made = dg.DagsterEventType.ASSET_MATERIALIZATION
    found = set()
    for key in instance.all_asset_keys():
        event = instance.get_latest_materialization_event(key)
        found |= {event.run_id} if event is not None else set()
        latest = instance.event_log_storage.get_latest_storage_id_by_partition(key, made)
        if latest:
            wanted = dg.AssetRecordsFilter(key, storage_ids=list(latest.values()))
            records = instance.fetch_materializations(wanted, limit=len(latest)).records
            found |= {record.run_id for record in records}
    return found
