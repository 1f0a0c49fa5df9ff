"""The progress lines of a run."""

import logging
from types import SimpleNamespace

from dagster import AssetCheckSeverity, AssetKey
from rich.console import Console

from retail_pipeline.cli.progress import RunProgress


def test_brackets_in_what_is_logged_are_no_markup() -> None:
    console = Console(record=True, width=200)
    words = "[abc] is missing at [/srv/x]"
    entry = SimpleNamespace(dagster_event=None, level=logging.WARNING, user_message=words)
    RunProgress(console, 1).on_entry(entry)  # type: ignore[arg-type]
    assert words in console.export_text()


def test_a_check_that_warns_keeps_what_it_found() -> None:
    progress = RunProgress(Console(record=True), 1)
    for passed, words in ((True, None), (False, "the last week is short: look at the source")):
        found = SimpleNamespace(
            asset_key=AssetKey(["clv", "totals"]),
            check_name="is_usual",
            passed=passed,
            severity=AssetCheckSeverity.WARN,
            description=words,
        )
        event = SimpleNamespace(
            is_step_materialization=False,
            event_type_value="ASSET_CHECK_EVALUATION",
            asset_check_evaluation_data=found,
        )
        progress.on_entry(SimpleNamespace(dagster_event=event))  # type: ignore[arg-type]
    name = "clv/totals: is_usual"
    assert progress.checks("warned") == [name] and progress.checks("passed") == []
    assert progress.findings[name] == "the last week is short: look at the source"
