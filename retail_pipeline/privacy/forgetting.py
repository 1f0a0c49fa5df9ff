"""Removal of a person's data from all storage of the pipeline, such that no later sync restores it.

The person is added to the suppression list first. Then their details are read, Dagster's storage
and the files are redacted, the rows of the marts and of customer value are deleted, and the landed
rows last. Then the tables are rewritten, because the files still contain the bytes of deleted rows.
An interrupted call is simply repeated: until the landed rows are deleted their details can be read
again, and every call rewrites every table.

Aggregates over many people keep the old totals until the next build, which leaves out the person's
revenue; models and figures follow in the same run.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database, open_database
from retail_pipeline.postgres.open import embedded_server, sibling_url
from retail_pipeline.postgres.scratch import drop_abandoned
from retail_pipeline.postgres.server import EmbeddedServer
from retail_pipeline.privacy.artifacts import redact_files
from retail_pipeline.privacy.mentions import redact_dagster
from retail_pipeline.privacy.suppression import SuppressionKey
from retail_pipeline.privacy.tables import (
    Removed,
    Table,
    connected,
    person_of,
    read_tables,
    remove_rows,
    rewrite,
)
from retail_pipeline.settings import PROJECT_ROOT, AirbyteMode, Settings, SimulatorSource

_DBT_FOLDERS = ("logs", "target")
"""Folders of `dbt_project` that dbt writes to when it is called by hand."""


@dataclass
class Outcome:
    """The places with removed data, in order, and the places that were not reached."""

    removed: list[Removed] = field(default_factory=list)
    not_reached: list[str] = field(default_factory=list)


def forget(
    settings: Settings, customer_id: str, *, while_running: bool = False, dry_run: bool = False
) -> Outcome:
    """Remove a customer's data and suppress their records in later syncs; idempotent.

    Args:
        settings: The settings with the database, the suppression key and the home.
        customer_id: The id, unchanged.
        while_running: Whether to continue although Dagster lists an unfinished run, for example
            one whose process was killed.
        dry_run: Whether only to count, without changes; a missing suppression key is created.

    Returns:
        The places with removed data, none if there was none of the person, and what is not reached.

    Raises:
        UsageError: The id is empty.
        PipelineError: A run is unfinished, the suppression list belongs to another key, or a
            session locks a table for too long; in the last case another call finishes the work.
    """
    if not customer_id.strip():
        raise UsageError("the customer's id is empty")
    database = open_database(settings)
    dagster = _dagster(database)
    if dagster is not None and not (while_running or dry_run):
        _refuse_while_running(dagster)
    key = SuppressionKey.of(settings, create=True)
    abandoned = [] if dry_run else drop_abandoned(database)
    _suppress(database, key, customer_id, dry_run)
    person = person_of(database, customer_id)
    pattern = person.pattern()
    events = _redact_dagster(dagster, pattern, dry_run) if dagster else {}
    files = _redact_files(settings, pattern, dry_run)
    tables = read_tables(database)
    ours = [each for each in tables if not each.is_foreign]
    rows = remove_rows(database, ours, key, person, dry_run)
    not_reached = _not_reached(settings, [each for each in tables if each.is_foreign])
    if not dry_run:
        rewrite(database, ours)
        if dagster is not None:
            searched = {place.partition(".")[0] for place in events}
            rewrite(dagster, [Table("public", name, None, False, ()) for name in sorted(searched)])
        not_reached += _discard_deleted_bytes(settings, [database, dagster])
    removed = [
        *(Removed(name, "database", 1) for name in abandoned),
        *rows,
        *(Removed(f"dagster: {place}", "mentions", count) for place, count in events.items()),
        *files.removed,
    ]
    return Outcome([each for each in removed if each.count], [*not_reached, *files.not_reached])


def _suppress(database: Database, key: SuppressionKey, customer_id: str, dry_run: bool) -> None:
    """Add the customer to the suppression list, or only test its key."""
    with connected(database) as connection:
        key.check_list(connection)
        if dry_run:
            return
        # Waits for committing syncs; a sync that is still reading will refuse to commit.
        connection.execute("lock table quality.source_state in exclusive mode")
        connection.execute(
            "insert into quality.suppressed_customers (customer_hash, key_id) values (%s, %s) "
            "on conflict do nothing",
            [key.digest(customer_id), key.id],
        )


def _dagster(database: Database) -> Database | None:
    """Return Dagster's database beside the warehouse, if there is one."""
    name = f"{database.name}_dagster"
    with database.connect() as connection:
        found = connection.execute("select from pg_database where datname = %s", [name]).fetchone()
    return Database(sibling_url(database.url, name)) if found is not None else None


