"""The command `bench`: measure the pipeline's parts against peers and limits."""

import importlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from retail_pipeline.bench import BENCHES
from retail_pipeline.bench.results import (
    Result,
    as_json,
    as_table,
)
from retail_pipeline.cli.stopping import stopped_like_ctrl_c
from retail_pipeline.cli.summary import open_console
from retail_pipeline.errors import UsageError


def bench(
    name: Annotated[
        str | None,
        typer.Argument(
            help=f"One of {', '.join(BENCHES)}; all without it.",
            autocompletion=lambda: list(BENCHES),
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this file as JSON.")
    ] = None,
    size: Annotated[
        list[int] | None,
        typer.Option(help="How many records (customers, rows) to measure with; repeatable."),
    ] = None,
) -> None:
    """Measure speed and memory against peers and limits; prints a table."""
    if name is not None and name not in BENCHES:
        raise UsageError(f"there is no bench {name!r}: choose one of {', '.join(BENCHES)}")
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise UsageError(f"the folder of --json {json_file} does not exist: make it first")
    if any(each < 1 for each in size or ()):
        raise UsageError("--size must be at least 1")
    progress, results = Console(stderr=True), []
    for each in [name] if name else BENCHES:
        module = importlib.import_module(BENCHES[each])
        with stopped_like_ctrl_c():
            results += module.run(tuple(size or module.SIZES), note=lambda r: _tell(progress, r))
        if json_file is not None:  # after each bench: a later one may fail
            json_file.write_text(as_json(results) + "\n", encoding="utf-8")
    open_console().print(as_table(results))


def _tell(console: Console, result: Result) -> None:
    console.print(
        f"  {result.bench} {result.case} {result.records:,} {result.engine}: "
        f"{result.seconds:,.2f} s",
        highlight=False,
    )
