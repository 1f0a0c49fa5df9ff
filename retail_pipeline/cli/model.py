"""The commands `model list|pin|unpin|rollback`: which stored model serves, by rule or by hand."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from retail_pipeline.cli.run import refresh_serving
from retail_pipeline.cli.summary import open_console, print_champion
from retail_pipeline.postgres import (
    Database,
    Role,
    open_database,
)
from retail_pipeline.report.summary import read_champion
from retail_pipeline.settings import (
    Settings,
    parse_horizon,
)

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(help="The stored models and which one serves.", no_args_is_help=True)

Horizon = Annotated[
    int | None,
    typer.Option("--horizon-days", help="The horizon it is about; default: that of the last run."),
]


@app.command("list")
def list_models(
    everything: Annotated[
        bool, typer.Option("--all", help="Retired versions that never served, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show the stored versions: the champion, the challengers, and what served before."""
    from retail_pipeline.clv.evaluation import promotion

    versions = promotion.list_versions(_database(Settings.from_environment()))
    if not everything:
        shown = (versions["status"] != "retired") | versions["last_served_at"].notna()
        versions = versions[shown]
    if as_json:
        text = versions.to_json(orient="records", date_format="iso")
        sys.stdout.write(json.dumps(json.loads(text), indent=1) + "\n")
    elif versions.empty:
        open_console().print("no model is stored yet: `retail-pipeline run` trains them")
    else:
        open_console().print(_table(versions))


@app.command()
def pin(
    version: Annotated[str, typer.Argument(help="A version, as `model list` shows it.")],
) -> None:
    """Let this version serve its horizon, whatever the rule says, until it is unpinned."""
    _pin(Settings.from_environment(), version)


@app.command()
def unpin(
    horizon_days: Annotated[
        int | None,
        typer.Option("--horizon-days", help="The horizon it is about; default: all with a pin."),
    ] = None,
) -> None:
    """Let the rule choose again."""
    from retail_pipeline.clv.evaluation import promotion

    settings = Settings.from_environment()
    database = _database(settings)
    given = None if horizon_days is None else parse_horizon(horizon_days, "--horizon-days")
    freed = promotion.unpin(database, given)
    if not freed:
        open_console().print("no version was pinned")
    for days in freed:
        refresh_serving(settings, days)
    if freed:
        print_champion(read_champion(database), open_console())


@app.command()
def rollback(horizon_days: Horizon = None) -> None:
    """Let the version serve that served before the present one, and pin it."""
    from retail_pipeline.clv.evaluation import promotion

    settings = Settings.from_environment()
    database = _database(settings)
    days = (
        promotion.served_horizon(database)
        if horizon_days is None
        else parse_horizon(horizon_days, "--horizon-days")
    )
    _pin(settings, promotion.previous_version(database, days))


def _pin(settings: Settings, version: str) -> None:
    from retail_pipeline.clv.evaluation import promotion

    database = _database(settings)
    refresh_serving(settings, promotion.pin(database, version, datetime.now(UTC)))
    print_champion(read_champion(database), open_console())


def _database(settings: Settings) -> Database:
    return open_database(settings).as_role(Role.SCIENTIST)


def _table(versions: "pd.DataFrame") -> Table:
    import pandas as pd

    table = Table(box=None, pad_edge=False)
    headings = ("version", "status", "as of", "days", "deviance", "validated", "KiB", "served")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position < 2 else "right", no_wrap=True)
    for row in versions.to_dict("records"):
        served, size = row["last_served_at"], row["artifact_bytes"]
        table.add_row(
            row["model_version"],
            row["status"] + (", pinned" if row["is_pinned"] else ""),
            f"{row['as_of_date']:%Y-%m-%d}",
            str(row["horizon_days"]),
            "-" if pd.isna(row["tweedie_deviance"]) else f"{row['tweedie_deviance']:.4g}",
            _validated(row),
            "-" if pd.isna(size) else f"{size / 1024:,.1f}",
            "-" if pd.isna(served) else f"{served:%Y-%m-%d %H:%M}",
        )
    return table


def _validated(row: Mapping[Any, Any]) -> str:
    if row["validated"]:
        return "yes"
    return "no, extrapolated" if row["is_extrapolated"] else "no"
