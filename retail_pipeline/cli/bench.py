"""The command `bench`: measure the speed and memory of parts of the pipeline.

The benchmarks are the package `benchmarks/` of a checkout; the wheel does not contain them.
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
            help="ingestion, warehouse, clv or pipeline; default: all.",
            autocompletion=lambda: list(_imported("benchmarks").BENCHMARKS),
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this file as JSON.")
    ] = None,
    size: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Number of records (customers, rows) per measurement; repeatable."
        ),
    ] = None,
) -> None:
    """Measure speed and memory, compared with other tools, and print a table.

    One size, as JSON: `retail-pipeline bench warehouse --size 100000 --json warehouse.json`
    """
    modules = _imported("benchmarks").BENCHMARKS
    if name is not None and name not in modules:
        raise UsageError(f"there is no benchmark {name!r}: choose one of {', '.join(modules)}")
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
        if json_file is not None:  # after each benchmark, as a later one may fail
            json_file.write_text(shown.as_json(results) + "\n", encoding="utf-8")
    open_console().print(shown.as_table(results))


def _imported(module: str) -> Any:
    """Return an imported module of the benchmarks.

    Raises:
        UsageError: The package is installed without a checkout.
    """
    if not FOLDER.is_dir():
        raise UsageError(
            f"the benchmarks are not part of the installed package (no folder {FOLDER}): "
            "run `retail-pipeline bench` in a checkout of the repository, set up by `make .venv`"
        )
    if str(PROJECT_ROOT) not in sys.path:
        sys.path.insert(0, str(PROJECT_ROOT))
    return importlib.import_module(module)
