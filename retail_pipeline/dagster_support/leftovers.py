"""Rows of Dagster's event log that the removal of a run leaves: check results, freshness changes.

Both grow with every run, and Dagster has no retention for them.
"""

from datetime import datetime
from typing import Any

from dagster import DagsterInstance
from dagster._core.events import DagsterEventType
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import delete, func, select


def delete_leftovers(instance: DagsterInstance, before: datetime) -> int:
    """Delete check results and changes of freshness before an instant; return their number.

    The latest of each check and asset stay, because they describe the asset.

    Args:
        instance: The Dagster instance.
        before: The instant, in UTC.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    at = before.replace(tzinfo=None)  # as Dagster stores it
    checks, events = AssetCheckExecutionsTable.c, SqlEventLogStorageTable.c
    is_change = events.dagster_event_type == DagsterEventType.FRESHNESS_STATE_CHANGE.value
    latest_checks = select(func.max(checks.id)).group_by(checks.asset_key, checks.check_name)
    latest_changes = select(func.max(events.id)).where(is_change).group_by(events.asset_key)
    outdated: list[Any] = [
        delete(AssetCheckExecutionsTable).where(
            checks.create_timestamp < at, checks.id.not_in(latest_checks)
        ),
        delete(SqlEventLogStorageTable).where(
            is_change, events.timestamp < at, events.id.not_in(latest_changes)
        ),
    ]
    with storage.index_connection() as connection:
        return sum(connection.execute(each).rowcount for each in outdated)
