"""Queries that several stages share."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from retail_pipeline.postgres import Database
from retail_pipeline.wording import counted, money, share

if TYPE_CHECKING:
    import pandas as pd

PAST_CUTOFFS: Final = (
    "horizon_days = %(horizon)s and cutoff_date + horizon_days <= %(as_of)s "
    "and cutoff_date > %(as_of)s::date - %(horizon)s - interval '12 months'"
)
"""Condition on backtest rows: cut-offs of the latest twelve months with a complete outcome. Older
rows stay in the tables but count neither in reports nor in the choice of the model."""

_LANDED: Final = ("transactional.products", "transactional.transactions", "transactional.users")
_MADE_BY: Final[Mapping[str, Sequence[str]]] = {
    "clv.backtest_predictions": ["clv.backtest_summary"],
    "clv.backtest_metrics": ["clv.backtest_summary"],
    "clv.model_terms": ["clv.candidates"],
    "clv.model_decisions": ["clv.model"],
    "clv.model_versions": ["clv.model"],
    "clv.recency_frequency": ["clv.purchase_tracking"],
    "clv.current_predictions": ["clv.predictions"],
    "clv.latest_serving": ["clv.predictions", "clv.segments"],
    "clv.customer_360": [
        *("warehouse.dim_customers", "warehouse.customer_days", "warehouse.customer_rfm"),
        "clv.predictions",
    ],
    "clv.landed_streams": _LANDED,
    "clv.rejected_lines": _LANDED,
}
"""Tables that assets of other names fill, and views, with the assets of the tables they read."""


def made_by(tables: Iterable[str]) -> list[str]:
    """Return the assets that fill tables or the tables of views, as `group/name`.

    Args:
        tables: The tables and views, as `schema.name`.
    """
    assets = [asset for table in tables for asset in _MADE_BY.get(table, [table])]
    return [each.replace(".", "/") for each in dict.fromkeys(assets)]


def currency(database: Database) -> str:
    """Return the currency of the amounts as ISO code; empty if there is none or more than one."""
    found = database.query(
        "select distinct currency from warehouse.revenue_daily where currency is not null"
    )
    return str(found["currency"].iloc[0]) if len(found) == 1 else ""


def features_id(database: Database) -> int:
    """Return the id of the table of features, 0 if there is none; each build makes a new table."""
    found = database.query(
        "select coalesce(to_regclass('warehouse.customer_features')::oid::bigint, 0) as table_id"
    )
    return int(found["table_id"].iloc[0])


_EXCLUDED: Final = """
select * from (
    select exclusion_reason as reason, count(*) as lines,
        coalesce(sum(net_amount), 0)::float8 as net_amount,
        (count(*) / sum(count(*)) over ())::float8 as share_of_lines,
        (coalesce(sum(abs(net_amount)), 0) / nullif(sum(sum(abs(net_amount))) over (), 0))::float8
            as share_of_money
    from (
        select exclusion_reason, net_amount from warehouse.fct_transaction_items
        union all
        select exclusion_reason, 0 from warehouse.fct_transactions where line_count = 0
    ) as lines group by 1
) as reasons
where reason is not null order by lines desc, reason
"""


def excluded_lines(database: Database) -> list[dict[str, Any]]:
    """Return the lines that do not count, by reason: their number, money, and shares of all lines.

    A transaction without a list of lines counts as a line of no money. Returns and sales both add
    to a share of money, so that they do not cancel out.
    """
    return list(json.loads(database.query(_EXCLUDED).to_json(orient="records")))


def excluded_in_words(reasons: Sequence[Mapping[str, Any]], currency: str = "") -> str:
    """Return the excluded lines and their money as text, in total and by reason.

    Args:
        reasons: The rows of `excluded_lines`; at least one.
        currency: The currency of the amounts.
    """
    lines, of_lines, of_money = (
        sum(each[name] or 0 for each in reasons)
        for name in ("lines", "share_of_lines", "share_of_money")
    )
    parts = ", ".join(
        f"{each['reason']} {each['lines']:,} of {money(each['net_amount'], currency)}"
        for each in reasons
    )
    return (
        f"{counted(lines, 'line')} ({share(of_lines, digits=1)} of the lines, "
        f"{share(of_money, digits=1)} of the money): {parts}"
    )


def bias_by_cutoff(
    database: Database, as_of: date, horizon_days: int, models: Collection[str]
) -> "pd.DataFrame":
    """Return predicted over actual total of some models at the past cut-offs, oldest first.

    Returns:
        `cutoff` (ISO date), `same_season` (whether it is about a year before the date), and a
        column per tested model, missing at cut-offs where it was not tested.
    """
    found = database.query(
        "select cutoff_date::text as cutoff, model_name, bias, "
        "abs(cutoff_date - (%(as_of)s::date - interval '1 year')::date) <= 16 as same_season "
        f"from clv.backtest_metrics where {PAST_CUTOFFS} and model_name = any(%(models)s)",
        {"as_of": as_of, "horizon": horizon_days, "models": list(models)},
    )
    table = found.pivot(index=["cutoff", "same_season"], columns="model_name", values="bias")
    shown = [model for model in models if model in table]
    return table[shown].sort_index().rename_axis(columns=None).reset_index()


def file_losses(database: Database) -> list[dict[str, Any]]:
    """Return the lines of the transactions file that are not used, by reason."""
    statement = "select * from quality.file_losses order by treatment desc, lines desc, reason"
    return list(json.loads(database.query(statement).to_json(orient="records")))


def losses_in_words(losses: Sequence[Mapping[str, Any]], currency: str = "") -> Iterator[str]:
    """Yield a line of text for each row of `file_losses`, with the money that can be read."""
    for loss in losses:
        known = loss["lines"] - loss["unknown_amounts"]
        amounts = [money(loss["net_amount"], currency)] if known else []
        if loss["unknown_amounts"]:
            amounts.append(f"{counted(loss['unknown_amounts'], 'amount')} that cannot be read")
        treated = _TREATED[loss["treatment"]].format(" and ".join(amounts))
        yield (
            f"{counted(loss['lines'], 'line')} {treated}: {loss['reason']} "
            f"(the first is line {loss['first_line']:,})"
        )


_TREATED: Final = {
    "rejected": "rejected, with {}",
    "left out": "left out by the profile, with {}",
    "no customer": "without a customer, counted as revenue only, with {}",
    "nulled": "used without a value",
    "sold": "used as sales, with {}",
    "refunded": "sold and taken back, with {}",
}
_GUESTS: Final = """
select count(*) filter (where customer_id is null) as transactions,
    coalesce(sum(net_amount) filter (where customer_id is null), 0)::float8 as net_amount,
    coalesce((count(*) filter (where customer_id is null))::float8 / nullif(count(*), 0), 0)
        as share_of_transactions,
    coalesce(sum(abs(net_amount)) filter (where customer_id is null)
        / nullif(sum(abs(net_amount)), 0), 0)::float8 as share_of_money
from (
    select customer_id, net_amount - excluded_net_amount as net_amount
    from warehouse.fct_transactions where not is_excluded
) as counted
"""


def guest_sales(database: Database) -> dict[str, Any]:
    """Return the transactions without a customer: their number, money, and shares of all."""
    (row,) = json.loads(database.query(_GUESTS).to_json(orient="records"))
    return dict(row)


def guests_in_words(guests: Mapping[str, Any], currency: str = "") -> str:
    """Return a sentence about the transactions without a customer.

    Args:
        guests: The result of `guest_sales`.
        currency: The currency of the amounts.
    """
    return (
        f"{counted(guests['transactions'], 'transaction')} of "
        f"{money(guests['net_amount'], currency)} ({share(guests['share_of_money'], digits=1)} of "
        "the money) have no customer: they are revenue, and no part of customer value"
    )
