"""The command `forget`: a person leaves everything that the pipeline keeps."""

from typing import Annotated

import typer
from rich.markup import escape

from retail_pipeline.cli.terminal import confirm, open_console, print_line
from retail_pipeline.settings import Settings

_AFTERWARDS = (
    "The customer is on the suppression list. Totals, models and figures leave them out with the "
    "next `retail-pipeline run`; backups and files of your own are yours to clean."
)


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
    console = open_console()
    for each in removed:
        print_line(console, f"{each.count:>8,} {each.what:<9}{escape(each.place)}")
    if not removed:
        print_line(console, "nothing of this customer was found")
    print_line(console, "Nothing was changed." if dry_run else _AFTERWARDS)
