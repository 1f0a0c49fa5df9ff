"""The command `forget`: a person leaves everything that the pipeline keeps."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from retail_pipeline.cli.terminal import confirm
from retail_pipeline.settings import Settings


def forget(
    customer_id: Annotated[str, typer.Argument(help="The customer's id, verbatim.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be removed; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    while_running: Annotated[
        bool, typer.Option("--while-running", help="Although Dagster lists a run at work.")
    ] = False,
) -> None:
    """Remove a customer everywhere and keep them out of all syncs to come.

    Count first: `retail-pipeline forget C-000123 --dry-run`

    Without a question: `retail-pipeline forget C-000123 --yes`
    """
    from retail_pipeline.privacy import forgetting

    settings = Settings.from_environment()
    if not (dry_run or yes):
        confirm(
            f"Remove everything about customer {customer_id}, for good?",
            "forget removes data for good: say --yes, or --dry-run to see what",
        )
    removed = forgetting.forget(settings, customer_id, while_running=while_running, dry_run=dry_run)
    console = Console()
    for each in removed:
        console.print(
            f"{each.count:>8,} {each.what:<9}{escape(each.place)}", highlight=False, soft_wrap=True
        )
    if not removed:
        console.print("nothing of this customer was found")
    if dry_run:
        console.print("Nothing was changed.")
        return
    console.print(
        "The customer is on the suppression list. Totals, models and figures leave them out with "
        "the next `retail-pipeline run`; backups and files of your own are yours to clean.",
        soft_wrap=True,
    )
