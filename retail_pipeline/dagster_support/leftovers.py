"""Rows of Dagster's event log that the removal of a run leaves: check results, freshness changes.

Both grow with every run, and Dagster has no retention for them.
"""

from datetime import datetime
from typing import Final

from dagster import DagsterInstance
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import text

_OUTDATED: Final = (
    "delete from asset_check_executions where create_timestamp < :before and id not in "
    "(select max(id) from asset_check_executions group by asset_key, check_name)",
    "delete from event_logs where dagster_event_type = 'FRESHNESS_STATE_CHANGE' "
    "and timestamp < :before and id not in (select max(id) from event_logs "
    "where dagster_event_type = 'FRESHNESS_STATE_CHANGE' group by asset_key)",
)


def delete_leftovers(instance: DagsterInstance, before: datetime) -> int:
    """Delete check results and changes of freshness before an instant; return their number.

    The latest of each check and asset stay, because they describe the asset. Storage that is not in
    PostgreSQL, such as that of a bare `dagster dev`, is left alone.

    Args:
        instance: The Dagster instance.
        before: The instant, in UTC.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEventLogStorage):
        return 0
    at = {"before": before.replace(tzinfo=None)}  # as Dagster stores it
    with storage.index_connection() as connection:
        return sum(connection.execute(text(each), at).rowcount for each in _OUTDATED)
