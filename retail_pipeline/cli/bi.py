"""The commands of `bi`: dashboards in a Superset of their own."""

import sys
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import open_database
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from retail_pipeline.bi.applying import Change
    from retail_pipeline.bi.superset import Superset

PORT = 8088

app = typer.Typer(help="Show dashboards in Superset.", no_args_is_help=True)


@app.command("up")
def up(
    port: Annotated[int, typer.Option(help="Port of Superset on 127.0.0.1.")] = PORT,
) -> None:
    """Start Superset with the dashboards; the first time, install it (about 750 MB).

    If port 8088 is in use: `retail-pipeline bi up --port 8089`
    """
    from retail_pipeline.bi.applying import apply_bundle

    settings, superset = _opened()
    database = open_database(settings)
    if not superset.is_installed:
        typer.echo("Installing Superset, once ...")
        started = monotonic()
        superset.install()
        typer.echo(
            f"  {superset.size_mib()} MB in {superset.folder}, {monotonic() - started:.0f} seconds"
        )
    is_new = not superset.logins_file.exists()
    _set_up(superset)
    typer.echo("Applying superset/assets ...")
    _print_changes(apply_bundle(superset, database))
    typer.echo("Starting Superset ...")
    address = superset.start(port)
    typer.echo(f"Dashboards: {address}/dashboard/list/")
    if is_new and sys.stdout.isatty():
        for name, password in superset.logins().items():
            typer.echo(f"  {name:8} {password}")
    typer.echo(f"Logins admin, analyst and viewer; their passwords: {superset.logins_file}")


@app.command("apply")
def apply() -> None:
    """Bring Superset to the state of superset/assets, in one transaction; show what changed.

    Changes made by hand in Superset are overwritten. After an edit: `retail-pipeline bi apply`
    """
    from retail_pipeline.bi.applying import apply_bundle

    settings, superset = _opened()
    _set_up(superset)
    _print_changes(apply_bundle(superset, open_database(settings)))


@app.command("check")
def check() -> None:
    """Show how Superset differs from superset/assets, and exit with code 1 if it does.

    Nothing is written. For a script: `retail-pipeline bi check`
    """
    from retail_pipeline.bi.applying import apply_bundle

    settings, superset = _opened()
    changes = apply_bundle(superset, open_database(settings), write=False)
    if changes:
        _print_changes(changes)
        raise PipelineError(
            f"Superset differs from superset/assets in {len(changes)} points: "
            "`retail-pipeline bi apply` brings it to their state"
        )
    typer.echo("Superset matches superset/assets")


@app.command("down")
def down() -> None:
    """Stop Superset; its environment and its data stay.

    At the end of the day: `retail-pipeline bi down`
    """
    _, superset = _opened()
    typer.echo("Superset stopped" if superset.stop() else "Superset was not running")


@app.command("serve")
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = PORT,
) -> None:
    """Run Superset in the foreground; `bi apply` has set it up. The service in Compose does this.

    Under a process manager: `retail-pipeline bi serve`
    """
    _, superset = _opened()
    superset.serve(host, port)


def _opened() -> tuple[Settings, "Superset"]:
    from retail_pipeline.bi.superset import Superset

    settings = Settings.from_environment()
    return settings, Superset(settings.home / "superset")


def _set_up(superset: "Superset") -> None:
    if superset.is_installed and not superset.is_set_up:
        typer.echo("Preparing Superset's own database ...")
        superset.set_up()


def _print_changes(changes: Sequence["Change"]) -> None:
    for change in changes:
        typer.echo(f"  {change}")
    typer.echo(f"{len(changes)} changes" if changes else "nothing to change")
