"""The command `forget`: remove a customer from everything that the pipeline stores."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from retail_pipeline.cli.terminal import confirm, open_console, print_line
from retail_pipeline.errors import UsageError
from retail_pipeline.postgres import open_database
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from retail_pipeline.privacy.forgetting import Outcome

_AFTERWARDS = (
    "The customer is on the suppression list. The next `retail-pipeline run` makes totals, models "
    "and figures without them."
)
_SHOWN_OF_A_HASH = 12


def forget(
    customer_id: Annotated[
        str | None, typer.Argument(help="The customer's id, verbatim.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the rows and files to remove; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    while_running: Annotated[
        bool, typer.Option("--while-running", help="Continue even if Dagster lists a running run.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the forgotten customers: hash and date, no ids.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let later syncs land the customer again.")
    ] = False,
) -> None:
    """Permanently remove all data of a customer, and skip the customer in later syncs.

    Count first: `retail-pipeline forget C-000123 --dry-run`

    Without a question: `retail-pipeline forget C-000123 --yes`
    """
    settings, console = Settings.from_environment(), open_console()
    if listed:
        _list(settings, console)
    elif customer_id is None:
        raise UsageError("forget needs a customer's id, or --list")
    elif undo:
        _take_back(settings, console, customer_id, yes)
    else:
        _forget(settings, console, customer_id, (dry_run, yes, while_running))


def _forget(
    settings: Settings, console: Console, customer_id: str, options: tuple[bool, bool, bool]
) -> None:
    from retail_pipeline.privacy import forgetting

    dry_run, yes, while_running = options
    if dry_run or not yes:
        found = forgetting.forget(settings, customer_id, dry_run=True)
        _print(console, found)
        if dry_run:
            print_line(console, "Nothing was changed.")
            return
        if found.removed:
            question = f"Permanently remove all of this about customer {customer_id}?"
        else:
            question = f"No data of {customer_id} were found. Suppress them in later syncs?"
        confirm(question, f"{question} Confirm with --yes; --dry-run shows what would go")
    done = forgetting.forget(settings, customer_id, while_running=while_running)
    _print(console, done)
    print_line(console, _AFTERWARDS)


def _print(console: Console, outcome: "Outcome") -> None:
    for each in outcome.removed:
        print_line(console, f"{each.count:>8,} {each.what:<9}{escape(each.place)}")
    if not outcome.removed:
        print_line(console, "no data of this customer were found")
    for place in outcome.not_reached:
        print_line(console, f"Not reached: {escape(place)}")


def _list(settings: Settings, console: Console) -> None:
    from retail_pipeline.privacy.suppression import list_suppressed

    entries = list_suppressed(open_database(settings))
    for digest, moment in entries:
        print_line(console, f"{digest[:_SHOWN_OF_A_HASH]}  {moment:%Y-%m-%d}")
    count = len(entries)
    print_line(
        console, f"{count:,} forgotten customer{'' if count == 1 else 's'}; ids are not kept"
    )


def _take_back(settings: Settings, console: Console, customer_id: str, yes: bool) -> None:
    from retail_pipeline.privacy.suppression import take_back

    if not yes:
        question = f"Let later syncs land customer {customer_id} again?"
        confirm(question, f"{question} Confirm with --yes")
    if not take_back(settings, open_database(settings), customer_id):
        raise UsageError(f"customer {customer_id} is not on the suppression list")
    print_line(
        console,
        "Later syncs will land this customer again; `retail-pipeline run --full-refresh` brings "
        "records that were served before.",
    )
