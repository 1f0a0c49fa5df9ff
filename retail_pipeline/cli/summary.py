"""What a run ends with, on one screen: rows, leaderboard, champion, segments, where things are."""

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from retail_pipeline.postgres import Database, open_database
from retail_pipeline.settings import Settings
from retail_pipeline.state import read_state

LAYERS = ("transactional", "warehouse", "clv", "quality")
_WIDTH_WITHOUT_TERMINAL = 120
_UNCOUNTED = (
    "input_digests",
    "landed_streams",
    "migrations",
    "rebuild_requests",
    "source_state",
    "sync_jobs",
    "sync_states",
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


def open_console(file: TextIO | None = None) -> Console:
    """Return a console as wide as the terminal, and wide enough for tables where there is none."""
    console = Console(file=file)
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
    console.rule(f"{state.source_id}, as of {state.as_of}")
    print_layers(database, console)
    print_leaderboard(database, console)
    print_serving(database, console)
    print_segments(database, console)
    console.print(f"[bold]Figures[/]        {settings.home / 'figures'}", soft_wrap=True)
    report = settings.home / "report" / "report.html"
    if report.exists():
        console.print(f"[bold]Report[/]         {report}", soft_wrap=True)
    console.print(
        "[bold]Predictions[/]    table clv.predictions "
        "(psql $(retail-pipeline db-url)), or `make dev` for the graph"
    )
    stages = " · ".join(f"{stage} {spent:.1f}" for stage, spent in seconds.items())
    console.print(f"[bold]Seconds[/]        {total:.1f} in all: {stages}", highlight=False)


def print_layers(database: Database, console: Console) -> None:
    """Print the number of rows of every table, a line per layer."""
    tables = database.query(
        "select schemaname as layer, tablename as name from pg_tables "
        "where schemaname = any(%s) and tablename <> all(%s) order by 1, 2",
        [list(LAYERS), list(_UNCOUNTED)],
    )
    if tables.empty:
        return
    counts = database.query(
        " union all ".join(
            f"select '{row.layer}' as layer, '{row.name}' as name, count(*) as rows "
            f'from "{row.layer}"."{row.name}"'
            for row in tables.itertuples()
        )
    )
    grid = Table.grid(padding=(0, 2))
    for layer in LAYERS:
        here = counts[counts["layer"] == layer]
        words = ", ".join(f"{row.name} {row.rows:,}" for row in here.itertuples())
        grid.add_row(f"[bold]{layer}[/]", words)
    console.print(grid)


def print_leaderboard(database: Database, console: Console) -> None:
    """Print the numbers of the latest decision: means over the cut-offs common to all models."""
    board = database.query(_LEADERBOARD)
    if board.empty:
        console.print(
            "[bold]Leaderboard[/]    no past cut-off tells the models apart yet", highlight=False
        )
        return
    headings = ("deviance", "MAE/mean", "R2", "nGini", "bias", "coverage 80")
    rows = [
        (row[0], f"{row[1]:.2f}", *(_number(value) for value in row[2:]))
        for row in board.itertuples(index=False)
    ]
    _table(console, ("Leaderboard", *headings), rows)


def print_serving(database: Database, console: Console) -> None:
    """Print which model serves, and how it got there."""
    if database.query("select to_regclass('clv.model_decisions') as name")["name"].isna().all():
        return
    decision = database.query(
        "select model_name, model_version, validated, reason, as_of_date, horizon_days "
        "from clv.model_decisions order by decided_at desc limit 1"
    )
    if decision.empty:
        return
    row = decision.iloc[0]
    mark = "" if row["validated"] else " [yellow](validated = false)[/]"
    console.print(
        f"[bold]Champion[/]       {row['model_name']}{mark}, version {row['model_version']}\n"
        f"               {row['reason']}",
        highlight=False,
    )


def print_segments(database: Database, console: Console) -> None:
    """Print the segments of the latest predictions, the most valuable first."""
    segments = database.query(
        "select segment, customers, predicted_value, share_of_value, mean_probability_active "
        "from clv.segments where (as_of_date, horizon_days) = (select as_of_date, horizon_days "
        "from clv.predictions order by predicted_at desc limit 1) "
        "order by predicted_value desc limit 6"
    )
    rows = [
        (
            str(row.segment),
            f"{row.customers:,}",
            f"{row.predicted_value:,.0f}",
            f"{row.share_of_value:.0%}",
            _number(row.mean_probability_active),
        )
        for row in segments.itertuples()
    ]
    if not rows:
        return
    headings = ("Top segments", "customers", "predicted value", "share", "mean P(active)")
    _table(console, headings, rows)


def _table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _number(value: Any) -> str:
    import pandas as pd

    return "-" if pd.isna(value) else f"{value:.3f}"
