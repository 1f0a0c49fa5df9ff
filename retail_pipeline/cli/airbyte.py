"""The commands `airbyte plan`, `apply` and `check`: the files under `airbyte/` on a real server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from retail_pipeline.cli.terminal import confirm
from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from retail_pipeline.ingestion.server import AirbyteServer
    from retail_pipeline.ingestion.server_plan import Plan

app = typer.Typer(
    help="Configure a real Airbyte server from the files under airbyte/.", no_args_is_help=True
)

Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Delete sources of the files' connectors, and their connections, that are not in the "
        "files.",
    ),
]
RenewSecrets = Annotated[
    bool, typer.Option("--renew-secrets", help="Write secrets again; they are never compared.")
]


@app.command("plan")
def plan(prune: Prune = False, renew_secrets: RenewSecrets = False) -> None:
    """Show the changes that `apply` would make; nothing is written.

    With the deletions of --prune: `retail-pipeline airbyte plan --prune`
    """
    with _compared(prune=prune, renew_secrets=renew_secrets) as (_, found):
        typer.echo(found)


@app.command("apply")
def apply(
    prune: Prune = False,
    renew_secrets: RenewSecrets = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before --prune deletes.")
    ] = False,
) -> None:
    """Show the differences and change the server to match the files; --prune also deletes.

    To write secrets again: `retail-pipeline airbyte apply --renew-secrets`
    """
    from retail_pipeline.ingestion import server_plan

    with _compared(prune=prune, renew_secrets=renew_secrets) as (server, found):
        typer.echo(found)
        if found.deletions and not yes:
            confirm(
                f"Permanently delete these {found.deletions} from {server.location}?",
                "apply --prune deletes permanently: confirm with --yes, or use plan to see what",
            )
        for change in server_plan.apply(server, found):
            typer.echo(f"done: {change.sign} {change.kind.title} {change.name}")
        typer.echo(f"{server.location} matches the files")


@app.command("check")
def check() -> None:
    """Show how the server differs from the files, and exit with code 1 if it does.

    Nothing is written. For a script: `retail-pipeline airbyte check`
    """
    with _compared() as (server, found):
        if found.changes:
            typer.echo(found)
            number = len(found.changes)
            raise PipelineError(
                f"the Airbyte server at {server.location} differs from the files in {number} "
                f"object{'s' if number > 1 else ''}: `retail-pipeline airbyte apply` writes "
                "the differences"
            )
        typer.echo(f"{server.location} matches the files")


@contextmanager
def _compared(
    *, prune: bool = False, renew_secrets: bool = False
) -> Iterator[tuple["AirbyteServer", "Plan"]]:
    from retail_pipeline.ingestion import server_plan
    from retail_pipeline.ingestion.server import AirbyteServer
    from retail_pipeline.ingestion.specs import load_folder

    settings = Settings.from_environment()
    values = server_plan.reference_values(settings)
    secrets = [each for name in server_plan.SECRET_REFERENCES if (each := values[name])]
    wanted = server_plan.wanted_objects(load_folder(), values)
    with AirbyteServer(settings.airbyte, secrets) as server:
        yield (
            server,
            server_plan.make_plan(server, wanted, prune=prune, renew_secrets=renew_secrets),
        )
