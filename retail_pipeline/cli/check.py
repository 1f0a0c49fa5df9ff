"""The command `check`: shows how a transactions file is read and what it contains."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape

from retail_pipeline.cli import file_options
from retail_pipeline.cli.terminal import open_console, print_json, print_line, print_table
from retail_pipeline.errors import UsageError
from retail_pipeline.settings import (
    LONGEST_HORIZON_DAYS,
    FileSource,
    Settings,
    parse_as_of,
    parse_file,
)
from retail_pipeline.shared_queries import losses_in_words
from retail_pipeline.wording import counted

if TYPE_CHECKING:
    from retail_pipeline.retail_api.source.file_check import FileCheck

_MOST_MONTHS = 24
_LOST = ("rejected", "left out")
_SUMS = ("lines", "orders", "sales", "returns", "net_amount")


def check(
    transactions: Annotated[str, typer.Argument(metavar="FILE", help="A file of order lines.")],
    columns: file_options.Columns = None,
    profile: file_options.Profile = None,
    cutoff: Annotated[
        str | None,
        typer.Option(help="Judge the history before this date (YYYY-MM-DD); default: all lines."),
    ] = None,
    horizon_days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=LONGEST_HORIZON_DAYS,
            help="Number of days to predict; default: RETAIL_HORIZON_DAYS.",
        ),
    ] = None,
    date_order: file_options.DateOrderOption = None,
    decimal: file_options.Decimal = None,
    accept_loss: file_options.AcceptLoss = None,
    missing_customer_words: file_options.MissingCustomerWords = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show how a file is read and what it contains; no database is needed, nothing is changed.

    Your own file: `retail-pipeline check sales.csv`

    A shop's export: `retail-pipeline check orders_export.csv --profile shopify --cutoff 2024-06-01`
    """
    source = parse_file(
        transactions,
        "FILE",
        columns=columns,
        profile=profile,
        date_order=date_order,
        decimal=decimal,
        accept_loss=accept_loss,
        missing_customer_words=missing_customer_words,
    )
    settings = Settings.from_environment().model_copy(update={"source": source})
    horizon = horizon_days or settings.horizon_days
    day = parse_as_of(cutoff, "--cutoff", settings.time_zone) if cutoff else None

    from retail_pipeline.retail_api.source.file_check import check_file
    from retail_pipeline.retail_api.source.profiles import code_list

    found = check_file(
        source.path,
        source.options,
        cutoff=day,
        codes=code_list(settings),
        time_zone=settings.time_zone,
    )
    history = _history(found, horizon)
    if as_json:
        print_json(_outcome(found, history))
    else:
        _print(found, source, history, open_console())
    if found.refusal is not None:
        raise UsageError(f"a run with this file would stop: {found.refusal}")


def _history(found: "FileCheck", horizon_days: int) -> dict[str, Any]:
    """Return whether the history before the cut-off is long enough for a horizon, in words."""
    from retail_pipeline.clv.data.thin_data import History

    history = History(found.customers, found.repeat_customers, found.history_days)
    warnings = list(history.warnings(horizon_days)) if found.customers else []
    once = found.customers - found.repeat_customers
    return {
        "cutoff": found.cutoff.isoformat(),
        "horizon_days": horizon_days,
        "customers": found.customers,
        "repeat_customers": found.repeat_customers,
        "one_timers": once,
        "months": round(found.history_days / 30.44, 1),
        "is_enough": bool(found.customers) and not warnings,
        "warnings": warnings or ([] if found.customers else ["no purchase lies before the date"]),
    }


def _outcome(found: "FileCheck", history: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": found.words,
        "columns": found.columns,
        "date_order": found.options.date_order,
        "time_zone": found.options.time_zone,
        "decimal_marks": found.decimal_marks,
        "lines": found.lines,
        "used": found.used,
        "refunds": found.refunds,
        "orders": found.orders,
        "currency": found.currency,
        "first_day": found.days[0].isoformat(),
        "last_day": found.days[1].isoformat(),
        "months": found.months.to_dict(orient="records"),
        "losses": [loss.as_json() for loss in found.losses],
        "excluded": [
            {"reason": reason, "lines": lines, "net_amount": amount}
            for reason, lines, amount in found.excluded
        ],
        "examples": [{"line": line, "reason": reason} for line, reason in found.examples],
        "doubts": [{"rule": name, "message": sentence} for name, sentence in found.doubts],
        "history": history,
        "refusal": found.refusal,
    }


