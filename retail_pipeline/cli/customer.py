"""The command `customer`: one customer on one screen."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from retail_pipeline.cli.terminal import open_console, print_json, print_line
from retail_pipeline.postgres import Role, open_database
from retail_pipeline.report.customer import read_customer
from retail_pipeline.settings import Settings
from retail_pipeline.wording import counted, number, share


def customer(
    customer_id: Annotated[str, typer.Argument(help="The customer's id, verbatim.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show one customer: purchases, prediction with its interval, next order, reasons, rank.

    For a script: `retail-pipeline customer C-000123 --json`
    """
    database = open_database(Settings.from_environment()).as_role(Role.SCIENTIST)
    found = read_customer(database, customer_id)
    if as_json:
        print_json(found)
        return
    console = open_console()
    for title, line in _lines(found):
        print_line(console, f"[bold]{title:<15}[/]{escape(line)}")


def _lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return pairs of a title and a text; an empty title continues the one before."""
    lines = [
        ("Customer", f"{found['customer_id']}, as of {found['as_of_date']}"),
        ("Purchases", _purchases(found["purchases"])),
    ]
    prediction = found["prediction"]
    if prediction is None:
        return [*lines, ("Prediction", "none: no day with a purchase before the date")]
    reasons = [each["explanation"] for each in found["reasons"]] or [
        "none stored: reasons are kept for the customers of highest value"
    ]
    titles = ["Reasons", *[""] * (len(reasons) - 1)]
    return [*lines, *_prediction(found, prediction), *zip(titles, reasons, strict=True)]


def _purchases(purchases: Mapping[str, Any] | None) -> str:
    if purchases is None or not purchases["purchases"]:
        return "none"
    return (
        f"{counted(purchases['purchases'], 'day')} with a purchase, first "
        f"{purchases['first_date']}, last {purchases['last_date']}; "
        f"net amount {number(purchases['net_amount'])}, returns deducted"
    )


def _prediction(found: Mapping[str, Any], row: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [
        (
            "Prediction",
            f"{number(row['predicted_value'])} over {counted(found['horizon_days'], 'day')}, "
            f"80 % interval {number(row['lower_80'])} to {number(row['upper_80'])}; "
            f"{number(row['expected_orders'])} orders expected",
        )
    ]
    if row["predicted_value"] > row["upper_80"]:
        lines.append(
            ("", "the mean lies above the interval: most such customers buy nothing, few buy much")
        )
    active = f"active within the horizon {share(row['probability_active'])}"
    alive = row["probability_alive"]
    ever = "not predicted" if alive is None else share(alive)
    return [
        *lines,
        ("Probability", f"{active}, ever buying again {ever}"),
        ("Next order", _next_order(row)),
        (
            "Rank",
            f"{row['rank']:,} of {counted(found['customers'], 'customer')}, "
            f"decile {row['clv_decile']}, segment {row['segment']}",
        ),
        ("Model", f"{row['model_name']}, version {row['model_version']}"),
    ]


def _next_order(row: Mapping[str, Any]) -> str:
    if row["is_older_than_next_orders"]:
        return "unknown: an earlier version made this prediction; the next run adds it"
    if row["probability_alive"] is None:
        return f"unknown: {row['model_name']} does not predict it"
    day, late = row["next_order_median_date"], row["days_overdue"]
    by = f"as likely as not by {day}" if day else "less likely than not within the horizon"
    if late is None:
        return f"{by}; ordered on one day only, so no usual gap is known"
    if late > 0:
        return f"{by}; {counted(round(late), 'day')} overdue against the customer's usual gap"
    return f"{by}; not overdue, {counted(round(-late), 'day')} left of the customer's usual gap"
