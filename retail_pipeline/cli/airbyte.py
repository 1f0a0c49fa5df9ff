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
    help="A real Airbyte server, from the files under airbyte/.", no_args_is_help=True
)

Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Delete sources of the files' connectors, and connections of those sources, that the "
        "files do not have.",
    ),
]
RenewSecrets = Annotated[
    bool, typer.Option("--renew-secrets", help="Write secrets again: they are never compared.")
]


@app.command("plan")
def plan(prune: Prune = False, renew_secrets: RenewSecrets = False) -> None:
    """Show what `apply` would write; nothing is written.

    With what it would delete: `retail-pipeline airbyte plan --prune`
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
    """Show the differences, then make the server as the files say; --prune also deletes.

    Secrets again: `retail-pipeline airbyte apply --renew-secrets`
    """
    from retail_pipeline.ingestion import server_plan

    with _compared(prune=prune, renew_secrets=renew_secrets) as (server, found):
        typer.echo(found)
        if found.deletions and not yes:
            confirm(
                f"Delete these {found.deletions} from {server.location}, for good?",
                "apply --prune deletes from the server for good: say --yes, or see what with plan",
            )
        for change in server_plan.apply(server, found):
            typer.echo(f"done: {change.sign} {change.kind.title} {change.name}")
        typer.echo(f"{server.location} is as the files say")


@app.command("check")
def check() -> None:
    """Show how the server differs from the files; exit code 1 if it does. Nothing is written.

    For a script: `retail-pipeline airbyte check`
    """
    with _compared() as (server, found):
        if found.changes:
            typer.echo(found)
            number = len(found.changes)
            raise PipelineError(
                f"the Airbyte server at {server.location} differs from the files in {number} "
                f"object{'s' if number > 1 else ''}: `retail-pipeline airbyte apply` writes "
                "what is missing"
            )
        typer.echo(f"{server.location} is as the files say")


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
