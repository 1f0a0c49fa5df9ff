"""Dagster's run, event and schedule storage in PostgreSQL, with connections that stay open.

dagster-postgres opens a connection for every statement and queries the columns of its own tables
at every event: three connections per event, more than a thousand in one run of the pipeline. Here
each storage has a connection pool that tests a connection before use, so that a server restart
causes no error. Tables and columns that were found once are not queried again. `dagster.yaml`
refers to this class, which is independent of the pipeline.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import create_engine

_MOST_CONNECTIONS = 20
"""Most connections of one storage in a process: a webserver runs up to that many queries at once.
"""


class PooledPostgresStorage(DagsterPostgresStorage):
    """The storage of dagster-postgres with connection pools and the same configuration."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        self.postgres_url = postgres_url
        self.should_autocreate_tables = should_autocreate_tables
        self._inst_data = inst_data
        self._run_storage = _pooled(PostgresRunStorage(postgres_url, should_autocreate_tables))
        self._event_log_storage = _pooled(_EventLogStorage(postgres_url, should_autocreate_tables))
        self._schedule_storage = _pooled(
            PostgresScheduleStorage(postgres_url, should_autocreate_tables)
        )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """Return the storage that a block of `dagster.yaml` configures."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
        )


class _EventLogStorage(PostgresEventLogStorage):
    """The event log storage, which queries the columns of its tables only once."""

    def __init__(self, postgres_url: str, should_autocreate_tables: bool) -> None:
        self._found: set[str] = set()
        super().__init__(postgres_url, should_autocreate_tables)

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._found and super().has_table(table_name):
            self._found.add(table_name)
        return table_name in self._found

    def _has_asset_key_col_on_connection(self, conn: Any, column_name: str) -> bool:
        name = f"asset_keys.{column_name}"
        if name not in self._found and super()._has_asset_key_col_on_connection(conn, column_name):
            self._found.add(name)
        return name in self._found


_Storage = TypeVar("_Storage", PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage)


def _pooled(storage: _Storage) -> _Storage:
    storage._engine = create_engine(
        storage.postgres_url,
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        max_overflow=_MOST_CONNECTIONS - 1,
        pool_pre_ping=True,
    )
    return storage
