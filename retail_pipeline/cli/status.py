"""The command `status`: the server, the latest run, and the contents of each layer."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from retail_pipeline.cli.instance import open_instance
from retail_pipeline.cli.summary import print_champion, print_row_counts
from retail_pipeline.cli.terminal import open_console, print_json, print_line
from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.report.summary import read_summary
from retail_pipeline.settings import Settings


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show whether PostgreSQL runs, how the latest run ended, and the rows of each layer.

    Nothing is started.

    For a script: `retail-pipeline status --json`
    """
    settings = Settings.from_environment()
    found = _found(settings, settings.database_url or embedded_server(settings).running_url())
    if as_json:
        print_json(found)
    else:
        _print(found)


def _found(settings: Settings, url: str | None) -> dict[str, Any]:
    """Return the location of the server, the latest run, the state and a summary of the data.

    Location, run and state are None if the server is not running or there is none.
    """
    if url is None:
        return {"running": False, "postgres": None, "latest_run": None, "state": None}
    database = Database(url)
    database.execute("select 1")
    found = {"running": True, "postgres": database.location, "latest_run": None, "state": None}
    if _has_instance(database):
        found["latest_run"] = _latest_run(settings)
    try:
        state = read_state(database)
    except PipelineError:  # nothing has been ingested yet
        return found
    found["state"] = {**dataclasses.asdict(state), "as_of": state.as_of.isoformat()}
    return {**found, **read_summary(database)}


def _has_instance(database: Database) -> bool:
    with database.connect() as connection:
        found = connection.execute(
            "select 1 from pg_database where datname = %s", [f"{database.name}_dagster"]
        )
        return found.fetchone() is not None


def _latest_run(settings: Settings) -> dict[str, Any] | None:
    """Return the latest run of any job: id, job, status, end and the reasons of a failure."""
    from retail_pipeline.automation.alerts import outcome_of

    with open_instance(settings) as instance:
        for record in instance.get_run_records(limit=1):
            run, ended = record.dagster_run, record.end_time
            causes = outcome_of(instance, run, lambda _: ()).causes if run.is_failure else ()
            return {
                "run_id": run.run_id,
                "job": run.job_name,
                "status": run.status.value.lower(),
                "ended_at": ended and datetime.fromtimestamp(ended, UTC).isoformat("T", "seconds"),
                "reasons": [cause.reason for cause in causes if not cause.is_warning],
            }
    return None


def _print(found: Mapping[str, Any]) -> None:
    console, state = open_console(), found["state"]
    if not found["running"]:
        print_line(console, "PostgreSQL   embedded, not running (`retail-pipeline up` starts it)")
        return
    print_line(console, f"PostgreSQL   {escape(found['postgres'])}")
    if run := found["latest_run"]:
        ended = f", ended {run['ended_at']}" if run["ended_at"] else ""
        words = f"{run['job']} {run['run_id'][:8]}: {run['status']}{ended}"
        print_line(console, f"Latest run   {escape(': '.join([words, *run['reasons'][:1]]))}")
    if state is None:
        print_line(console, "State        no data yet: `retail-pipeline run` ingests them")
        return
    print_line(console, f"Source       {escape(state['source_id'])}")
    print_line(console, f"As of        {state['as_of']}, generation {state['generation']}")
    print_row_counts(found["rows"], console)
    print_champion(found["champion"], console)
