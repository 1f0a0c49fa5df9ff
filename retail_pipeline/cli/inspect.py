"""The command `status`: what is running and what the layers hold; starts nothing."""

import dataclasses
import json
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape

from retail_pipeline.cli.summary import open_console, print_champion, print_row_counts
from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.report.summary import read_champion, read_row_counts, read_summary
from retail_pipeline.settings import Settings


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show what is running and what the layers hold; starts nothing."""
    settings = Settings.from_environment()
    url = settings.database_url or embedded_server(settings).running_url()
    database = Database(url) if url else None
    if as_json:
        sys.stdout.write(json.dumps(_as_json(database), indent=1) + "\n")
    else:
        _print(database)


def _as_json(database: Database | None) -> dict[str, Any]:
    found: dict[str, Any] = {"running": database is not None, "postgres": None, "state": None}
    if database is None:
        return found
    database.execute("select 1")
    found["postgres"] = database.location
    try:
        state = read_state(database)
    except PipelineError:
        return found
    found["state"] = {**dataclasses.asdict(state), "as_of": state.as_of.isoformat()}
    return {**found, **read_summary(database)}


def _print(database: Database | None) -> None:
    console = open_console()
    if database is None:
        console.print("PostgreSQL   embedded, not running (`retail-pipeline up` starts it)")
        return
    database.execute("select 1")
    console.print(f"PostgreSQL   {escape(database.location)}")
    try:
        state = read_state(database)
    except PipelineError as error:
        console.print(f"State        {escape(str(error))}")
        return
    console.print(f"Source       {escape(state.source_id)}")
    console.print(f"As of        {state.as_of}, generation {state.generation}")
    print_row_counts(read_row_counts(database), console)
    print_champion(read_champion(database), console)