def _print(
    found: "FileCheck", source: FileSource, history: dict[str, Any], console: Console
) -> None:
    for title, text in _reading(found, source):
        _line(console, title, text)
    months = _by_year(found.months) if len(found.months) > _MOST_MONTHS else found.months
    months = months.round(0).astype(dict.fromkeys(("sales", "returns", "net_amount"), int))
    rows = [dict(zip(months.columns, row, strict=True)) for row in months.itertuples(index=False)]
    print_table(console, rows, str(months.columns[0]).capitalize())
    losses = [loss.as_json() for loss in found.losses]
    for loss, sentence in zip(losses, losses_in_words(losses, found.currency or ""), strict=True):
        _line(console, "Not used" if loss["treatment"] in _LOST else "Note", sentence)
    for line, reason in found.examples:
        _line(console, "", f"line {line:,}: {reason}")
    for reason, lines, amount in found.excluded:
        words = f"{reason}: {counted(lines, 'line')} of no product with {amount:,.2f}"
        _line(console, "Excluded", words)
    for _, sentence in found.doubts:
        _line(console, "Doubt", sentence, "yellow")
    for sentence in history["warnings"]:
        _line(console, "Doubt", sentence, "yellow")
    _line(console, "History", _verdict(history))
    if found.refusal is None:
        reading = shlex.quote(str(source))
        _line(console, "Next", f"retail-pipeline run --source {reading}")


def _reading(found: "FileCheck", source: FileSource) -> Iterator[tuple[str, str]]:
    options = found.options
    yield "File", f"{source.path.name}: {found.words}"
    if options.profile:
        yield "Profile", options.profile
    pairs = found.columns.items()
    yield "Columns", ", ".join(name if name == own else f"{name}={own}" for name, own in pairs)
    marks = sorted(set(found.decimal_marks.values()))
    read = [f"times without a zone are {options.time_zone}"]
    read += [f"day and month are {options.date_order}"] if options.date_order else []
    read += [f"decimal mark {' or '.join(marks)}"] if marks else []
    yield "Read as", "; ".join(read)
    lost = found.lines - found.used
    refunds = f", and {counted(found.refunds, 'return')} of refunds" if found.refunds else ""
    yield "Lines", f"{found.lines:,}: {found.used:,} used, {lost:,} not used{refunds}"
    net = found.months["net_amount"].sum()
    currency = f" {found.currency}" if found.currency else ""
    sales, returns = found.months["sales"].sum(), found.months["returns"].sum()
    yield (
        "Money",
        f"{net:,.2f}{currency} net: sales {sales:,.2f}, returns {returns:,.2f}, "
        f"{counted(found.orders, 'order')}, {found.days[0]} to {found.days[1]}",
    )


def _by_year(months: pd.DataFrame) -> pd.DataFrame:
    """Return the sums of years; customers cannot be summed."""
    return months.groupby(months["month"].str[:4].rename("year"))[list(_SUMS)].sum().reset_index()


def _verdict(history: dict[str, Any]) -> str:
    enough = "enough" if history["is_enough"] else "not enough"
    return (
        f"{enough} for {history['horizon_days']} days from {history['cutoff']}: "
        f"{counted(history['customers'], 'customer')}, {history['repeat_customers']:,} bought on "
        f"several days and {history['one_timers']:,} once, {history['months']} months"
    )


def _line(console: Console, title: str, text: str, color: str | None = None) -> None:
    heading = f"[{color}]{title:<10}[/]" if color else f"[bold]{title:<10}[/]"
    print_line(console, f"{heading}{escape(text)}")
