"""The commands `model list|pin|unpin|rollback`: the stored models, and choosing one by hand."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from retail_pipeline.cli.job import refresh_serving
from retail_pipeline.cli.summary import print_champion
from retail_pipeline.cli.terminal import open_console, print_json, print_table
from retail_pipeline.postgres import Database, Role, open_database
from retail_pipeline.report.summary import read_champion
from retail_pipeline.settings import Settings

app = typer.Typer(help="List the stored models, or choose the served one.", no_args_is_help=True)


@app.command("list")
def list_models(
    everything: Annotated[
        bool, typer.Option("--all", help="Include retired versions that were never served.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show the stored versions: champion, challengers and versions served earlier.

    Every version, for a script: `retail-pipeline model list --all --json`
    """
    from retail_pipeline.clv.evaluation import promotion

    versions = promotion.list_versions(_database(Settings.from_environment()))
    if not everything:
        served = versions["last_served_at"].notna()
        versions = versions[served | (versions["status"] != "retired")]
    rows = json.loads(versions.to_json(orient="records", date_format="iso"))
    if as_json:
        print_json(rows)
    elif rows:
        print_table(open_console(), [_shown(row) for row in rows], "version")
    else:
        open_console().print("no model is stored yet: `retail-pipeline run` trains the models")


@app.command()
def pin(
    version: Annotated[str, typer.Argument(help="A version as shown by `model list`.")],
) -> None:
    """Serve this version for its horizon until it is unpinned, instead of the rule's choice.

    Example: `retail-pipeline model pin pareto_nbd_gamma_gamma-dbec6b618eb44f61`
    """
    _pin(Settings.from_environment(), version)


@app.command()
def unpin(
    horizon_days: Annotated[
        int | None, typer.Option(min=1, help="Horizon in days; default: all horizons with a pin.")
    ] = None,
) -> None:
    """Remove the pin, so that the selection rule chooses the served model again.

    For every horizon: `retail-pipeline model unpin`
    """
    from retail_pipeline.clv.evaluation import promotion

    settings = Settings.from_environment()
    database = _database(settings)
    freed = promotion.unpin(database, horizon_days)
    if not freed:
        open_console().print("no version was pinned")
        return
    for days in freed:
        refresh_serving(settings, days)
    print_champion(read_champion(database), open_console())


@app.command()
def rollback(
    horizon_days: Annotated[
        int | None,
        typer.Option(min=1, help="Horizon in days; default: that of the last run."),
    ] = None,
) -> None:
    """Serve the previously served version again, and pin it.

    After a bad decision: `retail-pipeline model rollback`
    """
    from retail_pipeline.clv.evaluation import promotion

    settings = Settings.from_environment()
    database = _database(settings)
    days = horizon_days or promotion.served_horizon(database)
    _pin(settings, promotion.previous_version(database, days))


def _pin(settings: Settings, version: str) -> None:
    from retail_pipeline.clv.evaluation import promotion

    database = _database(settings)
    refresh_serving(settings, promotion.pin(database, version, datetime.now(UTC)))
    print_champion(read_champion(database), open_console())


def _database(settings: Settings) -> Database:
    return open_database(settings).as_role(Role.SCIENTIST)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table cells of a version, with times cut to days or minutes."""
    return {
        "version": row["model_version"],
        "status": row["status"],
        "pinned": row["is_pinned"],
        "as_of": row["as_of_date"][:10],
        "days": row["horizon_days"],
        "deviance": row["tweedie_deviance"],
        "validated": "extrapolated" if row["is_extrapolated"] else row["validated"],
        "last_served": (row["last_served_at"] or "-")[:16],
    }
