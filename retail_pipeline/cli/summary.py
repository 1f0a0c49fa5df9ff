"""What a run ends with: rows, leaderboard, champion, segments, where things are.

Each is read by one function, as plain values for JSON, and printed by another on one screen.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retail_pipeline.generation import read_state
from retail_pipeline.postgres import (
    Database,
    open_database,
)
from retail_pipeline.settings import Settings

LAYERS = ("transactional", "warehouse", "clv", "quality")
_WIDTH_WITHOUT_TERMINAL = 120
_UNCOUNTED = (
    "landed_streams",
    "migrations",
    "rebuild_requests",
    "source_state",
    "sync_jobs",
    "sync_states",
    "unfinished_forgets",
)


_LEADERBOARD = """
select
    model ->> 'model_name' as model_name,
    (model ->> 'tweedie_deviance')::float8 as deviance,
    (model ->> 'mae_over_mean')::float8 as mae_over_mean,
    (model ->> 'r2')::float8 as r2,
    (model ->> 'normalized_gini')::float8 as normalized_gini,
    (model ->> 'bias')::float8 as bias,
    (model ->> 'coverage_80')::float8 as coverage
from (select numbers from clv.model_decisions order by decided_at desc limit 1) as decision
cross join lateral jsonb_array_elements(decision.numbers -> 'leaderboard') as model
"""


class _Console(Console):
    """One whose reader may leave (`retail-pipeline run | head`): the work goes on without it."""

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
    state = read_state(database)
    console.rule(f"{escape(state.source_id)}, as of {state.as_of}")
    print_layers(database, console)
    print_leaderboard(database, console)
    print_serving(database, console)
    print_worth(database, console)
    print_segments(database, console)
    console.print(
        f"[bold]Figures[/]        {escape(str(settings.home / 'figures'))}", soft_wrap=True
    )
    report = settings.home / "report" / "report.html"
    if report.exists():
        console.print(f"[bold]Report[/]         {escape(str(report))}", soft_wrap=True)
    console.print(
        "[bold]Predictions[/]    table clv.predictions "
        "(psql $(retail-pipeline db-url)), or `make dev` for the graph"
    )
    stages = " · ".join(f"{stage} {spent:.1f}" for stage, spent in seconds.items())
    console.print(f"[bold]Seconds[/]        {total:.1f} in all: {stages}", highlight=False)


def read_summary(database: Database) -> dict[str, Any]:
    """Return the summary's tables as plain values: `None` and empty lists where nothing is yet."""
    return {
        "rows": read_layers(database),
        "leaderboard": read_leaderboard(database),
        "champion": read_serving(database),
        "worth": read_worth(database),
        "segments": read_segments(database),
    }


def read_layers(database: Database) -> dict[str, dict[str, int]]:
    """Return the number of rows by layer and table."""
    names = "', '".join
    tables = _records(
        database,
        "select schemaname as layer, tablename as name from pg_tables where schemaname in "
        f"('{names(LAYERS)}') and tablename not in ('{names(_UNCOUNTED)}') order by 1, 2",
    )
    if not tables:
        return {}
    counts = _records(
        database,
        " union all ".join(
            f"select '{layer}' as layer, '{name}' as name, count(*) as rows "
            f'from "{layer}"."{name}"'
            for layer, name in (table.values() for table in tables)
        )
        + " order by 1, 2",
    )
    found: dict[str, dict[str, int]] = {layer: {} for layer in LAYERS}
    for each in counts:
        found[each["layer"]][each["name"]] = each["rows"]
    return found


def print_layers(database: Database, console: Console) -> None:
    """Print the number of rows of every table, a line per layer."""
    grid = Table.grid(padding=(0, 2))
    for layer, tables in read_layers(database).items():
        words = ", ".join(f"{name} {rows:,}" for name, rows in tables.items())
        grid.add_row(f"[bold]{layer}[/]", words)
    if grid.row_count:
        console.print(grid)


def read_leaderboard(database: Database) -> list[dict[str, Any]]:
    """Return the models' numbers of the latest decision: means over the common cut-offs."""
    return _records(database, _LEADERBOARD)


def print_leaderboard(database: Database, console: Console) -> None:
    """Print the numbers of the latest decision: means over the cut-offs common to all models."""
    board = read_leaderboard(database)
    if not board:
        console.print(
            "[bold]Leaderboard[/]    no past cut-off tells the models apart yet", highlight=False
        )
        return
    headings = ("deviance", "MAE/mean", "R2", "nGini", "bias", "coverage 80")
    rows = []
    for model in board:
        name, deviance, *others = model.values()
        rows.append((name, f"{deviance:.2f}", *map(_number, others)))
    _table(console, ("Leaderboard", *headings), rows)


