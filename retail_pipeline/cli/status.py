"""The command `status`: the state of the server, and the contents of each layer."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

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
    """Show whether PostgreSQL runs and the rows of each layer, without starting anything.

    For a script: `retail-pipeline status --json`
    """
    settings = Settings.from_environment()
    found = _found(settings.database_url or embedded_server(settings).running_url())
    if as_json:
        print_json(found)
    else:
        _print(found)


def _found(url: str | None) -> dict[str, Any]:
    """Return the location of the server, the state of the data and the summary of the latest run.

    Location and state are None if the server is not running or nothing has been ingested.
    """
    if url is None:
        return {"running": False, "postgres": None, "state": None}
    database = Database(url)
    database.execute("select 1")
    found = {"running": True, "postgres": database.location, "state": None}
    try:
        state = read_state(database)
    except PipelineError:  # nothing has been ingested yet
        return found
    found["state"] = {**dataclasses.asdict(state), "as_of": state.as_of.isoformat()}
    return {**found, **read_summary(database)}


def _print(found: Mapping[str, Any]) -> None:
    console, state = open_console(), found["state"]
    if not found["running"]:
        print_line(console, "PostgreSQL   embedded, not running (`retail-pipeline up` starts it)")
        return
    print_line(console, f"PostgreSQL   {escape(found['postgres'])}")
    if state is None:
        print_line(console, "State        no data yet: `retail-pipeline run` ingests them")
        return
    print_line(console, f"Source       {escape(state['source_id'])}")
    print_line(console, f"As of        {state['as_of']}, generation {state['generation']}")
    print_row_counts(found["rows"], console)
    print_champion(found["champion"], console)
