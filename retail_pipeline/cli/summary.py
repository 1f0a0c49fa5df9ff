"""The summary of a run on one screen: rows, leaderboard, champion, value, segments, files."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retail_pipeline.cli.terminal import print_line, print_table, unvalidated_mark
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import open_database
from retail_pipeline.report.summary import read_summary
from retail_pipeline.report.totals import outside, year_before
from retail_pipeline.settings import Settings
from retail_pipeline.shared_queries import excluded_in_words, guests_in_words, losses_in_words
from retail_pipeline.wording import counted

_HEADINGS = {
    "tests": "cut-offs tested",
    "mae_over_mean": "MAE/mean",
    "normalized_gini": "Gini",
    "bias": "bias: total_predicted_over actual",
}
"""Headings of the leaderboard."""


def print_summary(
    settings: Settings, seconds: Mapping[str, float], total: float, console: Console
) -> None:
    """Print the whole summary, with the seconds of each stage and of the whole run (`total`)."""
    database = open_database(settings)
    state, summary = read_state(database), read_summary(database)
    console.rule(f"{escape(state.source_id)}, as of {state.as_of}")
    print_row_counts(summary["rows"], console)
    if summary["losses"]:
        _line(console, "Of the file", *map(escape, losses_in_words(summary["losses"])))
    if summary["excluded"]:
        _line(console, "Excluded", escape(excluded_in_words(summary["excluded"])))
    if summary["guests"] and summary["guests"]["transactions"]:
        _line(console, "Guests", guests_in_words(summary["guests"]))
    if summary["leaderboard"]:
        print_table(console, [_shown(row) for row in summary["leaderboard"]], "Leaderboard")
    else:
        _line(console, "Leaderboard", "empty: no past cut-off has a complete outcome yet")
    print_champion(summary["champion"], console)
    if summary["bias_by_cutoff"]:
        _line(console, "Bias", *_biases(summary["bias_by_cutoff"]))
    if summary["total"]:
        _print_value(summary["total"], console)
    if summary["segments"]:
        print_table(console, summary["segments"], "Top segments")
    _line(console, "Figures", escape(str(settings.home / "figures")))
    report = settings.home / "report" / "report.html"
    if report.exists():
        _line(console, "Report", escape(str(report)))
    _line(
        console,
        "Predictions",
        "views clv.current_predictions and clv.customer_360: retail-pipeline psql",
        f"as a file: retail-pipeline export --output customers.csv; the graph: {_dev(settings)}",
    )
    stages = " · ".join(f"{stage} {spent:.1f}" for stage, spent in seconds.items())
    _line(console, "Seconds", f"{total:.1f} in total: {stages}")


def _dev(settings: Settings) -> str:
    """Return the command that starts the UI with the source of the run."""
    if settings.source == Settings.from_environment().source:
        return "make dev"
    return escape(f"RETAIL_SOURCE={shlex.quote(str(settings.source))} make dev")


def print_row_counts(rows: Mapping[str, Mapping[str, int]], console: Console) -> None:
    """Print the number of rows of every table, one line per layer."""
    grid = Table.grid(padding=(0, 2))
    for layer, tables in rows.items():
        counts = ", ".join(f"{name} {count:,}" for name, count in tables.items())
        grid.add_row(f"[bold]{layer}[/]", counts)
    console.print(grid)


def print_champion(champion: Mapping[str, Any] | None, console: Console) -> None:
    """Print the served model and the reason for it; nothing if there is no decision yet."""
    if champion is None:
        return
    mark = unvalidated_mark(champion["validated"], champion["is_extrapolated"])
    name, version = champion["model_name"], champion["model_version"]
    _line(console, "Champion", f"{name}{mark}, version {version}", escape(champion["reason"]))


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a model on the leaderboard; the champion is marked."""
    cells = {_HEADINGS.get(name, name): row[name] for name in row if name != "is_champion"}
    mark = " (champion)" if row["is_champion"] else ""
    return {**cells, "model_name": f"{row['model_name']}{mark}"}


def _biases(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line per model with its bias at each cut-off, the same season's in brackets."""
    models = [name for name in rows[0] if name not in ("cutoff", "same_season")]
    first, last = rows[0]["cutoff"], rows[-1]["cutoff"]
    lines = [
        f"predicted over actual total at the cut-offs {first} to {last}, 1 is right; "
        "(the same season)"
    ]
    for model in models:
        shown = ["-" if row[model] is None else f"{row[model]:.2f}" for row in rows]
        marked = [
            f"({bias})" if row["same_season"] else bias
            for row, bias in zip(rows, shown, strict=True)
        ]
        lines.append(f"{' '.join(marked)}  {model}")
    return lines


def _print_value(value: Mapping[str, Any], console: Console) -> None:
    """Print the sum of the latest predictions: with its range, discounted, as margin."""
    lines, parts = [_total(value)], []
    if value["lower_80"] is not None:
        ends = value["lower_80"], value["upper_80"]
        if why := outside(value["predicted_value"], *ends, value["expected_buyers"]):
            lines.append(f"[yellow]{why}[/]")
    rate = value["discount_rate"]
    if rate:
        parts.append(f"{value['discounted_value']:,.0f} discounted at {100 * rate:.4g} % a year")
    if value["predicted_margin"] is None:
        parts.append("no product costs known")
    else:
        margin = f"margin {value['predicted_margin']:,.0f}"
        parts.append(f"{margin}, discounted {value['discounted_margin']:,.0f}" if rate else margin)
    lines.append("; ".join(parts))
    if value["is_extrapolated"]:
        lines.append(
            f"[yellow]extrapolated[/]: no outcome of {value['horizon_days']} days is complete in "
            "the data, so values and intervals are untested"
        )
    _line(console, "Value", *lines)


def _total(value: Mapping[str, Any]) -> str:
    """Return the total, its range, and the predicted and actual total a year before."""
    total = f"{value['predicted_value']:,.0f} over {counted(value['horizon_days'], 'day')}"
    if value["lower_80"] is None:
        return total
    ends = f"80 % range {value['lower_80']:,.0f} to {value['upper_80']:,.0f}"
    then = year_before(value["predicted_year_ago"], value["actual_year_ago"], "{:,.0f}".format)
    return f"{total}, {ends}; {then}"


def _line(console: Console, title: str, *lines: str) -> None:
    """Print a title, with lines in a column beside it."""
    text = ("\n" + 15 * " ").join(lines)
    print_line(console, f"[bold]{title:<15}[/]{text}")
