"""A `dbt build` as a part of a Dagster step: its start, its events with metadata, its failure."""

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import dagster as dg
import psycopg
from dagster_dbt import DbtCliInvocation
from dagster_dbt.asset_utils import get_updated_cli_invocation_params_for_context
from packaging.version import Version

from retail_pipeline.dagster_support.asset_results import columns_of
from retail_pipeline.dagster_support.retrying import retry
from retail_pipeline.errors import FAILED_ASSETS
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.lost import says_lost_connection
from retail_pipeline.warehouse.metadata import (
    Sources,
    count_and_version,
    count_of_view,
    lineage_metadata,
    sources_of,
)
from retail_pipeline.warehouse.project import REASON, dbt_program
from retail_pipeline.warehouse.results import read_failures
from retail_pipeline.warehouse.translator import WarehouseTranslator

# Unit tests test the SQL, not the data; they run in the test suite.
_ALL_BUT_UNIT_TESTS: Final = ("--exclude-resource-type", "unit_test")


def started(
    context: dg.AssetExecutionContext,
    environment: Mapping[str, str],
    artifacts: Path,
    *,
    command: Sequence[str] | None = None,
    selection: Sequence[str] | None = None,
) -> DbtCliInvocation:
    """Return a started `dbt build`.

    `DbtCliResource.cli` is not used, because it would first run `dbt --version` and import dbt's
    adapter into this process, which takes about three seconds per run.

    Args:
        context: The step.
        environment: dbt's environment variables.
        artifacts: The folder of dbt's artifacts.
        command: A program that builds everything and writes dbt's log and artifacts; by default
            dbt itself.
        selection: dbt's arguments of selection; by default those of the run's selection.
    """
    chosen = get_updated_cli_invocation_params_for_context(context, {}, WarehouseTranslator())
    assert chosen.dbt_project is not None
    project = Path(chosen.dbt_project.project_dir)
    indirect = {"DBT_INDIRECT_SELECTION": chosen.indirect_selection or ""}
    wanted = chosen.selection_args if selection is None else selection
    return DbtCliInvocation.run(
        args=[*(command or [dbt_program(), "build", *_ALL_BUT_UNIT_TESTS, *wanted])],
        env={
            **os.environ,
            **environment,
            "DBT_LOG_FORMAT": "json",
            "DBT_LOG_PATH": str(artifacts),
            "DBT_PROFILES_DIR": str(project),
            "DBT_TARGET_PATH": str(artifacts),
            "PYTHONUNBUFFERED": "1",
            **(indirect if chosen.indirect_selection and selection is None else {}),
        },
        manifest=chosen.manifest,
        dagster_dbt_translator=chosen.dagster_dbt_translator,
        project_dir=project,
        target_path=artifacts,
        raise_on_error=False,
        context=context,
        adapter=None,
        cli_version=Version(importlib.metadata.version("dbt-core")),
        dbt_project=chosen.dbt_project,
    )


def made_from(database: Database, as_of: date) -> Mapping[str, Any]:
    """Return the metadata that all tables of a build share."""
    return {"as_of": as_of.isoformat(), "generation": read_state(database).generation}


class InPostgres:
    """The built tables in PostgreSQL, as Dagster's metadata describe them.

    Args:
        connection: A connection that may read them, in autocommit.
        made_from: The metadata that all tables share.
    """

    dialect = "postgres"

    def __init__(self, connection: psycopg.Connection, made_from: Mapping[str, Any]) -> None:
        self.connection = connection
        self._made_from = made_from

    def described(self, event: Any, invocation: DbtCliInvocation) -> Any:
        """Return the event of a built table with row count, columns, lineage and data version.

        Events of other kinds are returned as they are.
        """
        if not isinstance(event, dg.Output):
            return event
        unique_id = str(event.metadata["unique_id"].value)
        node = invocation.manifest["nodes"][unique_id]
        table = ".".join(WarehouseTranslator().get_asset_key(node).path)
        rows, version = self.count(table, is_view=node["config"]["materialized"] == "view")
        sources = self._sources(invocation, node)
        seconds = event.metadata.get("Execution Duration")
        return dg.Output(
            value=event.value,
            output_name=event.output_name,
            data_version=version,
            metadata={
                **event.metadata,
                **({"dagster/row_count": rows} if rows is not None else {}),
                "dagster/column_schema": self.columns(table),
                **(lineage_metadata(sources) if sources else {}),
                **({"seconds": seconds} if seconds else {}),
                **self._made_from,
            },
        )

    def count(self, table: str, *, is_view: bool) -> tuple[int | None, dg.DataVersion | None]:
        """Return the number of rows, None if counting takes long, and a digest of a table."""
        if is_view:
            return count_of_view(self.connection, table), None
        return count_and_version(self.connection, table)

    def columns(self, table: str) -> dg.TableSchema:
        """Return the columns of a table or view."""
        return columns_of(self.connection, table)

    def _sources(self, invocation: DbtCliInvocation, node: Mapping[str, Any]) -> Sources:
        """Return the source columns of each column of a model; empty for seeds and snapshots."""
        if node["resource_type"] != "model":
            return {}
        nodes = {**invocation.manifest["sources"], **invocation.manifest["nodes"]}
        inputs = {}
        for parent in node["depends_on"]["nodes"]:
            key = WarehouseTranslator().get_asset_key(nodes[parent])
            inputs[key] = [c.name for c in self.columns(".".join(key.path)).columns]
        compiled = invocation.target_path / "compiled" / node["package_name"]
        query = (compiled / node["original_file_path"]).read_text()
        return sources_of(query, inputs, self.dialect)


def raise_failure(invocation: DbtCliInvocation) -> None:
    """Raise the failure of a build that has ended, if it failed.

    Raises:
        dagster.Failure: A model or a test of severity error failed; the message names it.
        dagster.RetryRequested: A database connection was lost.
    """
    error = invocation.get_error()
    if error is None:
        return
    failures = read_failures(invocation.target_path)
    reason = invocation.target_path / REASON
    message = failures.message if failures else str(error)
    if reason.exists():
        message = reason.read_text()
    if says_lost_connection(message):
        raise retry() from error
    tables = failures.tables if failures else {}
    raise dg.Failure(
        description=message,
        metadata={
            "artifacts": str(invocation.target_path),
            FAILED_ASSETS: {"/".join(table): reason for table, reason in tables.items()},
        },
        # A retry would fail again, as the data are the same.
        allow_retries=False,
    )