def _refuse_while_running(dagster: Database) -> None:
    with dagster.connect() as connection:
        if connection.execute("select to_regclass('public.runs')").fetchone() == (None,):
            return
        row = connection.execute(
            "select run_id from public.runs where status in ('STARTING', 'STARTED', 'CANCELING')"
        ).fetchone()
    if row is not None:
        raise PipelineError(
            f"the run {row[0]} is unfinished and could store the person's data again: wait for "
            "its end, or, if its process has died, use --while-running"
        )


def _redact_dagster(dagster: Database, pattern: re.Pattern[str], dry_run: bool) -> dict[str, int]:
    """Redact Dagster's storage; return the number of changed rows of every searched column."""
    with connected(dagster) as connection:
        counts = redact_dagster(connection, pattern)
        if dry_run:
            connection.rollback()
    return counts


def _redact_files(settings: Settings, pattern: re.Pattern[str], dry_run: bool) -> Outcome:
    outcome = Outcome()
    # Parquet files are compressed, so a person is not found in them; the next run makes them again.
    for address in sorted({settings.lake_address, str(settings.home / "lake")}):
        files = Lake(address).remove(dry_run=dry_run)
        outcome.removed.append(Removed(address, "files", files))
    for folder in (settings.home, *(PROJECT_ROOT / "dbt_project" / name for name in _DBT_FOLDERS)):
        for file in redact_files(folder, pattern, write=not dry_run):
            if file.removed:
                outcome.removed.append(Removed(str(file.path), "file", 1))
            elif file.mentions:
                outcome.removed.append(Removed(str(file.path), "mentions", file.mentions))
            else:
                outcome.not_reached.append(f"the file {file.path}, which cannot be searched")
    return outcome


def _discard_deleted_bytes(settings: Settings, databases: Sequence[Database | None]) -> list[str]:
    """Remove what the server keeps of deleted rows in statistics and in the write-ahead log.

    Returns:
        The places that are not reached.
    """
    for database in filter(None, databases):
        with connected(database, rewritten="pg_catalog.pg_statistic") as connection:
            connection.execute("vacuum (full) pg_catalog.pg_statistic")
    if settings.database_url is not None:
        return ["the write-ahead log of your PostgreSQL server, which is overwritten in time"]
    try:
        return _empty_write_ahead_log(embedded_server(settings))
    except psycopg.errors.InsufficientPrivilege as refusal:
        return [
            f"the write-ahead log, which is overwritten in time ({refusal.diag.message_primary})"
        ]


def _empty_write_ahead_log(server: EmbeddedServer) -> list[str]:
    with Database(sibling_url(server.start(), "postgres")).connect(autocommit=True) as connection:
        if connection.execute("show wal_recycle").fetchone() != ("off",):
            return [
                "the write-ahead log, because the server was started by an earlier version: run "
                "`retail-pipeline down`, then this command again"
            ]
        connection.execute("checkpoint")
        # Segments that an earlier version has recycled are used up; a checkpoint deletes them.
        for _ in list((server.folder / "data" / "pg_wal").glob("0*")):
            connection.execute("select pg_logical_emit_message(false, '', ''), pg_switch_wal()")
        connection.execute("checkpoint")
    return []


def _not_reached(settings: Settings, foreign: Sequence[Table]) -> list[str]:
    """Return the places that may hold the person and are not searched."""
    places = [f"the table {each.place}, which belongs to {each.role}" for each in foreign]
    if not isinstance(settings.source, SimulatorSource):
        places.append(f"the source {settings.source}, which still has the customer")
    if settings.airbyte.mode is AirbyteMode.SERVER:
        places.append(f"state and logs of the Airbyte server at {settings.airbyte.url}")
    if settings.alert_webhook or settings.alert_email:
        places.append("alerts that were sent")
    if "://" in settings.lake_address:
        places.append(f"earlier versions of objects in {settings.lake_address}, if it keeps them")
    unused = embedded_server(settings).folder / "data"
    if settings.database_url is not None and unused.exists():
        places.append(f"the embedded server's data in {unused}, while another server is set")
    own = os.environ.get("DAGSTER_HOME")
    if own and Path(own).absolute() != (settings.home / "dagster").absolute():
        places.append(f"Dagster's storage in {own}")
    places += [f"Dagster's storage in {each}" for each in PROJECT_ROOT.glob(".tmp_dagster_home_*")]
    return [*places, "backups, and files of your own (exports, `evaluate --output`)"]
