"""The commands `airbyte plan`, `apply` and `check`: the files under `airbyte/` on a real server."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from retail_pipeline.ingestion.server_plan import Provisioning

app = typer.Typer(
    help="A real Airbyte server, from the files under airbyte/.", no_args_is_help=True
)

Prune = Annotated[
    bool,
    typer.Option("--prune", help="Delete what an earlier apply made and the files no longer have."),
]
RenewSecrets = Annotated[
    bool, typer.Option("--renew-secrets", help="Write secrets again: they are never compared.")
]


@app.command("plan")
def plan(prune: Prune = False, renew_secrets: RenewSecrets = False) -> None:
    """Show what `apply` would write; nothing is written."""
    with _provisioning() as provisioning:
        found = provisioning.plan(prune=prune, renew_secrets=renew_secrets)
        sys.stdout.write(f"{found}\n")


@app.command("apply")
def apply(prune: Prune = False, renew_secrets: RenewSecrets = False) -> None:
    """Show what differs, then make the server as the files say; without --prune nothing goes."""
    with _provisioning() as provisioning:
        found = provisioning.plan(prune=prune, renew_secrets=renew_secrets)
        sys.stdout.write(f"{found}\n")
        sys.stdout.flush()
        for change in provisioning.apply(found):
            sys.stdout.write(f"done: {change.action} {change.kind.title} {change.name}\n")
        Console().print(f"{provisioning.location} is as the files say")


@app.command("check")
def check() -> None:
    """Say how the server differs from the files; exit code 1 if it does. Nothing is written."""
    with _provisioning() as provisioning:
        found = provisioning.plan()
        for change in found.changes:
            sys.stdout.write(f"{change}\n")
        if found.changes or found.stale_file:
            number = len(found.changes)
            what = f"differs from the files in {number} object{'s' if number > 1 else ''}"
            raise PipelineError(
                f"the Airbyte server at {provisioning.location} "
                f"{what if number else 'has other ids than were written down'}: "
                "`retail-pipeline airbyte apply` writes what is missing"
            )
        Console().print(f"{provisioning.location} is as the files say")


def _provisioning() -> "Provisioning":
    from retail_pipeline.ingestion.server_plan import Provisioning
    from retail_pipeline.ingestion.specs import load_folder

    return Provisioning(Settings.from_environment(), load_folder())
