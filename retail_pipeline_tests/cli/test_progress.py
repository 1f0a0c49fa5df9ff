"""The progress lines of a run."""

import logging
from types import SimpleNamespace

from rich.console import Console

from retail_pipeline.cli.progress import RunProgress


def test_brackets_in_what_is_logged_are_no_markup() -> None:
    console = Console(record=True, width=200)
    words = "[abc] is missing at [/srv/x]"
    entry = SimpleNamespace(dagster_event=None, level=logging.WARNING, user_message=words)
    RunProgress(console, 1).on_entry(entry)  # type: ignore[arg-type]
    assert words in console.export_text()
