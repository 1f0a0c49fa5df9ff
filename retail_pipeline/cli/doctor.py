"""The command `doctor`: whether this machine can run the pipeline, and what to do where not."""

import json
import sys
from typing import Annotated

import typer
from rich.markup import escape

from retail_pipeline.cli.summary import open_console
from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
from retail_pipeline.machine import (
    Finding,
    Verdict,
    examine,
)
from retail_pipeline.settings import Settings

_MARKS = {
    Verdict.FINE: "[green]✓[/]",
    Verdict.DOUBTFUL: "[yellow]![/]",
    Verdict.BROKEN: "[red]✗[/]",
}


def doctor(
    port: Annotated[int, typer.Option(help="The port that `dev` is to use.")] = 3000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Check this machine, and say what to do: exit code 1 if something is broken, 2 for settings.

    Starts, writes and installs nothing; what would run slowly or badly is marked with `!`.
    """
    try:
        settings, wrong = Settings.from_environment(), None
    except UsageError as error:
        settings, wrong = Settings(), error
    findings = examine(settings, port=port, wrong_settings=wrong)
    if as_json:
        rows = [{**vars(finding), "verdict": finding.verdict.value} for finding in findings]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        _print(findings)
    if wrong is not None:
        raise wrong
    broken = [finding.what for finding in findings if finding.verdict is Verdict.BROKEN]
    if broken:
        raise PipelineError(f"this machine cannot run the pipeline yet: {', '.join(broken)}")


def _print(findings: list[Finding]) -> None:
    console = open_console()
    for finding in findings:
        mark = _MARKS[finding.verdict]
        console.print(
            f"{mark} {finding.what:<16}{escape(finding.found)}", highlight=False, soft_wrap=True
        )
        if finding.remedy:
            console.print(f"  {'':<16}→ {escape(finding.remedy)}", highlight=False, soft_wrap=True)