def read_serving(database: Database) -> dict[str, Any] | None:
    """Return the latest decision on which model serves; None where there was none."""
    if not _records(database, "select 1 where to_regclass('clv.model_decisions') is not null"):
        return None
    decisions = _records(
        database,
        "select d.model_name, d.model_version, d.validated, d.reason, d.as_of_date, "
        "d.horizon_days, coalesce(v.is_extrapolated, false) as is_extrapolated "
        "from clv.model_decisions as d left join clv.model_versions as v using (model_version) "
        "order by d.decided_at desc limit 1",
    )
    return decisions[0] if decisions else None


def print_serving(database: Database, console: Console) -> None:
    """Print which model serves, and how it got there."""
    served = read_serving(database)
    if served is None:
        return
    mark = "" if served["validated"] else " [yellow](validated = false)[/]"
    if served["is_extrapolated"]:
        mark = " [yellow](validated = false, extrapolated)[/]"
    console.print(
        f"[bold]Champion[/]       {served['model_name']}{mark}, version {served['model_version']}\n"
        f"               {escape(served['reason'])}",
        highlight=False,
    )


def read_worth(database: Database) -> dict[str, Any] | None:
    """Return what the latest predictions come to, discounted and as margin; None without any."""
    if not _records(database, "select 1 where to_regclass('clv.predictions') is not null"):
        return None
    found = _records(
        database,
        "select horizon_days, discount_rate, is_extrapolated, "
        "sum(predicted_value)::float8 as predicted_value, "
        "sum(discounted_value)::float8 as discounted_value, "
        "sum(predicted_margin)::float8 as predicted_margin, "
        "sum(discounted_margin)::float8 as discounted_margin "
        "from clv.predictions where (as_of_date, horizon_days) = (select as_of_date, horizon_days "
        "from clv.predictions order by predicted_at desc limit 1) group by 1, 2, 3",
    )
    return found[0] if found else None


def print_worth(database: Database, console: Console) -> None:
    """Print what the latest predictions come to: undiscounted, discounted, as margin."""
    worth = read_worth(database)
    if worth is None:
        return
    parts = [f"{worth['predicted_value']:,.0f} over {worth['horizon_days']} days"]
    rate = worth["discount_rate"]
    if rate:
        parts.append(f"{worth['discounted_value']:,.0f} discounted at {100 * rate:.4g} % a year")
    if worth["predicted_margin"] is None:
        parts.append("no product costs known")
    else:
        margin = f"margin {worth['predicted_margin']:,.0f}"
        parts.append(f"{margin}, discounted {worth['discounted_margin']:,.0f}" if rate else margin)
    lines = ["; ".join(parts)]
    if worth["is_extrapolated"]:
        lines.append(
            f"[yellow]extrapolated[/]: no outcome of {worth['horizon_days']} days is complete in "
            "the data, so nothing has tested values and intervals"
        )
    console.print("[bold]Value[/]          " + "\n               ".join(lines), highlight=False)


def read_segments(database: Database) -> list[dict[str, Any]]:
    """Return the segments of the latest predictions, the most valuable first."""
    return _records(
        database,
        "select segment, customers, predicted_value, share_of_value, mean_probability_active "
        "from clv.segments where (as_of_date, horizon_days) = (select as_of_date, horizon_days "
        "from clv.predictions order by predicted_at desc limit 1) "
        "order by predicted_value desc limit 6",
    )


def print_segments(database: Database, console: Console) -> None:
    """Print the segments of the latest predictions, the most valuable first."""
    rows = [
        (
            str(each["segment"]),
            f"{each['customers']:,}",
            f"{each['predicted_value']:,.0f}",
            f"{each['share_of_value']:.0%}",
            _number(each["mean_probability_active"]),
        )
        for each in read_segments(database)
    ]
    if not rows:
        return
    headings = ("Top segments", "customers", "predicted value", "share", "mean P(active)")
    _table(console, headings, rows)


def _records(database: Database, statement: str) -> list[dict[str, Any]]:
    """Return a result's rows as JSON would hold them: dates as text, no NaN."""
    return list(json.loads(database.query(statement).to_json(orient="records", date_format="iso")))


def _table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:z.3f}"
