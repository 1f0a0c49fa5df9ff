"""The command `bench`: measure the pipeline's parts against peers and limits.

The benchmarks are a package beside this one, `benchmarks/` of a checkout; the wheel has none.
"""

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from retail_pipeline.cli.terminal import check_output, open_console, print_line, stop_like_ctrl_c
from retail_pipeline.errors import UsageError
from retail_pipeline.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "benchmarks"


def bench(
    name: Annotated[
        str | None,
        typer.Argument(
            help="ingestion, warehouse, clv or pipeline; all without it.",
            autocompletion=lambda: list(_imported("benchmarks").BENCHMARKS),
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this file as JSON.")
    ] = None,
    size: Annotated[
        list[int] | None,
        typer.Option(min=1, help="How many records (customers, rows) to measure with; repeatable."),
    ] = None,
) -> None:
    """Measure speed and memory against peers and limits; prints a table.

    One size, kept in a file: `retail-pipeline bench warehouse --size 100000 --json warehouse.json`
    """
    modules = _imported("benchmarks").BENCHMARKS
    if name is not None and name not in modules:
        raise UsageError(f"there is no bench {name!r}: choose one of {', '.join(modules)}")
    check_output("--json", json_file)
    shown = _imported("benchmarks.results")
    progress, results = Console(stderr=True), []

    def note(result: Any) -> None:
        words = f"  {result.bench} {result.case} {result.records:,} {result.engine}: "
        print_line(progress, f"{words}{result.seconds:,.2f} s")

    stop_like_ctrl_c()
    for each in [name] if name else modules:
        module = _imported(modules[each])
        results += module.run(tuple(size or module.SIZES), note=note)
        if json_file is not None:  # after each bench: a later one may fail
            json_file.write_text(shown.as_json(results) + "\n", encoding="utf-8")
    open_console().print(shown.as_table(results))


def _imported(module: str) -> Any:
    """Return a module of the benchmarks.

    Raises:
        UsageError: This is an installed package without a checkout around it.
    """
    if not FOLDER.is_dir():
        raise UsageError(
            f"the benchmarks are not installed with the package (no folder {FOLDER}): "
            "run `retail-pipeline bench` in a checkout of the repository, set up by `make .venv`"
        )
    if str(PROJECT_ROOT) not in sys.path:
        sys.path.insert(0, str(PROJECT_ROOT))
    return importlib.import_module(module)
