"""The command `status`: what is running and what the layers hold; starts nothing."""

from rich.console import Console

from retail_pipeline.cli.summary import print_layers, print_serving
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.open import embedded_server
from retail_pipeline.settings import Settings
from retail_pipeline.state import read_state


def status() -> None:
    """Show what is running and what the layers hold; starts nothing."""
    settings, console = Settings.from_environment(), Console()
    url = settings.database_url or embedded_server(settings).running_url()
    if url is None:
        console.print("PostgreSQL   embedded, not running (`retail-pipeline up` starts it)")
        return
    database = Database(url)
    database.execute("select 1")
    console.print(f"PostgreSQL   {database.location}")
    try:
        state = read_state(database)
    except PipelineError as error:
        console.print(f"State        {error}")
        return
    console.print(f"Source       {state.source_id}")
    console.print(f"As of        {state.as_of}, generation {state.generation}")
    print_layers(database, console)
    print_serving(database, console)
