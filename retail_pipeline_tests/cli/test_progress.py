"""What a run says of itself while it is at work."""

import logging
from types import SimpleNamespace

import pytest
from rich.console import Console

from retail_pipeline.cli.progress import (
    Progress,
    Spent,
)


def test_brackets_in_what_is_logged_are_no_markup() -> None:
    console = Console(record=True, width=200)
    words = "[abc] is missing at [/srv/x]"
    entry = SimpleNamespace(dagster_event=None, level=logging.WARNING, user_message=words)
    Progress(console, "").on_entry(entry)  # type: ignore[arg-type]
    assert words in console.export_text()


def test_steps_that_are_at_work_at_once_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    spent = Spent()
    for after, take_down, step in [
        (0, spent.begins, "backtest"),
        (4, spent.begins, "figure"),
        (2, spent.ends, "figure"),
        (1, spent.ends, "backtest"),
        (5, spent.begins, "report"),  # nothing was at work meanwhile
        (3, spent.ends, "report"),
    ]:
        now += after
        take_down(step)
    assert spent.seconds == {"backtest": 6, "figure": 1, "report": 3}
