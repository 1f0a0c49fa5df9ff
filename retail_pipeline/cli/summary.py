"""The summary of a run on one screen: rows, leaderboard, champion, value, segments, places."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retail_pipeline.generation import read_state
from retail_pipeline.postgres import open_database
from retail_pipeline.report.summary import read_summary
from retail_pipeline.settings import Settings

_WIDTH_WITHOUT_TERMINAL = 120
_INDENT = "\n" + 15 * " "


class _Console(Console):
    """A console whose reader may leave (`retail-pipeline run | head`): the work goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())


def open_console(file: TextIO | None = None) -> Console:
    """Return a console as wide as the terminal, and wide enough for tables where there is none."""
    console = _Console(file=file)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    return console


def print_summary(
    settings: Settings, seconds: Mapping[str, float], total: float, console: Console
) -> None:
    """Print the whole summary.

    Args:
        settings: Where state is kept.
        seconds: Seconds by stage.
        total: Seconds of the whole run.
        console: Where to print.
    """
    database = open_database(settings)
    state, summary = read_state(database), read_summary(database)
    console.rule(f"{escape(state.source_id)}, as of {state.as_of}")
    print_row_counts(summary["rows"], console)
    _print_leaderboard(summary["leaderboard"], console)
    print_champion(summary["champion"], console)
    _print_value(summary["worth"], console)
    _print_segments(summary["segments"], console)
    _line(console, "Figures", escape(str(settings.home / "figures")))
    report = settings.home / "report" / "report.html"
    if report.exists():
        _line(console, "Report", escape(str(report)))
    predictions = (
        "table clv.predictions (psql $(retail-pipeline db-url)), or `make dev` for the graph"
    )
    _line(console, "Predictions", predictions)
    stages = " · ".join(f"{stage} {spent:.1f}" for stage, spent in seconds.items())
    _line(console, "Seconds", f"{total:.1f} in all: {stages}")


def print_row_counts(rows: Mapping[str, Mapping[str, int]], console: Console) -> None:
    """Print the number of rows of every table, a line per layer."""
    grid = Table.grid(padding=(0, 2))
    for layer, tables in rows.items():
        counts = ", ".join(f"{name} {count:,}" for name, count in tables.items())
        grid.add_row(f"[bold]{layer}[/]", counts)
    console.print(grid)


def print_champion(champion: Mapping[str, Any] | None, console: Console) -> None:
    """Print the model that serves and the reason; nothing where no decision was made."""
    if champion is None:
        return
    mark = "" if champion["validated"] else " [yellow](validated = false)[/]"
    if champion["is_extrapolated"]:
        mark = " [yellow](validated = false, extrapolated)[/]"
    name, version = champion["model_name"], champion["model_version"]
    _line(console, "Champion", f"{name}{mark}, version {version}", escape(champion["reason"]))


def _print_leaderboard(board: Sequence[Mapping[str, Any]], console: Console) -> None:
    if not board:
        _line(console, "Leaderboard", "no past cut-off tells the models apart yet")
        return
    rows = []
    for model in board:
        name, deviance, *others = model.values()
        rows.append((name, f"{deviance:.2f}", *map(_number, others)))
    headings = ("Leaderboard", "deviance", "MAE/mean", "R2", "nGini", "bias", "coverage 80")
    _table(console, headings, rows)


def _print_value(value: Mapping[str, Any] | None, console: Console) -> None:
    """Print the sum of the latest predictions: undiscounted, discounted, as margin."""
    if value is None:
        return
    parts = [f"{value['predicted_value']:,.0f} over {value['horizon_days']} days"]
    rate = value["discount_rate"]
    if rate:
        parts.append(f"{value['discounted_value']:,.0f} discounted at {100 * rate:.4g} % a year")
    if value["predicted_margin"] is None:
        parts.append("no product costs known")
    else:
        margin = f"margin {value['predicted_margin']:,.0f}"
        parts.append(f"{margin}, discounted {value['discounted_margin']:,.0f}" if rate else margin)
    lines = ["; ".join(parts)]
    if value["is_extrapolated"]:
        lines.append(
            f"[yellow]extrapolated[/]: no outcome of {value['horizon_days']} days is complete in "
            "the data, so nothing has tested values and intervals"
        )
    _line(console, "Value", *lines)


def _print_segments(segments: Sequence[Mapping[str, Any]], console: Console) -> None:
    rows = [
        (
            str(each["segment"]),
            f"{each['customers']:,}",
            f"{each['predicted_value']:,.0f}",
            f"{each['share_of_value']:.0%}",
            _number(each["mean_probability_active"]),
        )
        for each in segments
    ]
    if not rows:
        return
    headings = ("Top segments", "customers", "predicted value", "share", "mean P(active)")
    _table(console, headings, rows)


def _line(console: Console, title: str, *lines: str) -> None:
    """Print a title and lines in the column beside it."""
    text = f"[bold]{title}[/]{' ' * (15 - len(title))}{_INDENT.join(lines)}"
    console.print(text, highlight=False, soft_wrap=True)


def _table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:z.3f}"
