"""The command `forget`: a person leaves everything that the pipeline keeps."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from retail_pipeline.settings import Settings


def forget(
    customer_id: Annotated[str, typer.Argument(help="The customer's id, verbatim.")],
    while_running: Annotated[
        bool, typer.Option("--while-running", help="Although Dagster lists a run at work.")
    ] = False,
) -> None:
    """Remove a customer everywhere and keep them out of all syncs to come."""
    from retail_pipeline.privacy.forgetting import forget as forget_customer

    removed = forget_customer(Settings.from_environment(), customer_id, while_running=while_running)
    console = Console()
    for each in removed:
        console.print(
            f"{each.count:>8,} {each.what:<9}{escape(each.place)}", highlight=False, soft_wrap=True
        )
    if not removed:
        console.print("nothing of this customer was found")
    console.print(
        "The customer is on the suppression list. Totals, models and figures leave them out with "
        "the next `retail-pipeline run`; backups and files of your own are yours to clean.",
        soft_wrap=True,
    )
