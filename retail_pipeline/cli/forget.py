"""The command `forget`: remove a customer from everything that the pipeline stores."""

from typing import Annotated

import typer
from rich.markup import escape

from retail_pipeline.cli.terminal import confirm, open_console, print_line
from retail_pipeline.settings import Settings

_AFTERWARDS = (
    "The customer is on the suppression list. The next `retail-pipeline run` makes totals, models "
    "and figures without them; backups and files of your own are not touched."
)


def forget(
    customer_id: Annotated[str, typer.Argument(help="The customer's id, verbatim.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the rows and files to remove; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    while_running: Annotated[
        bool, typer.Option("--while-running", help="Continue even if Dagster lists a running run.")
    ] = False,
) -> None:
    """Permanently remove all data of a customer, and skip the customer in later syncs.

    Count first: `retail-pipeline forget C-000123 --dry-run`

    Without a question: `retail-pipeline forget C-000123 --yes`
    """
    from retail_pipeline.privacy import forgetting

    settings = Settings.from_environment()
    if not (dry_run or yes):
        confirm(
            f"Permanently remove all data of customer {customer_id}?",
            "forget removes data permanently: confirm with --yes, or use --dry-run to see what",
        )
    removed = forgetting.forget(settings, customer_id, while_running=while_running, dry_run=dry_run)
    console = open_console()
    for each in removed:
        print_line(console, f"{each.count:>8,} {each.what:<9}{escape(each.place)}")
    if not removed:
        print_line(console, "no data of this customer were found")
    print_line(console, "Nothing was changed." if dry_run else _AFTERWARDS)
